"""The composition root: settings -> the assembled hub; the only place implementations are chosen."""

from __future__ import annotations

import os
import socket
from importlib import import_module

from starlette.applications import Starlette

from hub.artifacts.blobs import BlobStore
from hub.artifacts.disk import DiskBlobs
from hub.core.bus import Bus, RedisBus
from hub.core.clock import Clock, SystemClock
from hub.core.database import Database
from hub.core.house import House
from hub.core.keys import secret_file
from hub.core.settings import Settings
from hub.ledger.keys import CheckpointKey

# Importing these registers actions, guards, names and steps; nothing else happens.
FEATURES = (
    "hub.perform",
    "hub.people.actions",
    "hub.sessions.actions",
    "hub.sessions.links",
    "hub.notebook.actions",
    "hub.rooms.actions",
)


def register_features() -> None:
    """Let every feature register what it handles, guards, resolves and runs."""
    for feature in FEATURES:
        import_module(feature)


def build(
    settings: Settings, *, clock: Clock | None = None, bus: Bus | None = None, db: Database | None = None
) -> House:
    """The hub that these settings describe; tests bring a clock, a bus or a database of their own."""
    register_features()
    data = settings.data.absolute()
    house = House(
        settings=settings,
        clock=clock or SystemClock(),
        db=db or Database(settings.database),
        bus=bus or RedisBus(settings.redis),
        kek=secret_file(data / "keys" / "kek"),
        secret=settings.secret.encode() or secret_file(data / "keys" / "secret"),
    )
    house.provide(CheckpointKey, CheckpointKey.load(data / "keys" / "ledger"))
    house.provide(BlobStore, DiskBlobs(data / "blobs", house.keys))  # type: ignore[type-abstract]
    return house


def web(settings: Settings) -> Starlette:
    """The ASGI application of the web process."""
    from hub.web.application import create

    return create(build(settings))


def holder() -> str:
    """A name for this process among those that hold leases."""
    return f"{socket.gethostname()}:{os.getpid()}"
