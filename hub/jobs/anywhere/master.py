"""A connection that a person opened themselves: OpenSSH's ControlMaster, shared as our own connection is.

They signed in by whatever their site asks for (a password, a one-time code, a token), and `ssh` keeps the line open
behind a socket. Each channel here is one `ssh -S SOCKET` process on that line. It can never open a line of its own:
where the socket is gone, it ends, and nothing of the person's is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import asyncssh
from asyncssh.logging import logger
from asyncssh.sftp import start_sftp_client

from hub.jobs.ssh import NO_LINE, Connection, Login, Unreachable, _Link

CHECK_SECONDS = 15.0
BUFFER_BYTES = 1 << 20


class MasteredConnection(Connection):
    """As a connection of our own, on the line behind a socket; whose host key it is, the person's `ssh` has checked."""

    def __init__(self, login: Login, socket: str, *, path: Sequence[str] = ()) -> None:
        # There is no key: this opens nothing.
        super().__init__(login, asyncssh.generate_private_key("ssh-ed25519"), path=path)
        self._socket = socket

    async def _open(self) -> _Link:
        # Looking at a socket of this machine troubles no login node, so it needs no breaker.
        line = Line(self._socket, self.login)
        await line.check()
        return _Link(line, [])  # type: ignore[arg-type]  # it has what is used of a connection


class Line:
    """What is used of an `asyncssh.SSHClientConnection`, by way of a master."""

    def __init__(self, socket: str, login: Login) -> None:
        self._socket, self._login = socket, login
        self._is_gone = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.channels: set[Channel] = set()

    def argv(self, *more: str) -> list[str]:
        """`ssh` on the master's line: no configuration, no question, and no way to another line."""
        options = ["ControlMaster=no", "BatchMode=yes", "ProxyCommand=false", "ClearAllForwardings=yes"]
        fixed = ["ssh", "-F", "none", "-S", self._socket, "-a", "-x", "-T", "-p", str(self._login.port)]
        return [*fixed, *(word for each in options for word in ("-o", each)), "-l", self._login.user, *more]

    async def check(self) -> None:
        """Whether the master lives. Raises Unreachable."""
        try:
            asked = await asyncio.create_subprocess_exec(
                *self.argv("-O", "check", "--", self._login.host),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise Unreachable(f"OpenSSH's client cannot be started: {error}") from None
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                _, said = await asked.communicate()
        except TimeoutError:
            asked.kill()
            await asked.wait()
            raise Unreachable(f"the master at {self._socket} does not answer") from None
        if asked.returncode != 0:
            words = said.decode(errors="replace").strip() or f"exit code {asked.returncode}"
            raise Unreachable(f"no master answers at {self._socket}: {words}")

    async def create_process(self, command: str, *, encoding: None = None) -> Channel:
        return await self._channel(self._login.host, command)

    async def start_sftp_client(self) -> asyncssh.SFTPClient:
        channel = await self._channel("-s", self._login.host, "sftp")
        reader: Any = _Reader(channel)
        writer: Any = _Writer(channel)
        own: Any = self
        loop = asyncio.get_running_loop()
        return await start_sftp_client(own, loop, "strict", reader, writer, "utf-8", "strict", 3)

    def create_task(self, work: Any, _logger: Any = None) -> asyncio.Task[Any]:
        """As asyncssh asks of a connection for the task that reads answers."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _channel(self, *what: str) -> Channel:
        # `--` ends the options, wherever the name of a host begins with a dash.
        words = ["--", *what] if what[0] != "-s" else ["-s", "--", *what[1:]]
        process = await asyncio.create_subprocess_exec(
            *self.argv(*words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=BUFFER_BYTES,
            start_new_session=True,  # Ctrl-C here must not end what runs there
        )
        return Channel(self, process)

    def is_closed(self) -> bool:
        return self._is_gone

    def gone(self) -> None:
        """A channel found no line: the next one looks for the master first."""
        self._is_gone = True

    def close(self) -> None:
        self._is_gone = True
        for channel in list(self.channels):
            channel.close()

    def abort(self) -> None:
        self.close()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Channel:
    """What is used of an `asyncssh.SSHClientProcess`."""

    def __init__(self, line: Line, process: asyncio.subprocess.Process) -> None:
        self._line, self._process = line, process
        line.channels.add(self)
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.stdin, self.stdout, self.stderr = process.stdin, process.stdout, process.stderr
        self._is_closing = self._is_ended_by_us = False
        self._finishing: asyncio.Task[None] | None = None
        line.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        if await self._process.wait() == NO_LINE and not self._is_ended_by_us:
            self._line.gone()

    async def _finish(self) -> None:
        """Until the process is over and its pipes are empty, so that nothing of it is left here."""
        await asyncio.gather(self._process.wait(), _emptied(self.stdout), _emptied(self.stderr))
        self._line.channels.discard(self)

    @property
    def exit_status(self) -> int | None:
        return self._process.returncode

    def is_closing(self) -> bool:
        return self._is_closing

    def terminate(self) -> None:
        self._is_ended_by_us |= not self.stdout.at_eof()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def close(self) -> None:
        """End the process on this side; over there, its input ends."""
        self._is_closing = True
        self.stdin.close()
        if self._process.returncode is None:
            self.terminate()
        self._finished()

    async def wait_closed(self) -> None:
        await self._finished()

    def _finished(self) -> asyncio.Task[None]:
        if self._finishing is None:
            self._finishing = self._line.create_task(self._finish())
        return self._finishing


async def _emptied(stream: asyncio.StreamReader) -> None:
    # Whoever still reads it comes to its end by themselves.
    with contextlib.suppress(RuntimeError, OSError):
        while await stream.read(BUFFER_BYTES):
            pass


class _Reader:
    """A channel's output, as asyncssh's file transfer reads it."""

    def __init__(self, channel: Channel) -> None:
        self._stream = channel.stdout
        self.logger = logger

    async def readexactly(self, count: int) -> bytes:
        return await self._stream.readexactly(count)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class _Writer:
    """A channel's input, as asyncssh's file transfer writes it."""

    def __init__(self, channel: Channel) -> None:
        self._own = channel
        self.channel = SimpleNamespace(is_closing=lambda: channel.is_closing() or channel.exit_status is not None)

    def write(self, data: bytes) -> None:
        self._own.stdin.write(data)

    def close(self) -> None:
        self._own.close()

    async def wait_closed(self) -> None:
        await self._own.wait_closed()
