"""From a wish to a row: the script and every input fixed to a digest, and what this hub cannot do refused by name."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts import rules as paths
from hub.artifacts import versions
from hub.artifacts.blobs import BlobStore
from hub.core import limits
from hub.core.context import Context, Scope
from hub.core.errors import HubError, InvalidInput, TooLarge, TooMany
from hub.core.keys import seal
from hub.jobs import assumed, offers, placement, plans, scripts
from hub.jobs.clusters import choosing, kubernetes_choosing
from hub.jobs.clusters.rules import Target
from hub.jobs.requests import Environment, Resources
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import jobs
from hub.jobs.transitions import LOCAL, pinned

# Options of a scheduler stand at the head of a script.
HEAD_BYTES = 64 << 10


class PinnedScript(msgspec.Struct, frozen=True, kw_only=True):
    """A script as it will run, whatever becomes of its path."""

    name: str
    digest: str
    interpreter: tuple[str, ...]
    text: str | None = None  # when it was written out
    file: dict[str, Any] | None = None  # when it is a file of the session


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a job's row holds when it is made."""

    session: str
    name: str
    job_type: str
    script: PinnedScript
    args: Sequence[str]
    env: Mapping[str, str]
    inputs: Sequence[dict[str, Any]]
    outputs: Sequence[str]
    fetch: Sequence[str] = ()
    resources: Resources
    environment: Environment
    target: Target
    notes: Sequence[str] = ()
    workdir: str | None = None
    workflow: str | None = None
    step: str | None = None
    after: Sequence[str] = ()
    awaits: Mapping[str, str] = {}


def choose(
    scope: Scope,
    job_type: str,
    resources: Resources,
    environment: Environment,
    *,
    session: str | None = None,
    cluster: str | None = None,
    step: str = "",
) -> Target | None:
    """Where it goes; None where the hub is to choose between all places.

    Raises Unavailable for a backend that is not there, InvalidInput for what it cannot honour.

    Without `session` it is not asked whether jobs of the session may go there.
    """
    if cluster == LOCAL and job_type == "auto":  # one word for a place, whatever kind it is
        cluster, job_type = None, "local"
    if cluster is not None and job_type == "local":
        raise InvalidInput("a local job goes to no cluster", code="cannot_honour", path="$.params.cluster")
    of = f" of step {step}" if step else ""
    if faults := resources.faults():
        raise InvalidInput(
            f"{faults[0][1]}{of}",
            code="bad_amount",
            path=f"$.params.{faults[0][0]}",
            errors=[f"$.params.{field}: {message}" for field, message in faults],
        )
    kind = None if cluster is None else kubernetes_choosing.kind_of(scope, cluster)
    if job_type in ("slurm", "kubernetes") and kind is not None and kind != job_type:
        raise InvalidInput(
            f"{cluster} is a {kind.capitalize()} cluster", code="cannot_honour", path="$.params.cluster",
            hint=f"leave `job_type` out, or say {kind}",
        )  # fmt: skip
    if job_type == "kubernetes" or kind == "kubernetes":
        return kubernetes_choosing.on_kubernetes(scope, session, cluster, resources, environment, step)
    if job_type == "slurm" or cluster is not None:
        return choosing.on_cluster(scope, cluster, resources, environment, step)
    refused = placement.refusals(resources, environment, offers.machine())
    if job_type == "auto" and (
        not refused or choosing.usable(scope, scope.actor.id) or kubernetes_choosing.usable(scope, session)
    ):
        return None
    if not refused:
        return Target(LOCAL)
    said = "; ".join(f"{each.path} {each.reason}" for each in refused)
    raise InvalidInput(
        f"the local backend cannot honour what was asked{of}: {said}",
        code="cannot_honour",
        path=f"$.params.{refused[0].path}",
        errors=[f"$.params.{each.path} {each.reason}" for each in refused],
        hint="leave these fields out to run on this machine",
    )


def notes(
    scope: Scope, session: str, target: Target, resources: Resources, script: PinnedScript, step: str = ""
) -> list[str]:
    """What the submitter is told of options that stand in the script and those that do not, and of its line ends."""
    if target.account is None:
        return list(scripts.remarks(script.text or ""))
    text = head(scope, session, script)
    if kubernetes_choosing.kind_of(scope, target.backend) == "kubernetes":
        return [*kubernetes_choosing.told(text), *scripts.remarks(text)]
    return [*choosing.told(resources, text, step), *scripts.remarks(text)]


def head(scope: Scope, session: str, script: PinnedScript) -> str:
    """The beginning of a script, where options of a scheduler stand."""
    if script.text is not None:
        return script.text[:HEAD_BYTES]
    assert script.file is not None
    store = scope.port(BlobStore)  # type: ignore[type-abstract]
    data = b"".join(store.open(script.digest, session, 0, min(script.file["size"], HEAD_BYTES)))
    return data.decode(errors="replace")


_WAITING = sa.select(sa.func.count()).where(
    jobs.c.submitted_by == sa.bindparam("person"), jobs.c.state.not_in(TERMINAL)
)


def check_queue(ctx: Scope, more: int) -> None:
    """A queue that grows without end serves nobody. Raises TooMany."""
    waiting = ctx.execute(_WAITING, {"person": ctx.actor.id}).scalar_one()
    if waiting + more > limits.OPEN_JOBS_PER_PERSON:
        raise TooMany(
            f"you have {waiting} jobs that have not ended; {limits.OPEN_JOBS_PER_PERSON} are allowed",
            code="too_many_jobs",
            hint="wait for some of them to end, or cancel them",
        )


def script(ctx: Scope, session: str, said: str, where: str) -> PinnedScript:
    """The script that is meant, pinned by digest. Raises InvalidInput."""
    try:
        meant = scripts.read(said)
        if meant.kind == "path":
            return _script_file(ctx, session, meant.text, where)
        data = meant.text.encode()
        if len(data) > limits.SCRIPT_BYTES:
            raise TooLarge(f"the script has more than {limits.SCRIPT_BYTES} bytes", path=where)
        first_line = meant.text.partition("\n")[0]
        return PinnedScript(
            name=_title(meant.text),
            digest=hashlib.sha256(data).hexdigest(),
            interpreter=scripts.interpreter(first_line),
            text=meant.text,
        )
    except ValueError as fault:
        raise InvalidInput(str(fault), code="bad_script", path=where) from None


def _title(text: str) -> str:
    """What an unnamed script is called: Slurm's `--job-name`, else its first line that does something."""
    lines = [line.strip() for line in text.splitlines()]
    for line in lines:
        if line.startswith("#SBATCH") and "--job-name=" in line:
            return line.partition("--job-name=")[2].split()[0][:60] or "job"
    return next((line for line in lines if line and not line.startswith("#")), "script")[:60]


def _script_file(ctx: Scope, session: str, path: str, where: str) -> PinnedScript:
    found = assumed.find(ctx, session, path)
    if found is None:
        raise InvalidInput(
            f"the session has no {path[:200]!r}",
            code="unknown_artifacts",
            path=where,
            errors=[path[:200]],
            hint="upload it first; a script that is written out starts with `#!` or has more than one line",
        )
    _refuse_reference(found, where)
    assert found.digest is not None
    store = ctx.port(BlobStore)  # type: ignore[type-abstract]
    try:
        head = b"".join(store.open(found.digest, session, 0, min(found.size, 512)))
    except HubError as error:
        raise InvalidInput(f"{path[:200]!r} cannot be read: {error.message}", path=where) from None
    first_line = head.partition(b"\n")[0].decode(errors="replace")
    return PinnedScript(
        name=PurePosixPath(found.path).name,
        digest=found.digest,
        interpreter=scripts.interpreter(first_line, found.path),
        file=pinned(found),
    )


def inputs(
    ctx: Scope, session: str, wanted: Sequence[str], script: PinnedScript | None, where: str
) -> list[dict[str, Any]]:
    """The named inputs at their versions now, and the script when it is a file."""
    sent = {name: each for name in wanted if isinstance(ctx, assumed.DryScope) and (each := ctx.find(name))}
    known = iter(versions.resolve(ctx, session, [name for name in wanted if name not in sent], where))
    found = [sent[name] if name in sent else next(known) for name in wanted]
    for each in found:
        _refuse_reference(each, where)
    return together([pinned(each) for each in found], script, where)


def together(files: Sequence[dict[str, Any]], script: PinnedScript | None, where: str) -> list[dict[str, Any]]:
    """All files a job is given, each path once; the same path in two versions is refused."""
    by_path: dict[str, dict[str, Any]] = {}
    for each in [*files, *([script.file] if script and script.file else [])]:
        if by_path.setdefault(each["path"], each)["version"] != each["version"]:
            raise InvalidInput(f"two versions of {each['path']} cannot lie at one path", path=where)
    folders = {parent.as_posix() for path in by_path for parent in PurePosixPath(path).parents}
    if both := sorted(folders & by_path.keys()):
        raise InvalidInput(f"{both[0]} is a file, and also a folder of another input", path=where)
    return list(by_path.values())


def existing(ctx: Scope, session: str, wanted: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Which of these names are files of the session, and at which version."""
    found = {}
    for name in normal(dict.fromkeys(wanted)):
        version = assumed.find(ctx, session, name)
        if version is not None and version.kind == "stored":
            found[name] = pinned(version)
    return found


def normal(names: Sequence[str] | Mapping[str, Any]) -> tuple[str, ...]:
    """Names in the form in which paths are kept."""
    return tuple(unicodedata.normalize("NFC", name) for name in names)


def declared(outputs: Sequence[str], where: str) -> tuple[str, ...]:
    """Outputs as paths inside the job's folder; a pattern and a folder's trailing slash are allowed."""
    return tuple(
        paths.normal_path(each.rstrip("/") or each, where) + ("/" if each.endswith("/") else "") for each in outputs
    )


def workdir(said: str | None) -> str | None:
    """A folder within the job's own. Raises InvalidInput for a folder of a cluster, which is not here."""
    if said is None:
        return None
    if ":" in said:
        raise InvalidInput(
            f"workdir names a folder of the cluster {said.partition(':')[0][:60]!r}, and no cluster is registered",
            code="cannot_honour",
            path="$.params.workdir",
        )
    return paths.normal_path(said, "$.params.workdir")


def _refuse_reference(version: versions.Pinned, where: str) -> None:
    if version.kind != "stored":
        raise InvalidInput(
            f"{version.path} is only a reference to data elsewhere; its bytes are not in the hub",
            code="not_stored",
            path=where,
        )


def wanted(
    scope: Scope, session: str, script: PinnedScript, resources: Resources, environment: Environment
) -> offers.Wanted:
    """What is to be placed. A head is read only where somebody has an account for which it counts."""
    said = head(scope, session, script) if choosing.usable(scope, scope.actor.id) else ""
    return plans.wanted(scope, session, resources, environment, said, script.digest)


def add(ctx: Context, job: Submission, job_id: str, number: int, **facts: Any) -> str:
    """Insert the job's row and name it for the ledger, with the facts of its placing."""
    values = row(ctx, job, job_id, number)
    if job.script.text is not None:
        key = ctx.house.keys.domain_in(ctx.tx, job.session)
        values["script_sealed"] = seal(key, job.script.text.encode(), f"script:{job_id}")
    ctx.tx.insert(jobs, **values)
    ctx.about(
        "job",
        job_id,
        job.session,
        number=number,
        state=values["state"],
        script=job.script.digest,
        inputs=[each["digest"] for each in job.inputs],
        workflow=job.workflow,
        **facts,
    )
    return job_id


def row(scope: Scope, job: Submission, job_id: str, number: int) -> dict[str, Any]:
    """The job's row, without its sealed script."""
    waits = bool(job.after)
    return {
        "id": job_id,
        "session": job.session,
        "number": number,
        "name": job.name,
        "state": "WAITING" if waits else "QUEUED",
        "job_type": job.job_type,
        "backend": job.target.backend,
        "account": job.target.account,
        "submitted_by": scope.actor.id,
        "submitted_at": scope.now,
        "queued_at": None if waits else scope.now,
        "script_kind": "inline" if job.script.file is None else "path",
        "script_path": job.script.file["path"] if job.script.file else None,
        "script_digest": job.script.digest,
        "interpreter": job.script.interpreter,
        "args": job.args,
        "env": job.env,
        "inputs": job.inputs,
        "outputs": job.outputs,
        "fetch_patterns": job.fetch,
        "workdir": job.workdir,
        "resources": job.resources,
        "environment": job.environment,
        "workflow": job.workflow,
        "step": job.step,
        "after": job.after,
        "awaits": job.awaits,
        "notes": list(job.notes),
    }
