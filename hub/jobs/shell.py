"""A standing shell on a login node: commands go in framed, and their two outputs and exit codes come out apart.

One exec channel for each command costs a login node a process and a round trip; a standing POSIX shell takes commands
a hundred times faster. Each command runs under its own `timeout`, because giving up here ends nothing there. The frame
is a number nobody else knows, which follows the output on both streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import Callable, Sequence

import asyncssh
import msgspec

# One argument of a command may have 128 KiB on Linux.
SCRIPT_BYTES = 120 << 10
OUTPUT_BYTES = 32 << 20
# How long after its own end a command's answer is waited for.
ANSWER_SECONDS = 10.0
HELLO_SECONDS = 30.0


class SshError(Exception):
    """Something between us and the login node."""


class NoLine(SshError):
    """The line is at fault, or who lets us in: nothing is said of what was asked for, which is worth asking again."""


class Unreachable(NoLine):
    """Nothing was sent, so nothing has happened there."""


class Doubtful(NoLine):
    """A command was sent and its answer never came: it may have been carried out, wholly, in part or not at all."""


class BrokenOff(NoLine):
    """The line, or the channel on it, ended while bytes were on their way."""


class Done(msgspec.Struct, frozen=True):
    """How a command ended there, and what it wrote."""

    code: int
    out: bytes
    err: bytes

    @property
    def timed_out(self) -> bool:
        return self.code in (124, 137)

    @property
    def said(self) -> str:
        """What it complained of, in a line or a few."""
        return (self.err or self.out).decode(errors="replace").strip()[:2000]


def command(argv: Sequence[str]) -> str:
    """A command line in which every word is one argument, whatever is in it. Raises ValueError for a NUL."""
    if any("\0" in word for word in argv):
        raise ValueError("a word with a NUL cannot be an argument of a command")
    return shlex.join(argv)


Heard = Callable[[bytes], None]


class Shell:
    """One `/bin/sh` of the person who is logged in, which answers one command at a time."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        self._mark = secrets.token_hex(16)
        self.broken = False

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection, path: Sequence[str] = ()) -> Shell:
        """Raises asyncssh.Error or OSError when there is no shell to be had."""
        # A login shell, because that is where sites say which folder their scheduler's commands lie in.
        process = await connection.create_process("exec /bin/sh -l", encoding=None)
        shell = cls(process)
        process.stdin.write(f"__n={shell._mark}; PATH={_path(path)}; export PATH\n".encode())
        try:
            done = await shell.run("true", seconds=HELLO_SECONDS)
        except Doubtful as error:
            raise OSError(f"the login shell does not answer: {error}") from None
        if done.code != 0:
            shell.close()
            raise OSError(f"the login shell cannot run commands under `timeout`: {done.said}")
        return shell

    async def run(self, script: str, *, seconds: float, heard: Heard | None = None) -> Done:
        """Carry out a script in a shell of its own. Raises Doubtful, after which this shell is of no more use.

        What it writes is told to `heard` as it comes, too, with a little after its end.
        """
        encoded = script.encode("utf-8", "surrogateescape")
        if b"\0" in encoded or len(encoded) > SCRIPT_BYTES:
            raise ValueError("this is no script that can be sent as one argument")
        limited = f"timeout -k 5 {max(1, round(seconds))} /bin/sh -c {shlex.quote(script)} </dev/null"
        told = '__c=$?; printf \'\\n%s %d\\n\' "$__n" "$__c"; printf \'\\n%s\\n\' "$__n" >&2'
        try:
            self._process.stdin.write(f"{limited}; {told}\n".encode("utf-8", "surrogateescape"))
            async with asyncio.timeout(seconds + 5 + ANSWER_SECONDS):
                (out, code), (err, _) = await asyncio.gather(
                    self._until_mark(self._process.stdout, heard, with_code=True),
                    self._until_mark(self._process.stderr, None, with_code=False),
                )
        except (TimeoutError, OSError, EOFError, asyncssh.Error) as error:
            self.close()
            raise Doubtful(str(error) or type(error).__name__) from None
        except BaseException:
            self.close()  # What comes next on its streams belongs to a command nobody waits for.
            raise
        return Done(code, out, err)

    async def _until_mark(
        self, stream: asyncssh.SSHReader[bytes], heard: Heard | None, *, with_code: bool
    ) -> tuple[bytes, int]:
        mark = f"\n{self._mark}".encode()
        found = bytearray()
        looked = 0
        while True:
            at = found.find(mark, looked)
            if at >= 0 and (end := found.find(b"\n", at + len(mark))) >= 0:
                return bytes(found[:at]), int(found[at + len(mark) : end] or b"0") if with_code else 0
            looked = max(0, (at if at >= 0 else len(found)) - len(mark))
            piece = await stream.read(1 << 16)
            if not piece:
                raise EOFError("the shell has ended")
            found += piece
            if heard is not None:
                heard(piece)
            if len(found) > OUTPUT_BYTES:
                raise OSError("the command writes without end")

    def close(self) -> None:
        self.broken = True
        with contextlib.suppress(OSError, asyncssh.Error):
            self._process.close()


def _path(folders: Sequence[str]) -> str:
    return "".join(f"{shlex.quote(each)}:" for each in folders) + '"$PATH"'
