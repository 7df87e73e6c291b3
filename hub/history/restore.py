"""A hub from its backup: into an empty place only, and it says what was verified before it calls itself restored.

All is unpacked and checked in a folder of its own within the target; only what was proved there moves to its place.
When something does not hold, that folder goes and the target is as empty as before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import sqlalchemy as sa

from hub.artifacts.disk import DiskBlobs, full_disk_is_said
from hub.artifacts.tables import blobs
from hub.core import migrations
from hub.core.clock import SystemClock
from hub.core.database import Database
from hub.core.errors import Conflict, HubError, InvalidInput
from hub.core.keys import KeyRing
from hub.history.archive import DATABASES, Manifest, Report, unpacked
from hub.history.backup import opened
from hub.history.snapshot import read_sqlite, restore_postgres, row_counts, server_major
from hub.ledger.keys import CheckpointKey
from hub.ledger.verification import verify as verify_ledger

STAGING = ".restoring"


class RestoreView(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored, and that it was proved."""

    data: str
    taken_at: str
    schema: str
    is_newest_schema: bool
    rows: int
    tables: int
    ledger_lines: int
    ledger_root: str
    contents: int
    missing: tuple[str, ...] = ()


def restore(
    path: Path, secret: str, data: Path, *, database_url: str = "", report: Report = lambda done: None
) -> RestoreView:
    """Bring the hub in `path` back into the empty folder `data`, and its PostgreSQL into the empty database named."""
    data = data.absolute()
    was_there = _refuse_full(data)
    staging = data / STAGING
    try:
        with full_disk_is_said():
            staging.mkdir(parents=True, mode=0o700)
            with opened(path, secret) as opener:
                _refuse_newer(opener.header.schema)
                manifest = unpacked(opener, lambda name, pieces: _keep(staging, name, pieces), report)
            contents = _prove(staging, manifest, database_url)
            _move_into_place(staging, data)
    except BaseException:
        # The folder held nothing before, so whatever is in it now is ours.
        for left in data.iterdir() if data.exists() else ():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if not was_there and data.exists():
            data.rmdir()
        raise
    return RestoreView(
        data=str(data),
        taken_at=manifest.taken_at,
        schema=manifest.schema,
        is_newest_schema=manifest.schema == migrations.newest(),
        rows=sum(manifest.rows.values()),
        tables=len(manifest.rows),
        ledger_lines=manifest.ledger_lines,
        ledger_root=manifest.ledger_root,
        contents=contents,
        missing=manifest.missing,
    )


def _refuse_full(data: Path) -> bool:
    """Whether the folder is there, empty. Raises Conflict when something is in it."""
    if data.is_dir() and {path.name for path in data.iterdir()} <= {STAGING}:
        # What a restore that was killed had unpacked; nothing of it was in its place yet.
        shutil.rmtree(data / STAGING, ignore_errors=True)
        return True
    if data.exists():
        raise Conflict(
            f"{data} is not empty; nothing was restored",
            code="not_empty",
            hint="name a new folder with --data; a hub is never restored over another",
        )
    return False


def _refuse_newer(schema: str) -> None:
    if schema and not migrations.is_known(schema):
        raise Conflict(
            f"this backup is of schema {schema}, which this version of Collegium does not know; nothing was restored",
            code="schema_newer",
            hint="restore it with the version that wrote it, or a newer one",
        )


def _keep(staging: Path, name: str, pieces: Iterator[bytes]) -> None:
    path = staging / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _prove(staging: Path, manifest: Manifest, database_url: str) -> int:
    """Put the database where it can be read and check all of it; returns how many contents were read."""
    if (staging / "hub.sqlite3").exists():
        if database_url:
            raise InvalidInput(
                "this backup holds SQLite, which lives in the data folder; a database was named all the same",
                code="other_database",
                hint="leave COLLEGIUM_DATABASE_URL and --database-url empty",
            )
        with read_sqlite(staging / "hub.sqlite3") as conn:
            _check_database(conn, staging, manifest)
            return _check_contents(Database(f"sqlite:///{staging / 'hub.sqlite3'}"), staging, manifest)
    if not database_url:
        raise InvalidInput(
            "this backup holds PostgreSQL; name an empty database for it",
            code="other_database",
            hint="createdb collegium, then --database-url postgresql://USER@HOST/collegium",
        )
    return _into_postgres(staging, manifest, database_url)


def _into_postgres(staging: Path, manifest: Manifest, database_url: str) -> int:
    db = Database(database_url)
    filled = False
    try:
        with db.read() as conn:
            if tables := sa.inspect(conn).get_table_names():
                raise Conflict(
                    f"the database {db.url.database} holds {len(tables)} tables; nothing was restored",
                    code="not_empty",
                    hint="name an empty one",
                )
            major = server_major(conn)
        restore_postgres(db.url, major, staging / "hub.pgdump")
        filled = True
        with db.read() as conn:
            _check_database(conn, staging, manifest)
        found = _check_contents(db, staging, manifest, closing=False)
        (staging / "hub.pgdump").unlink()
        filled = False
        return found
    finally:
        if filled:
            _empty_again(db)
        db.close()


def _empty_again(db: Database) -> None:
    """Take out of a database that was empty what did not prove right."""
    with db.write_engine.begin() as conn:
        restored = sa.MetaData()
        restored.reflect(conn)
        restored.drop_all(conn)


def _check_database(conn: sa.Connection, staging: Path, manifest: Manifest) -> None:
    rows = row_counts(conn)
    if rows != manifest.rows:
        wrong = sorted(name for name in {*rows, *manifest.rows} if rows.get(name) != manifest.rows.get(name))
        raise _unproved(f"these tables have other numbers of rows: {', '.join(wrong[:10])}")
    key = CheckpointKey.load(staging / "keys" / "ledger")
    found = verify_ledger(conn, key.origin, key.public)
    if (found.lines, found.root) != (manifest.ledger_lines, manifest.ledger_root):
        raise _unproved("the ledger has another root than when the backup was taken")
    if found.holds != manifest.ledger_holds:
        raise _unproved(f"the ledger does not hold: {found.fault}")


def _check_contents(db: Database, staging: Path, manifest: Manifest, *, closing: bool = True) -> int:
    """Decrypt and hash every content under the restored keys."""
    absent = {*manifest.lapsed, *manifest.missing}
    with contextlib.ExitStack() as stack:
        if closing:
            stack.callback(db.close)
        store = DiskBlobs(staging / "blobs", KeyRing(db, (staging / "keys" / "kek").read_bytes(), SystemClock()))
        with db.read() as conn:
            rows = conn.execute(sa.select(blobs.c.domain, blobs.c.digest)).all()
        checked = 0
        for row in rows:
            if f"{row.domain}/{row.digest}" in absent:
                continue
            hashed = hashlib.sha256()
            for piece in store.open(row.digest, row.domain):
                hashed.update(piece)
            if hashed.hexdigest() != row.digest:
                raise _unproved(f"a content is not what its digest says: {row.digest}")
            checked += 1
        return checked


def _move_into_place(staging: Path, data: Path) -> None:
    """The database last, so that a hub started in the middle of it finds none."""
    for path in sorted(staging.iterdir(), key=lambda path: (path.name in DATABASES, path.name)):
        if path.suffix in (".next", ".turn"):
            path.unlink()
            continue
        path.replace(data / path.name)
    staging.rmdir()


def _unproved(why: str) -> HubError:
    return InvalidInput(f"what came out of the backup does not prove right: {why}; nothing was kept", code="unproved")
