"""What artifacts promise when several act at once, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub import app
from hub.artifacts import leases, uploads, versions, views
from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import blobs, previews
from hub.artifacts.tables import versions as table
from hub.core import limits
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor, Context
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.core.settings import Settings
from hub.perform import perform, record
from tests.actions.artifact_fixtures import upload
from tests.conftest import NOW, make_person
from tests.databases import OpenDatabase

RACERS = 8


@pytest.fixture
def both(databases: OpenDatabase, tmp_path: Path) -> Iterator[House]:
    """A hub on each of the two databases."""
    settings = Settings(data=tmp_path / "data", public_url="http://hub.test")
    yield app.build(settings, clock=FrozenClock(NOW), bus=MemoryBus(), db=databases())


@pytest.fixture
def owner(both: House) -> Actor:
    return make_person(both, "ana")


@pytest.fixture
def session(both: House, owner: Actor) -> str:
    return str(perform(both, {"action": "session_create", "name": "hcl"}, owner).result["session"])


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Runs all of them from one starting shot; an exception stands for its result."""
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return work()
        except InvalidInput as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


def test_who_add_to_one_path_at_once_get_numbers_without_gap_or_double(both: House, owner: Actor, session: str) -> None:
    digest = upload(both, owner, session, b"content")[7:]

    def add() -> int:
        return record(both, "test", lambda ctx: versions.add(ctx, session, "a.txt", digest)).number

    assert sorted(at_once(*[add] * RACERS)) == list(range(1, RACERS + 1))
    with both.scope(owner) as scope:
        newest = versions.newest(scope, session, "a.txt")
        page = views.session_files(scope, session)
    assert newest is not None and newest.number == RACERS
    assert [(row.path, row.number) for row in page.artifacts] == [("a.txt", RACERS)]


@pytest.mark.parametrize("attempt", range(4))
def test_naming_races_lapsing_and_never_leaves_a_version_without_its_bytes(
    both: House, owner: Actor, session: str, attempt: int
) -> None:
    store = both.port(BlobStore)  # type: ignore[type-abstract]
    digest = upload(both, owner, session, b"raced")[7:]
    assert isinstance(both.clock, FrozenClock)
    both.clock.advance(limits.UPLOAD_LEASE_SECONDS + 1)

    def name(ctx: Context) -> str:
        return versions.add(ctx, session, "a.txt", digest).version

    at_once(lambda: record(both, "test", name), lambda: uploads.lapse(both, session))
    with both.db.read() as conn:
        named = conn.execute(sa.select(table.c.id)).first() is not None
        kept = conn.execute(sa.select(blobs.c.digest)).first() is not None
    assert named == kept == store.has(digest, session)


def test_the_same_content_may_be_kept_by_many_at_once(both: House, owner: Actor, session: str) -> None:
    kept = at_once(*[lambda: leases.keep(both, session, [b"same"], owner=owner.id)] * RACERS)
    assert len({blob.digest for blob in kept}) == 1
    with both.db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(blobs)).scalar() == 1


def test_previews_are_looked_up_for_many_files_in_one_question(both: House, owner: Actor, session: str) -> None:
    digests = [upload(both, owner, session, name.encode())[7:] for name in ("a", "b", "c")]
    for name, digest in zip(("a.txt", "b.txt", "c.txt"), digests, strict=True):
        record(both, "test", lambda ctx, n=name, d=digest: versions.add(ctx, session, n, d))  # type: ignore[misc]

    def refuse(tx: Any) -> None:
        row = {"domain": session, "digest": digests[1], "renderer": "1", "variant": "no-text"}
        tx.execute(sa.insert(previews).values(**row, note="too odd", at=NOW + dt.timedelta(seconds=1)))

    both.db.write(refuse)
    with both.scope(owner) as scope:
        seen = {row.path: row.preview.state for row in views.session_files(scope, session).artifacts}
    assert seen == {"a.txt": "pending", "b.txt": "refused", "c.txt": "pending"}
