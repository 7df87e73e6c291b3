"""The schema that migrations make is the schema the code declares, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from hub import app
from hub.core import migrations
from hub.core.database import Database, metadata
from hub.core.errors import Conflict
from tests.databases import OpenDatabase

app.register_features()


@pytest.fixture
def empty(databases: OpenDatabase) -> Database:
    """A database without any table."""
    db = databases()
    metadata.drop_all(db.write_engine)
    return db


def test_migrations_make_exactly_the_declared_tables(empty: Database) -> None:
    assert migrations.current(empty) is None
    migrations.upgrade(empty)
    assert migrations.is_current(empty)
    migrations.upgrade(empty)
    with empty.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        differences = [d for d in compare_metadata(context, metadata) if "test_" not in str(d)]
    assert differences == []


def test_a_database_of_a_newer_version_is_refused(empty: Database) -> None:
    migrations.upgrade(empty)
    empty.write(lambda tx: tx.execute(sa.text("UPDATE alembic_version SET version_num = 'f00'")) and None)
    with pytest.raises(Conflict, match="does not know"):
        migrations.upgrade(empty)
    assert not migrations.is_current(empty)
