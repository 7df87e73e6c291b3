"""A job's own runner: starts one program, bounds it, keeps its log and its end, and outlives whoever started it.

    python -I -m hub.jobs.runner JOBDIR          (standard library only; a worker starts it in a session of its own)

What it knows and what it tells are files in JOBDIR, so that anybody may look, at any time, without asking it:

    spec.json     what to run and within which limits; written before it is started
    run.lock      who runs it, made complete by link(2): a second runner for this folder leaves as a duplicate (3)
    started.json  written before the program starts: without it, nothing ever ran here
    cancel        appears when somebody wants the job to end
    log           stdout and stderr, byte for byte, up to the limit; what comes later is drained and counted
    exit.json     how it ended and what it took; written last, by rename

Everything the program started ends with it: as the nearest "subreaper" we inherit what was forked away, in a PID
namespace (the sandbox) the kernel ends all at once, and a delegated cgroup v2 bounds by itself what our watcher
otherwise has to look for.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from hub.jobs.cgroup import Cgroup
from hub.jobs.processes import (
    LINUX,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    boot_id,
    children,
    descendants,
    disk,
    groups,
    memory,
    prctl,
    processes_of_this_user,
    signal_all,
    start_ticks,
)
from hub.jobs.transcript import PIPE_CAPACITY, Transcript

DUPLICATE = 3
FREE_DISK_BYTES = 256 << 20
WATCH_SECONDS, LONGEST_WATCH_SECONDS = 0.1, 2.0
F_SETPIPE_SZ = 1031
PARENT_PIPE = "COLLEGIUM_PARENT_PIPE"
LIMITS = ("wall_seconds", "memory_bytes", "processes", "disk_bytes", "log_bytes")


class Run:
    """One program from start to end."""

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self.folder, self.spec = folder, spec
        self.limits: dict[str, int] = {name: spec["limits"].get(name) or 0 for name in LIMITS}
        self.grace_seconds: float = spec.get("grace_seconds", 10)
        self.wrapped = bool(spec.get("wrapper"))
        self.watched = [Path(each) for each in spec.get("watched", [])]
        self.log = Transcript(folder / "log", self.limits["log_bytes"])
        self.started_at, self.began = time.time(), time.monotonic()
        self.reason, self.detail = "", ""
        self.kill_at: float | None = None
        self.status: int | None = None
        self.peak_memory = self.peak_processes = self.peak_disk = 0
        self.cgroup: Cgroup | None = None
        self.next_watch = self.next_disk = 0.0
        self.terminated = False
        # The room for the last word is taken before a job can fill the disk.
        self.last_word = os.open(folder / "exit.tmp", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.write(self.last_word, b" " * 4096)

    def carry_out(self) -> None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        if LINUX:
            import fcntl

            with contextlib.suppress(OSError):
                fcntl.fcntl(writing, F_SETPIPE_SZ, PIPE_CAPACITY)
        parent = os.environ.pop(PARENT_PIPE, None)
        try:
            self._start(writing)
        except OSError as error:
            self._ends("not_started", f"{self.spec['argv'][0]}: {error.strerror or error}")
        finally:
            os.close(writing)
        with selectors.DefaultSelector() as selector:
            selector.register(reading, selectors.EVENT_READ, "output")
            selector.register(woken, selectors.EVENT_READ, "signal")
            if parent is not None:
                selector.register(int(parent), selectors.EVENT_READ, "house")
            while self.status is None and self.reason != "not_started":
                for key, _ in selector.select(self._pause()):
                    if key.data == "output":
                        self._drain(reading, selector)
                    elif key.data == "signal":
                        with contextlib.suppress(BlockingIOError):
                            woken.recv(4096)
                    else:
                        self._house_said(int(str(parent)), selector)
                self._reap()
                self._watch()
        self._end_all()
        self._drain_the_rest(reading)
        self.log.close()

    def _start(self, output: int) -> None:
        spec = self.spec
        if parent := spec.get("cgroup_parent"):
            self.cgroup = Cgroup(parent, f"job-{spec['token']}", self.limits)
        free = os.statvfs(self.folder)
        if free.f_bavail * free.f_frsize < FREE_DISK_BYTES:
            raise OSError(errno.ENOSPC, "the disk of this machine is nearly full")
        self.child = subprocess.Popen(
            [*spec.get("wrapper", []), *spec["argv"]],
            cwd=spec["cwd"],
            env=spec["env"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=self._before_exec,  # noqa: PLW1509  (there is one thread here)
        )

    def _before_exec(self) -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.cgroup:
            self.cgroup.enter()
        os.nice(5)  # A job that takes every cycle must not keep us from ending it.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if size := self.limits["disk_bytes"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        if (processes := self.limits["processes"]) and os.getuid():
            # Counted per user, so our other processes are added: a last fence behind the watcher.
            ours = processes_of_this_user()
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NPROC, (ours * 2 + processes * 4, ours * 2 + processes * 4))

    # what happens while it runs

    def _asked_to_stop(self, *_: object) -> None:
        if not (self.folder / "cancel").exists():
            self._ends("interrupted", "the runner was told to stop")

    def _house_said(self, parent: int, selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(OSError):
            if os.read(parent, 64):
                return
        selector.unregister(parent)
        self._ends("interrupted", "the hub was stopped")

    def _drain(self, source: int, selector: selectors.BaseSelector | None) -> bool:
        with contextlib.suppress(BlockingIOError):
            if self.log.take(source):
                return True
            if selector is not None:
                selector.unregister(source)
        return False

    def _ends(self, reason: str, detail: str, *, at_once: bool = False) -> None:
        """Ask the job to end, or make it; the first reason stays."""
        if not self.reason:
            self.reason, self.detail = reason, detail
            self.kill_at = time.monotonic() + (0 if at_once else self.grace_seconds)

    def _pause(self) -> float:
        if self.kill_at is not None:
            return 0.02
        return max(0.0, min(self.next_watch - time.monotonic(), LONGEST_WATCH_SECONDS))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == self.child.pid:
                    self.status = self.child.returncode = os.waitstatus_to_exitcode(status)

    def _watch(self) -> None:
        now = time.monotonic()
        if self.kill_at is not None and not self.terminated:
            self.terminated = True
            signal_all(self._program() if LINUX else [-self.child.pid], signal.SIGTERM)
        if self.kill_at is not None and now >= self.kill_at:
            self._kill()
        if now < self.next_watch:
            return
        if (self.folder / "cancel").exists():
            self._ends("cancelled", "cancelled")
        if 0 < self.limits["wall_seconds"] < now - self.began:
            self._ends("timed_out", f"it ran longer than {self.limits['wall_seconds']} s")
        self._watch_processes()
        self._watch_disk(now)
        # Watching may take a twentieth of the time, however many processes there are.
        cost = time.monotonic() - now
        self.next_watch = now + min(max(WATCH_SECONDS, 20 * cost), LONGEST_WATCH_SECONDS)

    def _program(self) -> list[int]:
        """The job's processes, without the sandbox's two (the monitor and the namespace's first process)."""
        if self.status is not None:
            return descendants(os.getpid())
        sandbox = {self.child.pid, *children(self.child.pid)} if self.wrapped else set()
        return [pid for pid in descendants(os.getpid()) if pid not in sandbox]

    def _watch_processes(self) -> None:
        program = self._program()
        self.peak_processes = max(self.peak_processes, len(program))
        if 0 < self.limits["processes"] < len(program):
            self._ends("processes", f"it had more than {self.limits['processes']} processes at once", at_once=True)
        used = memory(program)
        self.peak_memory = max(self.peak_memory, used)
        if 0 < self.limits["memory_bytes"] < used:
            self._ends("memory", f"it used more than {self.limits['memory_bytes']} bytes of memory", at_once=True)

    def _watch_disk(self, now: float) -> None:
        if now < self.next_disk:
            return
        limit = self.limits["disk_bytes"] or sys.maxsize
        used = disk(self.watched, limit)
        self.peak_disk = max(self.peak_disk, used)
        free = os.statvfs(self.folder)
        if used > limit:
            self._ends("disk", f"it wrote more than {limit} bytes to its folder", at_once=True)
        elif free.f_bavail * free.f_frsize < FREE_DISK_BYTES:
            self._ends("disk", "the disk of this machine is nearly full", at_once=True)
        self.next_disk = now + max(0.5, 20 * (time.monotonic() - now))

    # the end

    def _kill(self) -> None:
        if self.cgroup:
            self.cgroup.kill()
        if self.wrapped and self.status is None:
            # The first process of the PID namespace: with it the kernel ends all of them at once.
            signal_all(children(self.child.pid) or [self.child.pid], signal.SIGKILL)
            return
        if not LINUX and self.status is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        # One signal reaches a whole group at once, which no fork can outrun; a stopped one cannot make new groups.
        stopped: set[int] = set()
        for _ in range(50):
            newcomers = groups(descendants(os.getpid())) - stopped
            if not newcomers:
                break
            signal_all([-group for group in newcomers], signal.SIGSTOP)
            stopped |= newcomers
        signal_all([-group for group in stopped], signal.SIGKILL)

    def _end_all(self) -> None:
        """What the program left behind ends too; the state of the job was decided before."""
        deadline = time.monotonic() + 30
        while descendants(os.getpid()) and time.monotonic() < deadline:
            self._kill()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.005)

    def _drain_the_rest(self, source: int) -> None:
        while self._drain(source, None):
            pass
        os.close(source)

    def write_end(self) -> None:
        reason, code = self.reason, self.status
        if not reason and self.cgroup and code != 0 and (verdict := self.cgroup.verdict()):
            reason = verdict
        if not reason:
            # Under the sandbox a death by signal arrives as 128 + its number.
            killed = code is not None and (code < 0 or (self.wrapped and code > 128))
            reason = "signalled" if killed else "exited"
        if self.cgroup:
            self.cgroup.remove()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        last = {
            "reason": reason,
            "detail": self.detail,
            "code": code,
            "signal": abs(code) % 128 if reason == "signalled" and code is not None else None,
            "started_at": self.started_at,
            "ended_at": time.time(),
            "seconds": round(time.monotonic() - self.began, 3),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
            "peak_memory_bytes": self.peak_memory,
            "peak_processes": self.peak_processes,
            "peak_disk_bytes": self.peak_disk,
            "log_bytes": self.log.seen,
            "log_kept_bytes": self.log.kept,
            "sandboxed": self.wrapped,
        }
        data = json.dumps(last).encode()
        os.pwrite(self.last_word, data, 0)
        os.ftruncate(self.last_word, len(data))
        os.fsync(self.last_word)
        (self.folder / "exit.tmp").rename(self.folder / "exit.json")


def take_lock(folder: Path, me: dict[str, Any]) -> bool:
    """Whether this runner is the one; the lock is never broken, however old."""
    mine = folder / f"lock.{os.getpid()}"
    write(mine, me)
    try:
        os.link(mine, folder / "run.lock")
    except FileExistsError:
        return False
    finally:
        mine.unlink()
    return True


def write(path: Path, value: dict[str, Any]) -> None:
    """Complete or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def main(folder: Path) -> NoReturn:
    os.umask(0o077)
    spec = json.loads((folder / "spec.json").read_text())
    me = {"pid": os.getpid(), "start_ticks": start_ticks(os.getpid()), "boot_id": boot_id(), "token": spec["token"]}
    if not take_lock(folder, me):
        sys.exit(DUPLICATE)
    run = Run(folder, spec)
    write(folder / "started.json", {**me, "started_at": run.started_at, "sandboxed": run.wrapped})
    run.carry_out()
    run.write_end()
    sys.exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
