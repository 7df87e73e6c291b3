"""`collegium agent --hub URL --cluster NAME`: an agent on a person's own machine, in the foreground.

It signs in to the cluster with what is there already: an ssh-agent, or a line the person has opened. It asks the hub
for work and is never asked by anybody. Nothing it has to sign in with ever leaves the machine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import asyncssh
import httpx
import msgspec

from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotSignedIn, Unavailable
from hub.jobs.anywhere import wire
from hub.jobs.anywhere.http_port import HttpPort, Refused, Unfit
from hub.jobs.anywhere.master import MasteredConnection
from hub.jobs.anywhere.wire import Place
from hub.jobs.backends.slurm import Site, SlurmBackend
from hub.jobs.cluster_agent import ClusterAgent
from hub.jobs.port import Away, Standing
from hub.jobs.shell import SshError
from hub.jobs.ssh import Connection, Held, HostKeyChanged, KeyRefused, Login

AGAIN_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)
LOOK_SECONDS = 0.5
# So long after its last job the line to the cluster is kept warm for the next.
WARM_SECONDS = 300.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Ended = Literal["stopped", "moved"]


class Way(msgspec.Struct, frozen=True):
    """How the person signs in: by an ssh-agent's socket (and which of its keys), or on a master's line."""

    agent_path: str = ""
    wanted: str = ""
    control_path: str = ""

    def connection(self, place: Place) -> Connection:
        """To the account's login node; an ssh-agent's way is pinned to the host keys that the hub knows."""
        jump = None
        if place.jump:
            hop = place.jump
            jump = Login(
                str(hop["host"]), str(hop.get("user") or place.login), tuple(hop["host_keys"]), int(hop["port"])
            )
        login = Login(place.host, place.login, place.host_keys, place.port, jump)
        if self.control_path:
            return MasteredConnection(login, self.control_path, path=place.path)
        return Connection(login, Held(self.agent_path, self.wanted), path=place.path)


def checked_url(url: str) -> str:
    """The hub's address. Raises InvalidInput for one over which the token would go in the clear."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(f"{url!r} is not the address of a hub", hint="it looks like https://hub.example.edu")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise InvalidInput("over http the token would go in the clear", hint="give the hub's https address")
    return url.rstrip("/")


def way_of(control_path: str, identity: Path | None) -> Way:
    """Raises InvalidInput when there is neither a line nor an ssh-agent."""
    if control_path:
        return Way(control_path=str(Path(control_path).expanduser()))
    agent_path = os.environ.get("SSH_AUTH_SOCK", "")
    if not agent_path:
        raise InvalidInput(
            "there is no ssh-agent: SSH_AUTH_SOCK is not set",
            hint="start one (`eval $(ssh-agent)`, then `ssh-add`), or give --control-path of a line you opened",
        )
    return Way(agent_path, "" if identity is None else _public_half(identity.expanduser()))


def _public_half(path: Path) -> str:
    """Raises InvalidInput for what is no public key, such as the other half."""
    try:
        line = path.read_text().strip()
        if "PRIVATE" in line:  # the library would read the public half out of it
            raise asyncssh.KeyImportError("it is the private half")
        asyncssh.import_public_key(line)
    except (OSError, UnicodeDecodeError, asyncssh.KeyImportError) as error:
        raise InvalidInput(
            f"{path} is not the public half of a key: {error}", hint="it is the file that ends in .pub"
        ) from None
    return line


class Agent:
    """One run of the command."""

    def __init__(
        self, url: str, token: str, cluster: str, way: Way, home: Path, say: Callable[[str], None] = print
    ) -> None:
        self._url, self._token, self._cluster, self._way = url, token, cluster, way
        self._home, self._say = home, say
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises HubError in words for the person."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._asked_to_stop)
        while not self._stop.is_set() and await self._serve() == "moved":
            self._say("The cluster was changed at the hub; signing in anew.")
        self._say("Stopped. What runs on the cluster goes on; the next agent takes it up.")

    def _asked_to_stop(self) -> None:
        if not self._stop.is_set():
            self._say("Stopping: what was begun is brought to its end first.")
        self._stop.set()

    async def _serve(self) -> Ended:
        port = HttpPort(self._url, self._token, self._home, say=self._say)
        try:
            place = await self._place(port)
            if place is None:
                return "stopped"
            backend = SlurmBackend(self._way.connection(place), place.account, root=place.root)
            if not await self._let_in(port, place, backend):
                return "stopped"
            return await self._work(port, place, backend)
        except Refused as refused:
            raise NotSignedIn(
                str(refused), code="agent_token_refused", hint=f"`collegium cluster token {self._cluster}` makes one"
            ) from None
        finally:
            port.close()

    async def _place(self, port: HttpPort) -> Place | None:
        """The account, as soon as the hub answers; None when told to stop before."""
        failed = 0
        while not self._stop.is_set():
            try:
                place = await asyncio.to_thread(port.account)
            except Refused:
                raise
            except Away:
                await self._rest(failed)
                failed += 1
                continue
            except Unfit as error:
                raise Unavailable(f"{self._url} does not answer as a hub does: {error}", code="no_hub") from None
            if place.cluster != self._cluster:
                raise Conflict(
                    f"this token is for {place.cluster}, not for {self._cluster}",
                    code="another_cluster",
                    hint=f"`collegium cluster token {self._cluster}` makes one",
                )
            self._say(f"{self._url}: {place.person}'s account {place.login} on {place.cluster} ({place.host}).")
            return msgspec.structs.replace(place, account=Path(place.account).name)
        return None

    async def _let_in(self, port: HttpPort, place: Place, backend: SlurmBackend) -> bool:
        """Sign in and tell the hub how it went, until it does; False when told to stop before. Raises HubError."""
        failed = 0
        told = ""
        while not self._stop.is_set():
            fault: Exception | None = None
            try:
                site = await _looked_at(backend)
            except (SshError, OSError) as error:
                fault, said = error, str(error)
            else:
                said = f"{place.cluster} has no {', '.join(site.missing)} on your path there" if site.missing else ""
                if not said:
                    await self._tell(port, Standing(reached=True, version=site.version))
                    self._say(f"Signed in to {place.host}: Slurm {site.version}, jobs below {site.root}.")
                    return True
            if said != told:
                told = said
                self._say(said)
                await self._tell(port, Standing(reached=False, said=said[:500]))
            if isinstance(fault, KeyRefused | HostKeyChanged):
                await backend.connection.close()
                raise NotAllowed(said, code="not_let_in")
            await self._rest(failed)
            failed += 1
        await backend.connection.close()
        return False

    async def _tell(self, port: HttpPort, standing: Standing) -> None:
        failed = 0
        while not self._stop.is_set():
            try:
                await asyncio.to_thread(port.ready, standing)
                return
            except Refused:
                raise
            except Away:
                await self._rest(failed)
                failed += 1

    async def _work(self, port: HttpPort, place: Place, backend: SlurmBackend) -> Ended:
        agent = ClusterAgent(port, backend, port.name, place.cluster)
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def woken() -> None:
            loop.call_soon_threadsafe(agent.wake)

        port.woken = woken
        port.start()
        working = asyncio.create_task(agent.run(over), name="agent")
        known, busy_at, has_line = wire.place_mark(place), time.monotonic(), True
        try:
            while not (self._stop.is_set() or working.done()):
                if port.refused is not None:
                    raise port.refused
                if port.place_mark and port.place_mark != known:
                    return "moved"
                if port.is_busy:
                    busy_at = time.monotonic()
                elif time.monotonic() - busy_at > WARM_SECONDS:
                    await backend.connection.close()
                    busy_at = time.monotonic()
                if self._way.control_path:
                    had_line, has_line = has_line, Path(self._way.control_path).exists()
                    if has_line and not had_line:
                        agent.retry()
                await self._rest_for(LOOK_SECONDS)
            return "stopped"
        finally:
            over.set()
            await working

    async def _rest(self, failed: int) -> None:
        await self._rest_for(AGAIN_SECONDS[min(failed, len(AGAIN_SECONDS) - 1)])

    async def _rest_for(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._stop.wait())
        await asyncio.wait({waiting}, timeout=seconds)
        waiting.cancel()


async def _looked_at(backend: SlurmBackend) -> Site:
    site = await backend.site()
    if not site.missing:
        await backend.queue()
    return site


def say(line: str) -> None:
    """One line for a person, or for a journal."""
    print(line, flush=True)  # noqa: T201  (this is what the command is for)


def serve(url: str, token: str, cluster: str, way: Way, home: Path) -> None:
    """Run until told to stop. Raises HubError in words for the person."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        asyncio.run(Agent(checked_url(url), token, cluster, way, home, say).run())
    except httpx.InvalidURL as error:
        raise InvalidInput(f"{url!r} is not the address of a hub: {error}") from None
