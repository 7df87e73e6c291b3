"""The few fixtures that carry most tests: a clock that can be set, a hub on SQLite, people in it."""

from __future__ import annotations

import datetime as dt
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import argon2
import hypothesis
import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.database import SQLITE_PRAGMAS, Database, metadata
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import accounts, passwords
from hub.perform import Answer
from hub.perform import perform as perform_action
from tests.databases import databases, postgres_url  # noqa: F401 - fixtures

# How long an example takes says how busy the machine is, and decides nothing.
EXAMPLES = hypothesis.settings
EXAMPLES.register_profile(
    "house",
    EXAMPLES.get_profile(EXAMPLES.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
EXAMPLES.load_profile("house")


def pytest_collection_finish() -> None:
    gc.freeze()  # modules and tests stay to the end: to look through them again and again took a twelfth of a run


def pytest_unconfigure() -> None:
    gc.freeze()  # as `hub.cli.main` does, and for the same reason


NOW = dt.datetime(2024, 6, 1, 12, 0, tzinfo=dt.UTC)

Perform = Callable[..., Any]


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Every hub of a test run has an engine of its own; a statement is compiled for the first of them only."""
    create, cache = sa.create_engine, {}
    first = create("sqlite://")
    with first.connect():
        pass  # a dialect learns its database's version at its first connection

    def create_engine(url: sa.URL | str, **options: Any) -> sa.Engine:
        engine = create(url, **options)
        if sa.make_url(url).get_backend_name() != "sqlite":
            return engine
        engine.dialect = engine.pool._dialect = first.dialect
        return engine.execution_options(compiled_cache=cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sa, "create_engine", create_engine)
        yield


@pytest.fixture(scope="session", autouse=True)
def disk_not_waited_for() -> Iterator[None]:
    """No test takes the power away: what the kernel was given survives every `kill -9`, so nobody waits for the disk.

    Processes that a test starts are as they are for everybody.
    """
    pragmas = tuple("synchronous=OFF" if each == "synchronous=FULL" else each for each in SQLITE_PRAGMAS)
    assert pragmas != SQLITE_PRAGMAS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        patch.setattr("hub.core.database.SQLITE_PRAGMAS", pragmas)
        yield


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied: making them takes longer than most tests."""
    app.register_features()
    path = tmp_path_factory.mktemp("empty") / "hub.sqlite3"
    db = Database(f"sqlite:///{path}")
    metadata.create_all(db.write_engine)
    db.close()
    return path


@pytest.fixture
def house(tmp_path: Path, clock: FrozenClock, bus: MemoryBus, empty_database: Path) -> Iterator[House]:
    """A hub on SQLite in a folder of its own, with a memory bus and a clock that stands still."""
    settings = Settings(data=tmp_path / "data", port=8400, public_url="http://hub.test")
    settings.data.mkdir()
    shutil.copyfile(empty_database, settings.data / "hub.sqlite3")
    house = app.build(settings, clock=clock, bus=bus)
    yield house
    house.close()


def make_person(house: House, handle: str, *, hub_role: Any = "member", email: str | None = None) -> Actor:
    """A person as an actor."""

    def work(tx: Any) -> str:
        return accounts.make(
            tx, handle=handle, name=handle.title(), hub_role=hub_role, now=house.clock.now(), email=email
        )

    person = house.db.write(work)
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, person)
    assert actor is not None
    return actor


def settle(house: House) -> None:
    """Wait until what was asked for after a commit is done: that happens in order, but beside the answer."""
    done = threading.Event()
    house.db.write(lambda tx: tx.after_commit(done.set))
    assert done.wait(10)


@pytest.fixture
def ana(house: House) -> Actor:
    return make_person(house, "ana", email="ana@university.edu")


@pytest.fixture
def ben(house: House) -> Actor:
    return make_person(house, "ben", email="ben@university.edu")


@pytest.fixture
def operator(house: House) -> Actor:
    return make_person(house, "olga", hub_role="operator")


@pytest.fixture
def perform(house: House) -> Perform:
    """`perform(actor, "job_submit", script=...)` -> the result of the action."""

    def do(actor: Actor, action: str, *, key: str | None = None, tool: str | None = None, **params: Any) -> Any:
        envelope = {"tool": tool or "distributed_collaboration", "params": {"action": action, **params}}
        answer: Answer = perform_action(house, envelope, actor, key)
        return answer.result

    return do


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords hashed at no cost: for tests whose subject is not what a hash costs."""
    monkeypatch.setattr(passwords, "HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    """A bare SQLite database with all tables."""
    shutil.copyfile(empty_database, tmp_path / "test.sqlite3")
    db = Database(f"sqlite:///{tmp_path / 'test.sqlite3'}")
    yield db
    db.close()
