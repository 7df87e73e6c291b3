"""The composition root: settings -> the assembled hub; the only place implementations are chosen."""

from __future__ import annotations

import gc
import os
import socket
from importlib import import_module
from pathlib import Path

import structlog

from hub.artifacts.blobs import BlobStore
from hub.artifacts.disk import DiskBlobs
from hub.core import logs, migrations
from hub.core.bus import Bus, RedisBus
from hub.core.clock import Clock, SystemClock
from hub.core.database import Database
from hub.core.house import House
from hub.core.keys import secret_file
from hub.core.settings import Settings
from hub.history import before_migration
from hub.jobs import agent, starting
from hub.jobs.house_port import HousePort
from hub.ledger.keys import CheckpointKey
from hub.orchestrator import plugins
from hub.people import embedded
from hub.rooms.drafts.shelf import Shelf
from hub.setup import following, stored

# Importing these registers actions, guards, names and steps; nothing else happens.
FEATURES = (
    "hub.perform",
    "hub.people.actions",
    "hub.people.chat_identities",
    "hub.people.mail",
    "hub.people.verified_email",
    "hub.people.device_codes",
    "hub.sessions.actions",
    "hub.sessions.invitations",
    "hub.sessions.links",
    "hub.sessions.changing",
    "hub.artifacts.actions",
    "hub.artifacts.names",
    "hub.artifacts.uploads",
    "hub.artifacts.previews",
    "hub.jobs.actions",
    "hub.jobs.attaching",
    "hub.jobs.steering",
    "hub.jobs.resuming",
    "hub.jobs.starting",
    "hub.jobs.collection",
    "hub.jobs.clusters.actions",
    "hub.jobs.clusters.account_actions",
    "hub.jobs.clusters.certifying",
    "hub.jobs.clusters.examining",
    "hub.jobs.clusters.kubernetes_actions",
    "hub.jobs.quota_actions",
    "hub.notebook.actions",
    "hub.exports.actions",
    "hub.orchestrator.actions",
    "hub.rooms.actions",
    "hub.rooms.changing",
    "hub.rooms.reporting",
    "hub.rooms.doors.actions",
    "hub.rooms.drafts.actions",
    "hub.rooms.hands.actions",
    "hub.rooms.polls.actions",
    "hub.rooms.standings.actions",
    "hub.setup.actions",
    "hub.chats.actions",
)


def register_features() -> None:
    """Let every feature register what it handles, guards, resolves and runs; then plug in the tools of experiments."""
    for feature in FEATURES:
        import_module(feature)
    plugins.discover()


def build(
    settings: Settings, *, clock: Clock | None = None, bus: Bus | None = None, db: Database | None = None
) -> House:
    """The hub that these settings describe; tests bring a clock, a bus or a database of their own."""
    register_features()
    logs.configure(settings)
    for tool, reason in plugins.FAILED.items():
        structlog.get_logger().warning("tool.not_loaded", tool=tool, reason=reason)
    data = settings.data.absolute()
    house = House(
        settings=settings,
        clock=clock or SystemClock(),
        db=db or Database(settings.database),
        bus=bus or RedisBus(settings.redis),
        kek=secret_file(data / "keys" / "kek"),
        secret=settings.secret.encode() or secret_file(data / "keys" / "secret"),
    )
    house.settings = stored.overlaid(house)
    house.provide(CheckpointKey, CheckpointKey.load(data / "keys" / "ledger"))
    house.provide(BlobStore, DiskBlobs(data / "blobs", house.keys))  # type: ignore[type-abstract]
    house.provide(Shelf, Shelf())
    return house


def prepare(settings: Settings) -> House:
    """Bring the schema up to date and make what an embedded hub starts with: its owner, its service, their tokens."""
    house = build(settings)
    before_migration.keep_database(house)
    migrations.upgrade(house.db)
    house.db.write(lambda tx: embedded.make_first_people(tx, house))
    embedded.write_tokens(house)
    return house


def serve_web(settings: Settings, *, uds: Path | None = None, host: str | None = None, port: int | None = None) -> None:
    """Run one web process until SIGTERM, on a Unix socket or on an address."""
    import uvicorn

    from hub.core.connection import Droppable
    from hub.web.application import create

    house = build(settings)
    following.follow(house)
    web = create(house)
    gc.freeze()  # what is there by now stays; looking through it again and again would stop every request
    uvicorn.run(
        web,
        uds=None if uds is None else str(uds),
        host=host or settings.host,
        port=port or settings.port,
        loop="uvloop",
        http=Droppable,
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
        forwarded_allow_ips="*" if uds is not None else settings.trusted_proxies,
    )


def serve_agent(settings: Settings) -> None:
    """Run the agent of this machine's jobs, and those of accounts on clusters, until SIGTERM."""
    from hub.jobs.clusters.serving import Accounts

    house = build(settings)
    name = f"{socket.gethostname()}:{os.getpid()}"
    agent.serve(HousePort(house), starting.local(settings), name, Accounts(house, name).run)
    house.close()
