"""The jail in which previews are made: the strongest this machine offers.

1. *bubblewrap*: no network, and a file system that holds the interpreter, Pillow and nothing else; inside it the
   program also locks itself in with Landlock and seccomp where the kernel knows them.
2. *landlock*: the program takes away files, network and nearly all system calls from itself before it reads.
3. *limits*: only memory, time and size are bounded; then only PNG, JPEG, tables and texts are tried, and pages say why.

Always: a process of its own, an empty environment, a wall clock, and a bound on what it may answer.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

import hub
from hub.artifacts import render
from hub.core import limits
from hub.core.decoding import UNREADABLE

Jail = Literal["bubblewrap", "landlock", "limits"]
JAILS: tuple[Jail, ...] = ("bubblewrap", "landlock", "limits")

WORDS: dict[Jail, str] = {
    "bubblewrap": "previews are made in a bubblewrap jail without network and files",
    "landlock": "previews are made in a process locked in by Landlock and seccomp",
    "limits": "no jail can be had on this machine, so only PNG, JPEG, tables and texts get previews; "
    "install bubblewrap for the others",
}
_FORMATS = {"full": ("PNG", "JPEG", "WEBP", "GIF", "TIFF"), "limits": ("PNG", "JPEG")}
_MAIN = "from hub.artifacts.render.program import main; raise SystemExit(main(sys.argv[1]))"

_TRY_AGAIN_SECONDS = 300
_remembered: list[tuple[Jail, float]] = []


class Part(msgspec.Struct, frozen=True):
    """One thing the renderer made; its numbers are as untrusted as its bytes."""

    variant: str
    bytes: int
    width: int = 0
    height: int = 0


class Head(msgspec.Struct, frozen=True):
    """What the renderer says of its answer."""

    layers: list[str]
    parts: list[Part] = []
    refused: str = ""


class Stopped(Exception):
    """The renderer was stopped or broke; the text says how."""


class Slow(Stopped):
    """The wall clock stopped it, or it could not even start: that may be the machine's fault, not the file's."""


def formats(jail: Jail) -> tuple[str, ...]:
    """The image formats that may be tried in this jail."""
    return _FORMATS["limits" if jail == "limits" else "full"]


def which_jail() -> Jail:
    """The strongest jail that really holds here, found by trying each with a harmless text.

    What was found is remembered in this process; that none was, for five minutes only: the machine may just have been
    too busy to start one.
    """
    if _remembered and (_remembered[0][0] != "limits" or time.monotonic() < _remembered[0][1]):
        return _remembered[0][0]
    found: Jail = next((jail for jail in JAILS if _holds(jail)), "limits")
    _remembered[:] = [(found, time.monotonic() + _TRY_AGAIN_SECONDS)]
    return found


def _holds(jail: Jail) -> bool:
    try:
        head, _ = render_in(jail, "text", b"harmless", truncated=False)
    except Stopped:
        return False
    return not head.refused


def render_in(jail: Jail, kind: str, content: bytes, *, truncated: bool) -> tuple[Head, bytes]:
    """Runs the renderer on `content`: what it says, and the bytes of its parts. Raises Stopped."""
    order = {
        "kind": kind,
        "truncated": truncated,
        "formats": formats(jail),
        "pixels": limits.PREVIEW_PIXELS,
        "memory_bytes": limits.PREVIEW_MEMORY_BYTES,
        "cpu_seconds": limits.PREVIEW_CPU_SECONDS,
        "lock": jail != "limits",
        "needs": ["landlock", "seccomp"] if jail == "landlock" else [],
    }
    answer = run(jail, _MAIN, msgspec.json.encode(order).decode(), content)
    line, _, data = answer.partition(b"\n")
    try:
        return msgspec.json.decode(line, type=Head), data
    except UNREADABLE:
        raise Stopped("the renderer's answer cannot be read") from None


def run(
    jail: Jail,
    entry: str,
    argument: str,
    content: bytes,
    *,
    packages: Sequence[str] = ("PIL",),
    seconds: float | None = None,
    answer_bytes: int | None = None,
) -> bytes:
    """Runs Python code inside the jail with `content` on standard input; of all libraries it sees `packages` alone.

    Raises Stopped; without `seconds` and `answer_bytes` at the limits of previews.
    """
    seconds, answer_bytes = seconds or limits.PREVIEW_SECONDS, answer_bytes or limits.PREVIEW_OUTPUT_BYTES
    libraries = [path for package in packages for path in _libraries(package)]
    command = [*_outside(jail, libraries), *_python(jail, entry, libraries), argument]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise Slow(f"the renderer could not be started: {error.strerror}") from None
    assert process.stdin is not None and process.stdout is not None
    feeder = threading.Thread(target=_feed, args=(process.stdin, content), daemon=True)
    feeder.start()
    try:
        answer = _answer(process.stdout, seconds, answer_bytes)
        status = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Slow("the renderer took too long") from None
    finally:
        _kill(process)
        feeder.join()
        process.stdout.close()
    if status in (-signal.SIGXCPU, -signal.SIGKILL, 128 + signal.SIGXCPU, 128 + signal.SIGKILL):
        raise Stopped("the renderer needed too much time or memory")
    if status != 0:
        raise Stopped(f"the renderer ended with status {status}")
    return answer


def _outside(jail: Jail, libraries: Sequence[Path]) -> list[str]:
    if jail != "bubblewrap":
        return []
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise Stopped("bubblewrap is not installed")
    command = [bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    command += ["--uid", "65534", "--gid", "65534", "--hostname", "jail"]
    for inside, outside in _visible(libraries).items():
        command += ["--ro-bind", str(outside), inside]
    for name in ("lib", "lib64"):
        top = Path("/") / name
        if top.is_symlink():
            command += ["--symlink", str(top.readlink()), str(top)]
    return [*command, "--remount-ro", "/", "--chdir", "/", "--"]


def _visible(libraries: Sequence[Path]) -> dict[str, Path]:
    """All that exists inside: the system's libraries, the interpreter, the packages needed, the renderer."""
    package, renderer = Path(hub.__file__).parent, Path(render.__file__).parent
    found = {
        "/renderer/hub/__init__.py": package / "__init__.py",
        "/renderer/hub/artifacts/__init__.py": renderer.parent / "__init__.py",
        "/renderer/hub/artifacts/render": renderer,
    }
    for folder in libraries:
        found[f"/renderer/{folder.name}"] = folder
    prefix = Path(sys.base_prefix)
    own = [prefix / "lib"] if prefix in (Path("/usr"), Path("/usr/local")) else [prefix]
    system = [path for path in (Path("/lib"), Path("/lib64")) if not path.is_symlink()]
    for path in [Path("/usr/lib"), Path("/usr/lib64"), *system, *own, Path(_interpreter())]:
        if path.exists():
            found.setdefault(str(path), path)
    return found


def _libraries(name: str) -> list[Path]:
    """A package, and the shared libraries that its wheel brings along."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return []
    package = Path(spec.origin).parent
    brought = "pillow" if name == "PIL" else name
    return [path for path in (package, package.parent / f"{brought}.libs") if path.is_dir()]


def _interpreter() -> str:
    return os.path.realpath(sys.executable)


def _python(jail: Jail, entry: str, libraries: Sequence[Path]) -> list[str]:
    if jail == "bubblewrap":
        places = ["/renderer"]
    else:
        places = [str(Path(hub.__file__).parent.parent), *{str(path.parent) for path in libraries}]
    # -I -S: nothing from the environment, the current folder or any site; what is needed is named here.
    return [_interpreter(), "-I", "-S", "-B", "-c", f"import sys; sys.path[:0] = {places!r}; {entry}"]


def _feed(stdin: IO[bytes], content: bytes) -> None:
    try:
        with stdin:
            stdin.write(content)
    except OSError:
        return  # It ended without reading everything; its answer says why.


def _answer(stdout: IO[bytes], seconds: float, most_bytes: int) -> bytes:
    deadline = time.monotonic() + seconds
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise Slow("the renderer took too long")
            piece = os.read(stdout.fileno(), 1 << 16)
            if not piece:
                return bytes(answer)
            answer += piece
            if len(answer) > most_bytes:
                raise Stopped("the renderer answered too much")


def _kill(process: subprocess.Popen[Any]) -> None:
    """Ends the process and whatever it started; it has a process group of its own."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
