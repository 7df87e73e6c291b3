"""Starting a job on this machine: its folder is prepared, its runner is started, and the step is over.

The step may be carried out twice or by two workers at once (a killed or a stopped one, and its successor): the folder
gets its name by one rename, the runner takes it by one lock, and the report is fenced by the step's attempt.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.blobs import BlobStore
from hub.core import limits, steps
from hub.core.context import Context
from hub.core.database import Tx
from hub.core.errors import TamperDetected
from hub.core.house import House
from hub.core.keys import unseal
from hub.core.settings import Settings
from hub.jobs import cgroup, sandbox, transitions
from hub.jobs.backends.local import MARK, LocalBackend
from hub.jobs.outputs import Given
from hub.jobs.requests import Environment, Resources
from hub.jobs.rules import Event
from hub.jobs.tables import jobs
from hub.jobs.transitions import Job
from hub.perform import record, within

STARTED_WITHIN_SECONDS = 8.0
GRACE_SECONDS = 10
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class CannotStart(Exception):
    """Why this job can never start here; told to its owner as it stands."""


def local(settings: Settings) -> LocalBackend:
    """This machine, with the folders of its jobs below the hub's data."""
    return LocalBackend(settings.data.absolute() / "jobs")


@steps.runs(transitions.START)
def start_job(step: steps.Step, house: House) -> None:
    """Start one run of one job, unless that was done already or is no longer wanted."""
    run = int(step.args["run"])
    with house.db.read() as conn:
        job = conn.execute(sa.select(jobs).where(jobs.c.id == step.object)).first()
    if job is None or job.state != "SUBMITTING" or job.run != run:
        return
    backend = local(house.settings)
    if not backend.prepared(job.id, run):
        if job.cancel_asked_at is not None:
            _settle(house, step, run, "cancelled", "Cancelled before it started.")
            return
        try:
            _prepare(house, backend, job, step.attempt)
        except CannotStart as reason:
            _settle(house, step, run, "refused", str(reason))
            return
    backend.start(job.id, run)
    seen = backend.wait_started(job.id, run, STARTED_WITHIN_SECONDS)
    if seen.sight in ("nothing", "starting"):
        raise steps.Retry("the job's runner has not started yet", 2.0)
    # Whatever else is to be seen (an end, a dead runner) is the agent's to report; it looks at the same files.
    _settle(house, step, run, "started" if seen.sight in ("started", "ended") else None, "")


def _settle(house: House, step: steps.Step, run: int, event: Event | None, reason: str) -> None:
    """Record what became of the start, and end the step, in one unit of work. Raises StaleStep."""

    def work(ctx: Context) -> None:
        job = transitions.lock(ctx, step.object)
        if event and job is not None and job.state == "SUBMITTING" and job.run == run:
            at = "started_at" if event == "started" else "ended_at"
            transitions.happen(ctx, job, event, reason, **{at: ctx.now})
        steps.finish(ctx.tx, step, ctx.now)

    record(house, transitions.OBSERVED, work)


@steps.when_given_up(transitions.START)
def start_given_up(tx: Tx, house: House, step: steps.Step, reason: str) -> None:
    """Nothing ran: the job fails with what stood in its way."""
    with within(house, tx, transitions.OBSERVED) as ctx:
        job = transitions.lock(ctx, step.object)
        if job is None or job.state != "SUBMITTING" or job.run != int(step.args["run"]):
            return
        backend = local(house.settings)
        if backend.prepared(job.id, job.run) and not backend.forbid(job.id, job.run):
            return  # A runner has taken it after all; the agent finds out what became of it.
        transitions.happen(ctx, job, "refused", f"It could not be started: {reason}", ended_at=ctx.now)


def _prepare(house: House, backend: LocalBackend, job: Job, attempt: int) -> None:
    text = None
    if job.script_sealed is not None:
        text = unseal(house.keys.domain(job.session), job.script_sealed, f"script:{job.id}").decode()
    prepared = planned(house.settings, job, text)
    stage = backend.stage(job.id, job.run, attempt)
    _lay_inputs(house, job, stage / "work", stage / "given")
    (stage / "work" / (job.workdir or "")).mkdir(parents=True, exist_ok=True)
    for path, content in prepared.written.items():
        (stage / path).write_bytes(content.encode())
    backend.put_in_place(stage, job.id, job.run, prepared.spec)
    found = _found(msgspec.convert(job.environment, Environment), bool(prepared.spec["wrapper"]))
    house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(found=found)))


class Planned(msgspec.Struct, frozen=True):
    """What the runner of a job is told, and the files written for it, by their path in its folder."""

    spec: dict[str, Any]
    written: dict[str, str]


def planned(settings: Settings, job: Job, text: str | None) -> Planned:
    """How a job runs on this machine, without writing anything: what a dry run shows. Raises CannotStart.

    `text` is its script, when that was written out.
    """
    wanted = settings.sandbox == "require" or settings.environment == "production"
    sandboxed = settings.sandbox != "off" and sandbox.works()
    if wanted and not sandboxed:
        raise CannotStart("This hub runs jobs only in a sandbox, and bubblewrap does not work on this machine.")
    folder = local(settings).folder(job.id, job.run)
    written: dict[str, str] = {} if text is None else {"given/script": text}
    command = _command(job, folder, written)
    cwd = folder / "work" / (job.workdir or "")
    around = msgspec.convert(job.environment, Environment)
    read_only = [folder / "given", *_software(around, settings)]
    spec = {
        "token": f"{job.id}-{job.run}",
        "argv": command,
        "wrapper": sandbox.wrapper(
            cwd=cwd,
            work=folder / "work",
            temporary=folder / "tmp",
            shared_memory=folder / "shm",
            read_only=read_only,
            network=around.network,
        )
        if sandboxed
        else [],
        "cwd": str(folder if sandboxed else cwd),
        "env": _variables(job, around, folder, sandboxed),
        "watched": [str(folder / name) for name in ("work", "tmp", "shm")],
        "grace_seconds": GRACE_SECONDS,
        "cgroup_parent": cgroup.delegated(),
        "limits": _limits(job),
    }
    return Planned(spec, written)


def _limits(job: Job) -> dict[str, int]:
    wanted = msgspec.convert(job.resources, Resources).amounts()
    return {
        "wall_seconds": wanted.wall_seconds or limits.JOB_WALLTIME_SECONDS,
        "memory_bytes": wanted.memory_bytes or limits.JOB_MEMORY_BYTES,
        "processes": limits.JOB_PROCESSES,
        "disk_bytes": limits.JOB_DISK_BYTES,
        "log_bytes": limits.LOG_BYTES,
    }


def _lay_inputs(house: House, job: Job, work: Path, given: Path) -> None:
    """Copies at their session paths, and a manifest that says what was given and how it looked."""
    laid: dict[str, Given] = {}
    for each in job.inputs:
        path = work / each["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        _copy(house, job.session, each["digest"], path)
        seen = path.stat()
        laid[each["path"]] = Given(each["digest"], seen.st_size, seen.st_mtime_ns)
    (given / "inputs.json").write_bytes(
        msgspec.json.encode([{**each, "digest": f"sha256:{each['digest']}"} for each in job.inputs])
    )
    (given.parent / "given.json").write_bytes(msgspec.json.encode(laid))


def _copy(house: House, session: str, digest: str, path: Path) -> None:
    """The bytes of that digest and no others. Raises TamperDetected."""
    hashed = hashlib.sha256()
    with path.open("xb") as file:
        for piece in house.port(BlobStore).open(digest, session):  # type: ignore[type-abstract]
            hashed.update(piece)
            file.write(piece)
    if hashed.hexdigest() != digest:
        raise TamperDetected(f"the content sha256:{digest} is not what was stored")


def _command(job: Job, folder: Path, written: dict[str, str]) -> list[str]:
    """What the runner starts: the interpreter, the script, its arguments; behind the setup lines if there are any."""
    script = folder / "given" / "script" if "given/script" in written else folder / "work" / job.script_path
    command = [*job.interpreter, str(script), *job.args]
    setup = job.environment.get("setup", [])
    if not setup:
        return command
    lines = ["set -e", *setup, f"exec {shlex.join(command)}"]
    written["given/start.sh"] = "\n".join(lines) + "\n"
    return ["bash", str(folder / "given" / "start.sh")]


def _variables(job: Job, around: Environment, folder: Path, sandboxed: bool) -> dict[str, str]:
    """The job's environment: nothing of the hub's own is handed on."""
    temporary = "/tmp" if sandboxed else str(folder / "tmp")  # noqa: S108  (its own, inside the sandbox)
    found = [f"{each}/bin" for each in (around.venv, around.conda) if each]
    cpus = str(job.resources.get("cpus_per_node", 1))
    return {
        "PATH": ":".join([*found, f"{sys.prefix}/bin", SYSTEM_PATH]),
        "HOME": temporary,
        "TMPDIR": temporary,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",  # so that a log is live
        "PYTHONPATH": str(folder / "work"),
        "OMP_NUM_THREADS": cpus,
        "OPENBLAS_NUM_THREADS": cpus,
        "MPLBACKEND": "Agg",
        **({"VIRTUAL_ENV": around.venv} if around.venv else {}),
        **({"CONDA_PREFIX": around.conda} if around.conda else {}),
        **job.env,
        "COLLEGIUM_JOB": job.id,
        "COLLEGIUM_INPUTS": str(folder / "given" / "inputs.json"),
        MARK: f"{job.id}/{job.run}",
    }


def _software(around: Environment, settings: Settings) -> Iterator[Path]:
    """The folders of the asked-for Python or conda environment. Raises CannotStart when it is not one."""
    data = settings.data.resolve()
    for field, said, mark in (("venv", around.venv, "pyvenv.cfg"), ("conda", around.conda, "conda-meta")):
        if said is None:
            continue
        folder = Path(said)
        real = Path(os.path.realpath(folder))
        inside = real == data or data in real.parents or real in data.parents
        if not folder.is_absolute() or inside or not os.path.exists(real / mark):  # noqa: PTH110
            # Not `Path.exists`, which raises where one may not look: a step that raises is tried again and again.
            raise CannotStart(f"environment.{field}: there is no such environment at {said[:200]}.")
        yield folder
        yield from _home_of(real)


def _home_of(venv: Path) -> Iterator[Path]:
    """Where the Python of a virtual environment lives, unless that is a system folder."""
    with contextlib.suppress(OSError):
        for line in (venv / "pyvenv.cfg").read_text().splitlines():
            name, _, value = line.partition("=")
            home = Path(value.strip()).resolve().parent
            if name.strip() == "home" and len(home.parts) > 2 and home.is_dir():
                yield home


def _found(around: Environment, sandboxed: bool) -> dict[str, Any]:
    """What the job really finds: recorded, because names of environments say nothing a year later."""
    prefix = Path(around.venv or around.conda or sys.prefix)
    return {
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "python": platform.python_version() if prefix == Path(sys.prefix) else None,
        "packages": sorted(
            each.name.removesuffix(".dist-info") for each in prefix.glob("lib/python*/site-packages/*.dist-info")
        ),
        "sandboxed": sandboxed,
    }


def given_of(folder: Path) -> dict[str, Given]:
    """The inputs as they were laid, by path."""
    return msgspec.json.decode((folder / "given.json").read_bytes(), type=dict[str, Given])


def command_shown(job: Job) -> str:
    """The command as a person would type it."""
    script = job.script_path or "script"
    return shlex.join([*job.interpreter, script, *job.args])
