"""One connection for each account on a cluster: opened once, pinned to its host keys, and shared by all who need it.

OpenSSH allows ten channels on a connection, and sites count connections: at most eight channels are used, one of them
kept free for what cannot wait (a cancel, a poll). Who refuses us or does not answer is left alone for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncssh
import msgspec

from hub.jobs.breaker import Breaker
from hub.jobs.shell import BrokenOff, Done, Doubtful, Heard, NoLine, Shell, SshError, Unreachable, command

__all__ = ["Connection", "Done", "Doubtful", "Held", "HostKeyChanged", "KeyRefused", "Login", "SshError", "Unreachable"]
__all__ += ["BrokenOff", "CertificateEnded", "Certified", "NoLine", "command", "host_key_of"]

T = TypeVar("T")

CHANNELS, KEPT_FREE = 8, 1
CHANNEL_SECONDS = 10.0
# Standing shells that questions and submissions go through: one channel is for the spool, one is kept free.
SHELLS, MOST_SHELLS = 2, CHANNELS - KEPT_FREE - 1
CONNECT_SECONDS, LOGIN_SECONDS = 15.0, 30.0
KEEPALIVE_SECONDS, KEEPALIVES = 15.0, 3
# How OpenSSH's own client ends when it is the line that failed, where a person's own line is used.
NO_LINE = 255
# What an SFTP channel that is no more answers.
_GONE = (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost, asyncssh.DisconnectError, ConnectionError)
# Everything but a key is off: nobody is there to type, and a password must never be asked for here.
_ONLY_KEYS = {"preferred_auth": "publickey", "password_auth": False, "kbdint_auth": False, "gss_auth": False}


class HostKeyChanged(Unreachable):
    """The login node is not the one that was confirmed; nothing is sent to it until a person has looked."""


class KeyRefused(Unreachable):
    """The login node does not take this account's key."""


class CertificateEnded(Unreachable):
    """What let us in has ended: nothing more is begun until its person gives a new one."""


class Certified(msgspec.Struct, frozen=True):
    """A key that is offered with its certificate and never alone, until the certificate ends.

    `ended` says, at the moment it is called, why nothing is to be begun with it any more.
    """

    key: asyncssh.SSHKey
    certificate: asyncssh.SSHCertificate
    ended: Callable[[], str]


# AES-GCM first: a packet is one call into OpenSSL then, where ChaCha20-Poly1305 takes this library six times as long.
CIPHERS = (
    *("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"),
    *("aes256-ctr", "aes192-ctr", "aes128-ctr"),
)


class Held(msgspec.Struct, frozen=True):
    """The keys that a person's own ssh-agent holds: it signs for us, and nobody sees them.

    `wanted` is the public half (`ssh-ed25519 AAAA...`) of the one that is meant; a server refuses who offers too many.
    """

    path: str
    wanted: str = ""


class Login(msgspec.Struct, frozen=True):
    """Where and as whom: with the host keys that were confirmed, and perhaps by way of another host."""

    host: str
    user: str
    host_keys: tuple[str, ...]
    port: int = 22
    jump: Login | None = None

    @property
    def shown(self) -> str:
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port != 22 else "")


class _Link:
    """A connection that is open, its channels, and what stands on them."""

    def __init__(self, connection: asyncssh.SSHClientConnection, hops: Sequence[asyncssh.SSHClientConnection]) -> None:
        self.connection, self.hops = connection, hops
        self.used = self.most = 0
        self.idle: list[Shell] = []
        self.sftp: asyncssh.SFTPClient | None = None
        self._free = asyncio.Condition()

    async def take(self, *, urgent: bool = False) -> None:
        """Wait for a channel's place."""
        limit = CHANNELS if urgent else CHANNELS - KEPT_FREE
        async with self._free:
            await self._free.wait_for(lambda: self.used < limit)
            self.used += 1
            self.most = max(self.most, self.used)

    async def opened(self, open_channel: Callable[[], Awaitable[T]]) -> T:
        """What a channel is opened for. A server counts one that we have closed until its process has ended, too."""
        deadline = time.monotonic() + CHANNEL_SECONDS
        while True:
            try:
                return await open_channel()
            except asyncssh.ChannelOpenError:
                if self.lost or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)

    async def give(self) -> None:
        async with self._free:
            self.used -= 1
            self._free.notify_all()

    @property
    def lost(self) -> bool:
        return self.connection.is_closed() or any(each.is_closed() for each in self.hops)

    def close(self) -> None:
        for each in (self.connection, *self.hops):
            each.abort()


class Connection:
    """An account's connection. It is opened when it is needed, and again after it was lost."""

    def __init__(
        self,
        login: Login,
        key: asyncssh.SSHKey | Held | Certified,
        *,
        path: Sequence[str] = (),
        shells: int = SHELLS,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.login, self.path = login, tuple(path)
        self.breaker = Breaker()
        self.opened = 0
        self.shells = max(1, min(shells, MOST_SHELLS))
        self._key, self._clock, self._spread = key, clock, spread
        self._link: _Link | None = None
        self._opening = asyncio.Lock()
        self._shells = asyncio.Semaphore(self.shells)

    @property
    def most_channels(self) -> int:
        """How many channels of the open connection were in use at once."""
        return self._link.most if self._link else 0

    async def run(
        self, script: str, *, seconds: float = 30.0, urgent: bool = False, heard: Heard | None = None
    ) -> Done:
        """Carry out a script in a standing shell. Raises Unreachable (nothing happened) or Doubtful.

        What is urgent does not wait behind others: it takes a shell of its own where all are busy. What is written
        there is told to `heard` as it comes, too.
        """
        if urgent and self._shells.locked():
            return await self._run_in_one(script, seconds, heard, urgent=True)
        async with self._shells:
            return await self._run_in_one(script, seconds, heard, urgent=False)

    async def _run_in_one(self, script: str, seconds: float, heard: Heard | None, *, urgent: bool) -> Done:
        link = await self._connected()
        while link.idle and link.idle[-1].broken:
            link.idle.pop()
            await link.give()
        if link.idle and not urgent:
            shell = link.idle.pop()
        else:
            await link.take(urgent=urgent)
            try:
                shell = await link.opened(lambda: Shell.open(link.connection, self.path))
            except BaseException as error:
                await link.give()
                if isinstance(error, asyncssh.Error | OSError):
                    raise Unreachable(f"{self.login.shown} gives no shell: {error}") from None
                raise
        try:
            return await shell.run(script, seconds=seconds, heard=heard)
        finally:
            if shell.broken or urgent:
                shell.close()
                await link.give()
            else:
                link.idle.append(shell)

    @contextlib.asynccontextmanager
    async def stream(self, script: str) -> AsyncIterator[asyncssh.SSHClientProcess[bytes]]:
        """A command on a channel of its own, for bytes that flow. Raises Unreachable, or BrokenOff while they do."""
        link = await self._connected()
        wanted = "exec " + command(["/bin/sh", "-lc", script])
        await link.take()
        try:
            try:
                process = await link.opened(lambda: link.connection.create_process(wanted, encoding=None))
            except (asyncssh.Error, OSError) as error:
                raise Unreachable(f"{self.login.shown} gives no channel: {error}") from None
            try:
                yield process
            except (asyncssh.Error, ConnectionError) as error:
                raise self._broke_off(error) from None
            finally:
                await _end(process)
        finally:
            await link.give()

    async def ended(self, process: asyncssh.SSHClientProcess[bytes]) -> int:
        """The exit code of a command whose output has ended. Raises BrokenOff where it is the line that has."""
        await process.wait_closed()
        if process.exit_status is None or process.exit_status == NO_LINE:
            raise self._broke_off("it ended before the command did")
        return process.exit_status

    @contextlib.asynccontextmanager
    async def files(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """The file transfer channel while files are on their way. Raises Unreachable, or BrokenOff when it ends.

        What a server says of a file (it is not there, the disk is full) is an asyncssh.SFTPError.
        """
        sftp = await self.sftp()
        try:
            yield sftp
        except _GONE as error:
            await self._drop(sftp)
            raise self._broke_off(error) from None

    async def _drop(self, sftp: asyncssh.SFTPClient) -> None:
        """A channel that has ended, perhaps alone: the next transfer opens another."""
        link = self._link
        if link is not None and link.sftp is sftp:
            link.sftp = None
            sftp.exit()
            await link.give()

    def _broke_off(self, why: object) -> BrokenOff:
        return BrokenOff(f"the line to {self.login.shown} broke off: {why}")

    async def sftp(self) -> asyncssh.SFTPClient:
        """The connection's one file transfer channel; requests of many share it. Raises Unreachable."""
        link = await self._connected()
        if link.sftp is None:
            async with self._opening:
                if link.sftp is None:
                    await link.take()
                    try:
                        link.sftp = await link.opened(link.connection.start_sftp_client)
                    except (asyncssh.Error, OSError) as error:
                        await link.give()
                        raise Unreachable(f"{self.login.shown} transfers no files: {error}") from None
        return link.sftp

    async def _connected(self) -> _Link:
        # On a line that is open, too: what is under way comes to its end, and whoever runs this closes it.
        if isinstance(self._key, Certified) and (why := self._key.ended()):
            raise CertificateEnded(why)
        if self._link is not None and not self._link.lost:
            return self._link
        async with self._opening:
            if self._link is not None and not self._link.lost:
                return self._link
            if self._link is not None:
                self._link.close()
                self._link = None
            if not self.breaker.may(self._clock()):
                raise Unreachable(f"{self.login.shown} is left alone for a while: {self.breaker.reason}")
            self._link = await self._open()
            self.breaker = Breaker()
            self.opened += 1
            return self._link

    async def _open(self) -> _Link:
        hops: list[asyncssh.SSHClientConnection] = []
        try:
            async with _keys_of(self._key) as keys:
                for login in _route(self.login):
                    tunnel = hops[-1] if hops else None
                    hops.append(await _connect(login, keys, tunnel))
        except BaseException as error:
            for hop in hops:
                hop.abort()
            now = self._clock()
            if isinstance(error, HostKeyChanged):
                self.breaker = self.breaker.never_again(str(error))
            elif isinstance(error, KeyRefused):
                self.breaker = self.breaker.refused(now, str(error))
            elif isinstance(error, Unreachable):
                self.breaker = self.breaker.failed(now, str(error), self._spread())
            raise
        return _Link(hops[-1], hops[:-1])

    async def close(self) -> None:
        if self._link is not None:
            link, self._link = self._link, None
            link.connection.close()
            with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    await link.connection.wait_closed()
            link.close()


async def _end(process: asyncssh.SSHClientProcess[bytes]) -> None:
    with contextlib.suppress(asyncssh.Error, OSError, TimeoutError):
        if process.exit_status is None and not process.is_closing():
            process.terminate()
        process.close()
        async with asyncio.timeout(2):
            await process.wait_closed()


def _route(login: Login) -> list[Login]:
    return [*(_route(login.jump) if login.jump else []), login]


@contextlib.asynccontextmanager
async def _keys_of(key: asyncssh.SSHKey | Held | Certified) -> AsyncIterator[list[Any]]:
    """What is offered to a server. Raises Unreachable when an ssh-agent has nothing to offer."""
    if isinstance(key, Certified):
        # Of the two that it makes of them, the second is the bare key, which nobody was asked to let in.
        yield list(asyncssh.load_keypairs([(key.key, key.certificate)]))[:1]
        return
    if isinstance(key, asyncssh.SSHKey):
        yield [key]
        return
    try:
        agent = await asyncssh.connect_agent(key.path)
    except (OSError, asyncssh.Error) as error:
        raise Unreachable(f"no ssh-agent answers at {key.path}: {error}") from None
    async with agent:
        try:
            found = await agent.get_keys()
        except (ValueError, OSError, asyncssh.Error) as error:
            raise Unreachable(f"the ssh-agent at {key.path} does not show its keys: {error}") from None
        if key.wanted:
            public = asyncssh.import_public_key(key.wanted).public_data
            found = [each for each in found if each.public_data == public]
        if not found:
            what = "not that key" if key.wanted else "no key"
            raise Unreachable(f"the ssh-agent at {key.path} holds {what}; add it with ssh-add")
        yield list(found)


async def _connect(
    login: Login, keys: Sequence[Any], tunnel: asyncssh.SSHClientConnection | None
) -> asyncssh.SSHClientConnection:
    """Raises HostKeyChanged, KeyRefused or Unreachable."""
    pinned = [asyncssh.import_public_key(each) for each in login.host_keys]
    try:
        return await asyncssh.connect(
            login.host,
            login.port,
            username=login.user,
            client_keys=list(keys),
            known_hosts=(pinned, [], []),
            config=None,
            agent_path=None,
            tunnel=tunnel or (),
            connect_timeout=CONNECT_SECONDS,
            login_timeout=LOGIN_SECONDS,
            keepalive_interval=KEEPALIVE_SECONDS,
            keepalive_count_max=KEEPALIVES,
            compression_algs=None,
            encryption_algs=CIPHERS,
            **_ONLY_KEYS,
        )
    except asyncssh.HostKeyNotVerifiable:
        raise HostKeyChanged(
            f"{login.host} answers with another host key than the one that was confirmed; nothing was sent to it"
        ) from None
    except asyncssh.KeyExchangeFailed as error:
        # A server that has lost its pinned kind of key altogether offers no algorithm in common.
        raise HostKeyChanged(f"{login.host} does not offer the host key that was confirmed: {error}") from None
    except asyncssh.PermissionDenied:
        what = "certificate" if any(b"-cert-" in each.algorithm for each in keys) else "key"
        raise KeyRefused(f"{login.host} does not accept the {what} of {login.user}") from None
    except ValueError as error:
        raise KeyRefused(f"the ssh-agent does not sign for {login.user}: {error}") from None
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise Unreachable(f"{login.shown} cannot be reached: {error or type(error).__name__}") from None


async def host_key_of(host: str, port: int = 22) -> str:
    """The host key a server answers with, for a person to compare before it is trusted. Raises Unreachable."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            key = await asyncssh.get_server_host_key(host, port, config=None)
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise Unreachable(f"{host} cannot be reached: {error or type(error).__name__}") from None
    if key is None:
        raise Unreachable(f"{host} shows no host key")
    return " ".join(key.export_public_key().decode().split()[:2])
