"""A copy of the database from before its schema changes, so that a migration one regrets is not the end.

Kept under DATA/backups, the newest five. It is the database alone: contents and keys do not change with a schema.
`deploy/operations.md` says how one is put back by hand.
"""

from __future__ import annotations

from pathlib import Path

from hub.artifacts.disk import full_disk_is_said
from hub.core import migrations
from hub.core.house import House
from hub.history.snapshot import copy_sqlite, dump_postgres, server_major

KEPT = 5


def keep_database(house: House) -> Path | None:
    """Copy the database if a migration is due; None when it is empty, current, or of a newer version."""
    have = migrations.current(house.db)
    if have is None or have == migrations.newest() or not migrations.is_known(have):
        return None
    folder = house.settings.data.absolute() / "backups"
    with full_disk_is_said():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ending = "sqlite3" if house.db.is_sqlite else "pgdump"
        path = folder / f"before-{have}-{house.clock.now():%Y%m%d-%H%M%S-%f}.{ending}"
        unfinished = folder / f".{path.name}.part"
        try:
            if house.db.is_sqlite:
                copy_sqlite(house.db.path, unfinished)
            else:
                with house.db.read() as conn:
                    major = server_major(conn)
                dump_postgres(house.db.url, major, unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    for old in sorted(folder.glob("before-*"), key=lambda kept: kept.name.split("-", 2)[2])[:-KEPT]:
        old.unlink()
    return path
