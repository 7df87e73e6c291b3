"""A hub on PostgreSQL: dumped of one moment, restored into an empty database, the ledger's root the same."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.database import metadata
from hub.core.errors import Conflict, InvalidInput, Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.history import backup, restore, sealed, snapshot
from hub.ledger import sequencer
from hub.perform import perform
from tests.actions.notebook_fixtures import PLAIN, put_file
from tests.conftest import NOW, make_person

KEY = sealed.new_recovery_key()
pytestmark = pytest.mark.postgres


def fresh(server: str) -> str:
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    return server.rsplit("/", 1)[0] + f"/{name}"


@pytest.fixture
def house(postgres_url: str, tmp_path: Path) -> Iterator[House]:
    settings = Settings(data=tmp_path / "data", database_url=fresh(postgres_url), public_url="http://hub.test")
    house = app.build(settings, clock=FrozenClock(NOW), bus=MemoryBus())
    metadata.create_all(house.db.write_engine)
    ana = make_person(house, "ana")
    put_file(house, ana, "levels.csv", b"n,E\n")
    perform(house, {"tool": "distributed_collaboration", "params": {"action": "lab_notebook", "entry": PLAIN}}, ana)
    while sequencer.pass_once(house.db, "test", house.clock.now()):
        pass
    yield house
    house.close()


def test_a_hub_on_postgresql_is_backed_up_and_restored(house: House, postgres_url: str, tmp_path: Path) -> None:
    made = backup.write(house, tmp_path / "safe", recovery_key=KEY)
    empty = fresh(postgres_url)
    with pytest.raises(InvalidInput, match="name an empty database"):
        restore.restore(Path(made.path), KEY, tmp_path / "restored")
    found = restore.restore(Path(made.path), KEY, tmp_path / "restored", database_url=empty)
    assert (found.ledger_root, found.contents) == (made.ledger_root, 1)
    with pytest.raises(Conflict, match=r"holds \d+ tables"):
        restore.restore(Path(made.path), KEY, tmp_path / "again", database_url=empty)
    assert not (tmp_path / "again").exists()
    assert not list((tmp_path / "restored").glob("*dump*"))


def test_what_does_not_prove_right_leaves_the_database_empty(
    house: House, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backup.write(house, tmp_path / "safe", recovery_key=KEY)
    empty = fresh(postgres_url)
    monkeypatch.setattr(restore, "row_counts", lambda conn: {})
    with pytest.raises(InvalidInput, match="other numbers of rows"):
        restore.restore(Path(made.path), KEY, tmp_path / "restored", database_url=empty)
    with psycopg.connect(empty) as conn:
        tables = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_a_dump_by_a_program_older_than_the_server_is_refused(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "server_major", lambda conn: 99)
    with pytest.raises(Unavailable, match="no pg_dump of that version") as told:
        backup.write(house, tmp_path / "safe", recovery_key=KEY)
    assert "postgresql-client-99" in told.value.hint
    assert not list((tmp_path / "safe").iterdir())


def test_the_password_is_not_among_the_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/args; echo "$PGPASSWORD" > {tmp_path}/env\n')
    program.chmod(0o700)
    monkeypatch.setattr(snapshot, "_program", lambda name, major: str(program))
    snapshot.dump_postgres(sa.make_url("postgresql+psycopg://u:geheim@h/d"), 15, tmp_path / "dump")
    assert "geheim" not in (tmp_path / "args").read_text() and "geheim" in (tmp_path / "env").read_text()
