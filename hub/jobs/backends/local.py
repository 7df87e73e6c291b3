"""This machine as a backend: a folder for each run, a runner that is started on it and outlives us, and what is seen.

    jobs/<job>/<run>/    spec.json and the runner's own files (see runner.py)
        given/           the script and the manifest of the inputs: read-only for the job
        work/            where the job starts; its inputs lie at their session paths
        tmp/ shm/        its /tmp and /dev/shm

A folder is prepared under another name and put in place by one rename, so that two workers who both believe that a
step is theirs cannot write into one folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from hub.core.parent import PARENT_PIPE, inherited_pipe
from hub.jobs.port import Observation
from hub.jobs.processes import LINUX, boot_id, start_ticks
from hub.jobs.rules import Exit
from hub.jobs.runner import take_lock

LOG_PIECE_BYTES = 1 << 20
MARK = "COLLEGIUM_RUN"


class LocalBackend:
    """Runs jobs as processes of this machine, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, job: str, run: int) -> Path:
        return self.root / job / str(run)

    # for the worker that starts a run

    def prepared(self, job: str, run: int) -> bool:
        return (self.folder(job, run) / "spec.json").exists()

    def stage(self, job: str, run: int, attempt: int) -> Path:
        """An empty folder to prepare in; what an earlier holder of this attempt left is thrown away."""
        stage = self.root / job / f".{run}.{attempt}"
        shutil.rmtree(stage, ignore_errors=True)
        for name in ("given", "work", "tmp", "shm"):
            (stage / name).mkdir(parents=True, mode=0o700)
        return stage

    def put_in_place(self, stage: Path, job: str, run: int, spec: dict[str, Any]) -> None:
        """Give the prepared folder its name; when another worker was first, its folder is the one."""
        (stage / "spec.json").write_text(json.dumps(spec))
        try:
            stage.rename(self.folder(job, run))
        except OSError:
            if not self.prepared(job, run):
                raise
            shutil.rmtree(stage, ignore_errors=True)

    def start(self, job: str, run: int) -> None:
        """Start a runner; if there is one already, or ever was, the new one leaves as a duplicate."""
        environment = {"PATH": os.environ.get("PATH", os.defpath)}
        handed: tuple[int, ...] = ()
        if (pipe := inherited_pipe()) is not None:
            environment[PARENT_PIPE] = str(pipe)
            handed = (pipe,)
        folder = self.folder(job, run)
        with (folder / "runner.log").open("ab") as said:
            runner = subprocess.Popen(
                [sys.executable, "-I", "-m", "hub.jobs.runner", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                pass_fds=handed,
                start_new_session=True,
            )
        _STARTED.append(runner)

    def wait_started(self, job: str, run: int, seconds: float) -> Observation:
        """What is seen once the runner has taken its folder, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while (seen := self.observe(job, run)).sight in ("nothing", "starting") and time.monotonic() < deadline:
            time.sleep(0.005)
        return seen

    def forbid(self, job: str, run: int) -> bool:
        """Take the run's lock so that no runner ever can; False when one has it."""
        return take_lock(self.folder(job, run), {"pid": 0, "start_ticks": 0, "boot_id": "", "token": "nobody"})

    # for the agent that watches

    def observe(self, job: str, run: int) -> Observation:
        _forget_ended()
        folder = self.folder(job, run)
        holder = _read(folder / "run.lock")
        if holder is None:
            return Observation("nothing")
        if (end := _ended(folder)) is not None:
            return Observation("ended", end)
        started = (folder / "started.json").exists()
        if _is_alive(holder):
            return Observation("started" if started else "starting")
        # It may have written its end between our two looks.
        if (end := _ended(folder)) is not None:
            return Observation("ended", end)
        if not started and not (folder / "started.json").exists():
            return Observation("never_ran", detail="its runner ended before anything was started")
        end_remains(f"{job}/{run}")
        if holder.get("boot_id") != boot_id():
            return Observation("ended", Exit("interrupted", "the machine was restarted", ended_at=time.time()))
        return Observation("lost", detail="its runner was killed, and nobody saw how the job ended")

    def read_log(self, job: str, run: int, offset: int) -> bytes:
        try:
            descriptor = os.open(self.folder(job, run) / "log", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, LOG_PIECE_BYTES, offset)
        finally:
            os.close(descriptor)

    def cancel(self, job: str, run: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.folder(job, run) / "cancel").touch()

    # for whoever collects

    def clear(self, job: str, run: int) -> None:
        """What was fetched need not lie here as well; the runner's own small files stay."""
        folder = self.folder(job, run)
        for name in ("work", "tmp", "shm", "given", "partial"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "log").unlink(missing_ok=True)


# Runners we started, kept only to be reaped; they live on without us.
_STARTED: list[subprocess.Popen[bytes]] = []


def _forget_ended() -> None:
    # One at a time: another thread may be adding the runner that it has just started.
    for runner in [runner for runner in _STARTED if runner.poll() is not None]:
        with contextlib.suppress(ValueError):
            _STARTED.remove(runner)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found


def _ended(folder: Path) -> Exit | None:
    found = _read(folder / "exit.json")
    return None if found is None else msgspec.convert(found, Exit)


def _is_alive(holder: dict[str, Any]) -> bool:
    if holder["pid"] == 0:
        return False  # Nobody: the run was forbidden.
    if not LINUX:
        try:
            os.kill(holder["pid"], 0)
        except ProcessLookupError:
            return False
        return True
    if holder["boot_id"] != boot_id() or holder["start_ticks"] != start_ticks(holder["pid"]):
        return False
    with contextlib.suppress(OSError):
        return Path(f"/proc/{holder['pid']}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def end_remains(mark: str) -> None:
    """Kill whatever still carries a run's mark in its environment, after its runner was killed."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(20):
        left = [pid for pid in _numbers() if wanted in _environment(pid).split(b"\0")]
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _numbers() -> list[int]:
    return [int(each.name) for each in Path("/proc").glob("[0-9]*")]


def _environment(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return b""
