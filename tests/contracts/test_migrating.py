"""Migrating copies the database first, and one that fails leaves it as it was."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub import app
from hub.core import migrations
from hub.core.errors import Conflict
from hub.core.settings import Settings
from hub.history import before_migration

pytestmark = pytest.mark.slow

BROKEN = """
import sqlalchemy as sa
from alembic import op
revision = "f01"
down_revision = "{head}"
branch_labels = None
depends_on = None
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer))
    op.execute("UPDATE persons SET handle = 'gone'")
    {then}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A hub at the newest schema, with its owner."""
    settings = Settings(data=tmp_path / "data", owner="ana")
    app.prepare(settings).close()
    return settings


def with_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, then: str) -> None:
    """A version of Collegium with one revision more."""
    ours = Path(migrations.__file__).parent
    theirs = tmp_path / "migrations"
    shutil.copytree(ours, theirs, ignore=shutil.ignore_patterns("__pycache__"))
    (theirs / "versions" / "f01.py").write_text(BROKEN.format(head=migrations.newest(), then=then))
    monkeypatch.setattr(migrations, "__file__", str(theirs / "__init__.py"))


def handles(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return [row[0] for row in conn.execute("SELECT handle FROM persons")]


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as conn:
        return list(conn.iterdump())


def test_the_database_is_copied_before_its_schema_changes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(settings.data / "hub.sqlite3")
    with_revision(monkeypatch, tmp_path, "pass")
    app.prepare(settings).close()
    (copy,) = (settings.data / "backups").glob("before-*.sqlite3")
    assert dump(copy) == before and copy.stat().st_mode & 0o777 == 0o600
    assert handles(settings.data / "hub.sqlite3") == ["gone"]
    app.prepare(settings).close()
    assert len(list((settings.data / "backups").iterdir())) == 1, "nothing was due any more"


def test_a_failing_migration_leaves_the_database_as_it_was(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(settings.data / "hub.sqlite3")
    with_revision(monkeypatch, tmp_path, 'op.execute("SELECT nothing FROM nowhere")')
    with pytest.raises(sa.exc.OperationalError):
        app.prepare(settings)
    assert dump(settings.data / "hub.sqlite3") == before


def test_the_newest_five_copies_are_kept(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_revision(monkeypatch, tmp_path, "pass")
    house = app.build(settings)
    try:
        made = [before_migration.keep_database(house) for _ in range(7)]
    finally:
        house.close()
    kept = sorted((settings.data / "backups").iterdir())
    assert kept == sorted(each for each in made[2:] if each is not None)


def test_a_first_start_and_a_newer_schema_copy_nothing(settings: Settings) -> None:
    assert not (settings.data / "backups").exists()
    with contextlib.closing(sqlite3.connect(settings.data / "hub.sqlite3")) as conn:
        conn.execute("UPDATE alembic_version SET version_num = 'f99'")
        conn.commit()
    with pytest.raises(Conflict, match="does not know"):
        app.prepare(settings)
    assert not (settings.data / "backups").exists()
