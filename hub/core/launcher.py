"""`up`: start the house's processes, keep them running, and leave nothing behind, however it ends.

Known process runners leave orphans after `kill -9`, so this one is our own. All children inherit one end of a stream
pair whose other end only we hold: our death, of whatever kind, is end-of-file to every one of them (`parent.py`), and
when the last of them is gone we see end-of-file in turn, job runners included, which are nobody's direct children.
A binary that is not ours (Valkey) dies by parent-death signal on Linux and by a small guard process elsewhere.
A child that crashes is started again with growing pauses; five quick crashes in a row close the house, unless it is one
the house can do without.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO

from hub.core.parent import GONE_WITH_PARENT, GRACE_SECONDS, PARENT_PIPE

QUICK_CRASH_SECONDS = 10.0
QUICK_CRASHES_ALLOWED = 5
LONGEST_PAUSE_SECONDS = 5.0
LOG_LIMIT_BYTES = 16 * 2**20
PR_SET_PDEATHSIG = 1

# Reads the same stream as our own processes and ends the foreign binary with it; `python -c GUARD FD ARGV...`.
GUARD = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[2:])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
def watch():
    os.read(int(sys.argv[1]), 1)
    child.terminate()
threading.Thread(target=watch, daemon=True).start()
sys.exit(child.wait())
"""


class LaunchFailed(Exception):
    """A child did not become ready, or crashed too often; the message names it and its log file."""


@dataclass(frozen=True)
class Child:
    """One process of the house. `ready` is asked every 50 ms, in a thread, until it says yes."""

    name: str
    argv: tuple[str, ...]
    ours: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 30.0
    is_needed: bool = True  # what the house can do without never closes it, however often it ends
    edition: str = ""  # a child whose edition changed is started again by `become`

    def runs_as(self, other: Child) -> bool:
        """Whether a process of the one is as good as a process of the other."""
        ours, theirs = (self.argv, dict(self.environment)), (other.argv, dict(other.environment))
        return ours == theirs and self.edition == other.edition


class Launcher:
    """Runs children in the given order until a signal comes or one of them cannot be kept alive."""

    def __init__(
        self,
        children: list[Child],
        logs: Path,
        *,
        console: TextIO | None = None,
        grace_seconds: float = GRACE_SECONDS,
        first_pause_seconds: float = 0.2,
        guard: bool = sys.platform != "linux",
    ) -> None:
        self.children, self.logs, self.console = children, logs, console
        self.grace_seconds, self.first_pause_seconds, self.guard = grace_seconds, first_pause_seconds, guard
        self._stop = asyncio.Event()
        self._impatient = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._keepers: set[asyncio.Task[None]] = set()
        self._successors: dict[str, Child] = {}
        self._pumps: set[asyncio.Task[None]] = set()
        self._ours, self._theirs = socket.socketpair()

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self._running.items()}

    async def run(self, when_ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Start everything, call `when_ready`, and stay until asked to stop. Raises `LaunchFailed`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop)
        self.logs.mkdir(parents=True, exist_ok=True)
        try:
            for child in self.children:
                started = await self._start(child)
                await self._until_ready(child, started)
                self._keepers.add(asyncio.create_task(self._keep(child, started)))
                if self._stop.is_set():
                    return
            if when_ready is not None:
                self._keepers.add(asyncio.create_task(_unless_it_fails(when_ready())))
            stopped = asyncio.create_task(self._stop.wait())
            while not self._stop.is_set():
                # `become` adds keepers, so the set is looked at anew now and then.
                waiting: set[asyncio.Task[bool] | asyncio.Task[None]] = {stopped, *self._keepers}
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=0.5)
                for task in done:
                    task.result()
                self._keepers = {keeper for keeper in self._keepers if not keeper.done()}
        finally:
            for keeper in self._keepers:
                keeper.cancel()
            await self._stop_all()

    async def become(self, children: list[Child]) -> list[str]:
        """Run these from now on; returns what was touched. Those that run as they should are left alone.

        New children are started, those that are gone are stopped, and those that changed are stopped and started as
        what they are now, the others meanwhile going on.
        """
        before = {child.name: child for child in self.children}
        self.children = children
        now = {child.name for child in children}
        touched = [name for name in before if name not in now]
        ending = [self._ask_to_end(self._running[name]) for name in touched]
        for child in children:
            if child.name not in before:
                started = await self._start(child)
                self._keepers.add(asyncio.create_task(self._keep(child, started)))
            elif not child.runs_as(before[child.name]):
                self._successors[child.name] = child
                ending.append(self._ask_to_end(self._running[child.name]))
            else:
                continue
            touched.append(child.name)
        await asyncio.gather(*ending)
        return touched

    async def _ask_to_end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await self._ended_or_killed(process)

    def stop(self) -> None:
        """The first request stops in order and patiently; the second kills."""
        if self._stop.is_set():
            self._impatient.set()
        self._stop.set()

    async def _start(self, child: Child) -> asyncio.subprocess.Process:
        environment = {**os.environ, **child.environment}
        environment.pop(PARENT_PIPE, None)
        descriptor = self._theirs.fileno()
        argv = child.argv
        handed: tuple[int, ...] = ()
        before_exec: Callable[[], None] | None = None
        if child.ours:
            environment[PARENT_PIPE] = str(descriptor)
            handed = (descriptor,)
        elif self.guard:
            argv = (sys.executable, "-c", GUARD, str(descriptor), *child.argv)
            handed = (descriptor,)
        else:
            before_exec = functools.partial(_die_with, os.getpid(), _prctl())
        # A pipe of our own: asyncio's would make `wait()` wait for every grandchild that holds its other end.
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=asyncio.subprocess.STDOUT,
            # Its own session: Ctrl-C at the terminal reaches only us, and we stop the children in order.
            start_new_session=True,
            env=environment,
            pass_fds=handed,
            preexec_fn=before_exec,
        )
        os.close(writing)
        self._running[child.name] = process
        pump = asyncio.create_task(self._pump(child.name, reading))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return process

    async def _until_ready(self, child: Child, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + child.ready_seconds
        while child.ready is not None and not self._stop.is_set():
            if await asyncio.to_thread(child.ready):
                return
            if process.returncode is not None:
                raise LaunchFailed(
                    f"{child.name} ended with {process.returncode} while starting; see {self._log(child.name)}"
                )
            if time.monotonic() > deadline:
                raise LaunchFailed(
                    f"{child.name} was not ready after {child.ready_seconds:g} s; see {self._log(child.name)}"
                )
            await asyncio.sleep(0.05)

    async def _keep(self, child: Child, process: asyncio.subprocess.Process) -> None:
        """Wait for its end and start it again, unless the house is closing or it crashes as fast as it starts."""
        quick_crashes = 0
        while True:
            started_at = time.monotonic()
            code = await process.wait()
            if self._stop.is_set():
                return
            _kill_group(process.pid)
            if (successor := self._successors.pop(child.name, None)) is not None:
                child, quick_crashes = successor, 0
                process = await self._start(child)
                continue
            if all(each.name != child.name for each in self.children):
                self._running.pop(child.name, None)
                return
            quick_crashes = quick_crashes + 1 if time.monotonic() - started_at < QUICK_CRASH_SECONDS else 1
            if quick_crashes >= QUICK_CRASHES_ALLOWED and child.is_needed:
                raise LaunchFailed(
                    f"{child.name} ended {quick_crashes} times in a row, last with {code}; see {self._log(child.name)}"
                )
            pause = min(self.first_pause_seconds * 2 ** (quick_crashes - 1), LONGEST_PAUSE_SECONDS)
            self._say(child.name, f"ended with {code}, starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)
            child = self._successors.pop(child.name, child)
            process = await self._start(child)

    async def _stop_all(self) -> None:
        for child in reversed(self.children):
            process = self._running.get(child.name)
            if process is None:
                continue
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await self._ended_or_killed(process)
            # Whatever it forgot to stop is in its group.
            _kill_group(process.pid)
        # What is nobody's direct child (job runners) hears end-of-file now; we wait until the last holder is gone.
        self._theirs.close()
        self._ours.shutdown(socket.SHUT_WR)
        self._ours.setblocking(False)
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self.grace_seconds + 2):
                while await asyncio.get_running_loop().sock_recv(self._ours, 64):
                    pass
        self._ours.close()
        if self._pumps:
            await asyncio.wait(self._pumps, timeout=1)

    async def _ended_or_killed(self, process: asyncio.subprocess.Process) -> None:
        ended = asyncio.ensure_future(process.wait())
        impatient = asyncio.ensure_future(self._impatient.wait())
        await asyncio.wait({ended, impatient}, timeout=self.grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        impatient.cancel()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await ended

    async def _pump(self, name: str, descriptor: int) -> None:
        """Copy a child's output to its log file, and to the console line by line behind its name."""
        loop = asyncio.get_running_loop()
        output = asyncio.StreamReader()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), open(descriptor, "rb"))  # noqa: SIM115
        tail = b""
        with contextlib.closing(pipe), _LogFile(self._log(name)) as log:
            while piece := await output.read(65536):
                log.write(piece)
                if self.console is not None:
                    *lines, tail = (tail + piece).split(b"\n")
                    for line in lines:
                        self._say(name, line.decode(errors="replace"))
        if tail:
            self._say(name, tail.decode(errors="replace"))

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _say(self, name: str, line: str) -> None:
        if self.console is not None:
            with contextlib.suppress(OSError):
                print(f"{name:8}| {line}", file=self.console, flush=True)


class _LogFile:
    """Appends to a file and begins a new one at the limit, keeping one old one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO = path.open("ab", buffering=0)

    def write(self, piece: bytes) -> None:
        with contextlib.suppress(OSError):  # A full disk must not stop the house; the console still shows the line.
            if self.file.tell() + len(piece) > LOG_LIMIT_BYTES:
                self.file.close()
                self.path.replace(self.path.with_suffix(".log.1"))
                self.file = self.path.open("ab", buffering=0)
            self.file.write(piece)

    def __enter__(self) -> _LogFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


async def _unless_it_fails(work: Awaitable[None]) -> None:
    await work
    await asyncio.Event().wait()


def _kill_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


@functools.cache
def _prctl() -> Callable[..., int] | None:
    return ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def _die_with(parent: int, prctl: Callable[..., int] | None) -> None:
    """Runs between fork and exec of a binary that is not ours."""
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # It died between fork and prctl.
        os._exit(GONE_WITH_PARENT)
