"""The database as it was at one moment, while the hub goes on: SQLite by its backup API, PostgreSQL by pg_dump.

A database file is never copied as a file: beside it lies a write-ahead log that belongs to it. Everything that is told
of a snapshot (rows, the ledger's root, which contents it names) is read from that same moment.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from hub.core.database import Database
from hub.core.errors import Unavailable

Kind = Literal["sqlite", "postgresql"]
DEBIAN_BINARIES = Path("/usr/lib/postgresql")


class Snapshot(msgspec.Struct, frozen=True):
    """A copy in a file, and a connection that sees exactly what the copy holds."""

    kind: Kind
    file: Path
    conn: sa.Connection

    @property
    def schema(self) -> str:
        return MigrationContext.configure(self.conn).get_current_revision() or ""


@contextlib.contextmanager
def taken(db: Database, folder: Path) -> Iterator[Snapshot]:
    """A snapshot of the database in `folder`, for as long as the block lasts."""
    if db.is_sqlite:
        file = folder / "hub.sqlite3"
        copy_sqlite(db.path, file)
        with read_sqlite(file) as conn:
            yield Snapshot("sqlite", file, conn)
        return
    with db.read() as conn:
        file = folder / "hub.pgdump"
        exported = str(conn.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one())
        dump_postgres(db.url, server_major(conn), file, exported)
        yield Snapshot("postgresql", file, conn)


def copy_sqlite(source: Path, target: Path) -> None:
    """One consistent copy in one file; writers are not kept waiting, since the source is in WAL mode."""
    target.touch(mode=0o600)
    with contextlib.closing(sqlite3.connect(source)) as here, contextlib.closing(sqlite3.connect(target)) as there:
        here.execute("PRAGMA busy_timeout=30000")
        here.backup(there)
        there.execute("PRAGMA journal_mode=DELETE")
        there.commit()
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def read_sqlite(file: Path) -> Iterator[sa.Connection]:
    """A copy opened for reading, without turning it into a database that is in use."""
    engine = sa.create_engine(f"sqlite:///file:{file}?mode=ro&uri=true")
    try:
        with engine.connect() as conn:
            yield conn
    finally:
        engine.dispose()


def row_counts(conn: sa.Connection) -> dict[str, int]:
    """How many rows every table has."""
    names = sorted(sa.inspect(conn).get_table_names())
    return {
        name: int(conn.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one()) for name in names
    }


def dump_postgres(url: sa.URL, major: int, target: Path, snapshot: str = "") -> None:
    """pg_dump in its own format, of one exported snapshot when one is named."""
    program = _program("pg_dump", major)
    target.touch(mode=0o600)
    arguments = ["--format=custom", "--no-owner", "--no-privileges", f"--file={target}"]
    _run(program, url, *arguments, *([f"--snapshot={snapshot}"] if snapshot else []))


def restore_postgres(url: sa.URL, major: int, source: Path) -> None:
    """Everything or nothing of a dump into an empty database."""
    program = _program("pg_restore", major)
    _run(program, url, "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", str(source))


def server_major(conn: sa.Connection) -> int:
    return int(conn.execute(sa.text("SHOW server_version_num")).scalar_one()) // 10_000


def _program(name: str, major: int) -> str:
    """A PostgreSQL program at least as new as the server: an older one refuses, or worse, leaves something out."""
    seen = []
    folders = sorted(DEBIAN_BINARIES.glob("*/bin"), key=lambda folder: (folder.parent.name != str(major), str(folder)))
    for found in (shutil.which(name), *(str(folder / name) for folder in folders)):
        if not found or not Path(found).exists():
            continue
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"(\d+)(?:\.\d+)*", said)
        if version and int(version[1]) >= major:
            return found
        seen.append(f"{found} is of version {version[1] if version else 'unknown'}")
    raise Unavailable(
        f"the database server is PostgreSQL {major} and no {name} of that version or newer is here",
        code="pg_dump_missing",
        hint=f"install postgresql-client-{major}",
        errors=seen,
    )


def _run(program: str, url: sa.URL, *arguments: str) -> None:
    # The password travels in the environment: arguments can be read by everybody on the machine.
    plain = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    done = subprocess.run(
        [program, f"--dbname={plain.render_as_string()}", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[:5]
        raise Unavailable(f"{Path(program).name} did not succeed", code="pg_dump_failed", errors=said)
