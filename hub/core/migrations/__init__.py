"""The schema's history, by Alembic: one folder of revisions for SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from hub.core.database import Database
from hub.core.errors import Conflict


def _config(connection: Any = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def newest() -> str | None:
    """The revision this code expects."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def current(db: Database) -> str | None:
    """The revision the database is at; None when it is empty."""
    with db.read() as conn:
        return MigrationContext.configure(conn).get_current_revision()


def is_current(db: Database) -> bool:
    """Whether the database answers and has exactly the schema this code expects."""
    return current(db) == newest()


def is_known(revision: str) -> bool:
    """Whether this code has heard of a revision; a newer version's it has not."""
    return revision in {one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions()}


def upgrade(db: Database) -> None:
    """Bring the schema to the newest revision, or leave the database as it was.

    Raises Conflict when the database is newer than this code.
    """
    have = current(db)
    if have is not None and not is_known(have):
        raise Conflict(
            f"the database is at revision {have}, which this version of Collegium does not know",
            code="schema_newer",
            hint="it was written by a newer version; run that one, or restore a backup",
        )
    if have == newest():
        return
    with db.write_engine.begin() as conn:
        command.upgrade(_config(conn), "head")
