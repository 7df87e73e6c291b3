"""`collegium up`: which processes an embedded hub consists of, and what they wait for.

Everything listens on loopback or on a Unix socket under DATA: Valkey, web, workers and the local agent on sockets or
not at all, and live on the one port, from where it hands to web what is not a socket of a room.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

import msgspec
import sqlalchemy as sa
import structlog

from hub import app
from hub.chats.tables import chat_installations
from hub.core import relaunch
from hub.core.errors import Conflict, HubError
from hub.core.house import House
from hub.core.launcher import Child, Launcher, LaunchFailed
from hub.core.readiness import http_ready, https_ready
from hub.core.settings import Settings
from hub.core.valkey import valkey

LOOK_SECONDS = 1.0
log = structlog.get_logger()


class Facts(msgspec.Struct, frozen=True):
    """What the database says about which processes there are to be."""

    settings: Settings  # with what set-up stored
    chats: bool  # whether a chat workspace is connected


def up(
    settings: Settings,
    *,
    when_ready: Callable[[Settings], Awaitable[None]] | None = None,
    console: TextIO | None = None,
) -> int:
    """Run the embedded hub until a signal; returns the exit code. Raises Conflict when DATA is in use."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_one(settings.data):
        settings = _with_port(settings)
        settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings.web_socket.unlink(missing_ok=True)
        facts = _facts(settings, app.prepare(settings))
        launcher = Launcher(children(settings, facts), settings.data.absolute() / "logs" / "processes", console=console)
        hub_file = settings.data / relaunch.HUB_FILE
        hub_file.unlink(missing_ok=True)  # of a hub that was killed

        async def ready() -> None:
            _write(hub_file, facts)
            also = [] if when_ready is None else [when_ready(facts.settings)]
            await asyncio.gather(_follow(settings, launcher, hub_file), *also)

        try:
            asyncio.run(launcher.run(ready))
        except LaunchFailed as error:
            raise HubError(str(error), code="launch_failed") from None
        finally:
            hub_file.unlink(missing_ok=True)
    return 0


async def _follow(settings: Settings, launcher: Launcher, hub_file: Path) -> None:
    """Whenever a process of the house asks for it, look at what the house consists of, and become that."""
    seen = relaunch.asked(settings)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if (asked := relaunch.asked(settings)) == seen:
            continue
        try:
            facts = await asyncio.to_thread(lambda: _facts(settings, app.build(settings)))
        except HubError as error:  # A database that is away for a moment is asked again.
            log.warning("up.not_looked", error=str(error))
            continue
        seen = asked
        touched = await launcher.become(children(settings, facts))
        _write(hub_file, facts)
        log.info("up.became", children=touched)


def _facts(settings: Settings, house: House) -> Facts:
    try:
        with house.db.read() as conn:
            chats = conn.execute(sa.select(chat_installations.c.platform).limit(1)).first() is not None
        return Facts(house.settings, chats)
    finally:
        house.close()


def _write(hub_file: Path, facts: Facts) -> None:
    hub_file.write_bytes(msgspec.json.encode(relaunch.Running(facts.settings.origin, os.getpid())))


def children(settings: Settings, facts: Facts) -> list[Child]:
    """The processes in the order they are started; each child of ours finds its settings in the environment.

    Live has no database, so it is given what set-up stored as well; the others read it themselves, and are started
    again when the address or its certificate changed (`edition`).
    """
    environment, now = _environment(settings), facts.settings
    edition = " ".join((now.public_url, now.tls_certificate, now.tls_key))
    found = []
    if not settings.redis_url:
        found.append(valkey(settings.data.absolute() / "valkey", settings.valkey_socket))
    for number in range(settings.web_processes):
        uds = settings.web_socket
        assert number == 0, "an embedded hub has one web process"
        found.append(_ours("web", environment, "web", "--uds", str(uds), edition=edition))
    for number in range(1, settings.workers + 1):
        found.append(_ours(f"work-{number}", environment, "work", edition=edition))
    found.append(_ours("agent", environment, "agent"))
    # It serves the rooms too: what is written there after `/` is a command.
    if _bot_is_installed(wanted=facts.chats):
        bot = _ours("bot", environment, "bot", "--uds", str(settings.web_socket), edition=edition)
        found.append(dataclasses.replace(bot, is_needed=False))  # A chat that is broken must not close the hub.
    live = _ours("live", _environment(now), "live", edition=edition)
    ready = (https_ready if now.tls_certificate else http_ready)(settings.port, host=settings.host)
    found.append(dataclasses.replace(live, ready=ready, ready_seconds=60))
    return found


def _bot_is_installed(*, wanted: bool) -> bool:
    """A hub goes on without its bot where the extra was not installed; said where a workspace waits for it."""
    if find_spec("slack_sdk") is not None:
        return True
    if wanted:
        log.warning("up.bot_not_installed", hint="pip install 'collegium[slack]'")
    return False


def _ours(name: str, environment: dict[str, str], *arguments: str, edition: str = "") -> Child:
    return Child(name, (sys.executable, "-m", "hub.cli", *arguments), environment=environment, edition=edition)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "COLLEGIUM_DATA": str(settings.data.absolute()),
        "COLLEGIUM_HOST": settings.host,
        "COLLEGIUM_PORT": str(settings.port),
        "COLLEGIUM_PUBLIC_URL": settings.public_url,
        "COLLEGIUM_TLS_CERTIFICATE": settings.tls_certificate,
        "COLLEGIUM_TLS_KEY": settings.tls_key,
    }


def _with_port(settings: Settings) -> Settings:
    """The settings with a port that is free; 0 asks for any. Raises Conflict when the one named is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise Conflict(
                f"port {settings.port} on {settings.host} cannot be used: {error.strerror}",
                code="port_taken",
                hint="name another one with --port; 0 takes any that is free",
            ) from None
        return msgspec.structs.replace(settings, port=probe.getsockname()[1])


@contextlib.contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Two hubs on one data folder would fight over its sockets. Raises Conflict for the second."""
    with (data / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"a hub is already running on {data}", code="already_up", hint="stop it first, or name another --data"
            ) from None
        yield
