"""`collegium up`: which processes an embedded hub consists of, and what they wait for.

Everything listens on loopback or on a Unix socket under DATA: Valkey, web, workers and the local agent on sockets or
not at all, and live on the one port, from where it hands to web what is not a socket of a room.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from hub import app
from hub.core.errors import Conflict, HubError
from hub.core.launcher import Child, Launcher, LaunchFailed
from hub.core.readiness import http_ready
from hub.core.settings import Settings
from hub.core.valkey import valkey

HUB_FILE = "hub.json"


class Running(msgspec.Struct, frozen=True):
    """What the shell client needs to find an embedded hub: kept in DATA/hub.json while it runs."""

    url: str
    pid: int


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
        app.prepare(settings).close()
        launcher = Launcher(children(settings), settings.data.absolute() / "logs" / "processes", console=console)
        hub_file = settings.data / HUB_FILE
        hub_file.unlink(missing_ok=True)  # of a hub that was killed

        async def ready() -> None:
            hub_file.write_bytes(msgspec.json.encode(Running(settings.origin, os.getpid())))
            if when_ready is not None:
                await when_ready(settings)

        try:
            asyncio.run(launcher.run(ready))
        except LaunchFailed as error:
            raise HubError(str(error), code="launch_failed") from None
        finally:
            hub_file.unlink(missing_ok=True)
    return 0


def children(settings: Settings) -> list[Child]:
    """The processes in the order they are started; each child of ours finds its settings in the environment."""
    environment = _environment(settings)
    found = []
    if not settings.redis_url:
        found.append(valkey(settings.data.absolute() / "valkey", settings.valkey_socket))
    for number in range(settings.web_processes):
        uds = settings.web_socket
        assert number == 0, "an embedded hub has one web process"
        found.append(_ours("web", environment, "web", "--uds", str(uds)))
    for number in range(1, settings.workers + 1):
        found.append(_ours(f"work-{number}", environment, "work"))
    found.append(_ours("agent", environment, "agent"))
    live = _ours("live", environment, "live")
    ready = http_ready(settings.port, host=settings.host)
    found.append(Child(live.name, live.argv, environment=environment, ready=ready, ready_seconds=60))
    return found


def _ours(name: str, environment: dict[str, str], *arguments: str) -> Child:
    return Child(name, (sys.executable, "-m", "hub.cli", *arguments), environment=environment)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "COLLEGIUM_DATA": str(settings.data.absolute()),
        "COLLEGIUM_HOST": settings.host,
        "COLLEGIUM_PORT": str(settings.port),
        "COLLEGIUM_PUBLIC_URL": settings.public_url,
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
