"""The databases a contract is proved on: SQLite always, PostgreSQL where a test asks for it by its marker.

The PostgreSQL server is the one named by COLLEGIUM_TEST_POSTGRES, or one started on loopback for the run from the
installed binaries.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from hub.core.database import Database, metadata

OpenDatabase = Callable[[], Database]
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a server that lives as long as the block."""
    if url := os.environ.get("COLLEGIUM_TEST_POSTGRES"):
        yield url
        return
    binaries = BINARIES[0] if BINARIES else Path(shutil.which("initdb") or "").parent
    if not (binaries / "initdb").exists():
        pytest.fail("PostgreSQL is not installed here and COLLEGIUM_TEST_POSTGRES names none")
    base = Path(tempfile.mkdtemp(prefix="collegium-pg-"))
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        user = pwd.getpwnam("postgres").pw_uid
        os.chown(base, user, -1)
    port = free_port()
    try:
        subprocess.run(
            [binaries / "initdb", "-D", base / "d", "-A", "trust", "-U", "postgres", "--no-sync"],
            user=user,
            cwd=base,
            check=True,
            capture_output=True,
        )
        server = subprocess.Popen(
            [binaries / "postgres", "-D", base / "d", "-p", str(port), "-h", "127.0.0.1", "-k", base, "-F"],
            user=user,
            cwd=base,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
            _wait_until_up(url, server)
            yield url
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    import time

    for _ in range(600):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        if server.poll() is not None:
            break
        time.sleep(0.05)
    pytest.fail("PostgreSQL did not start")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenDatabase]:
    """A function that opens the same fresh database again and again, as several processes would."""
    opened: list[Database] = []
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'contract.sqlite3'}"
        shutil.copyfile(request.getfixturevalue("empty_database"), tmp_path / "contract.sqlite3")
    else:
        server = request.getfixturevalue("postgres_url")
        name = f"t_{secrets.token_hex(6)}"
        with psycopg.connect(server, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")
        url = server.rsplit("/", 1)[0] + f"/{name}"

    def open_database() -> Database:
        db = Database(url)
        opened.append(db)
        return db

    first = open_database()
    if not first.is_sqlite:
        metadata.create_all(first.write_engine)
    yield open_database
    for db in opened:
        db.close()
