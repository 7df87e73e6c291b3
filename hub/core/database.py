"""The unit of work: one function, one transaction, on SQLite or PostgreSQL.

SQLite: `BEGIN IMMEDIATE` issued by us, WAL, `synchronous=FULL`. In a process one writer thread groups the actions that
wait into one transaction with a savepoint each and answers after COMMIT, so that one fsync serves many. Processes take
turns by two file locks (`next`, then `turn`): first come, first served, where one lock or the busy timeout starve.

PostgreSQL: READ COMMITTED, a transaction per call, retried on serialization failure and deadlock; a rule that reads
before it writes takes row locks (`with_for_update`, which SQLite ignores and does not need).

A function given to `write` may run more than once (a retry, or a batch that failed for another's fault): its only
effects are statements on its `Tx` and what it asks for `after_commit`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime as dt
import fcntl
import functools
import hashlib
import queue
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.pool import QueuePool

from hub.core.errors import Unavailable

T = TypeVar("T")
log = structlog.get_logger()

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# An integer key that counts by itself: SQLite only does so for INTEGER, PostgreSQL wants 64 bits.
Serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

GROUP = 64
RETRIES = 10
# An answer stands on the disk before it is given.
SQLITE_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "fullfsync=1")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class Instant(sa.types.TypeDecorator[dt.datetime]):
    """A moment: aware UTC datetimes outside, microseconds since 1970 inside, the same on both databases."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Any) -> int | None:
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Any) -> dt.datetime | None:
        return None if value is None else _EPOCH + value * _MICROSECOND


class Json(sa.types.TypeDecorator[Any]):
    """A small structured value, kept as the JSON text msgspec writes."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Any) -> Any:
        return None if value is None else msgspec.json.decode(value)


class Tx:
    """One running unit of work: its connection, and what is to happen once it is committed."""

    def __init__(self, conn: sa.Connection) -> None:
        self.conn = conn
        self.after: list[Callable[[], None]] = []

    def execute(self, statement: sa.Executable, *args: Any, **kwargs: Any) -> sa.CursorResult[Any]:
        return self.conn.execute(statement, *args, **kwargs)

    def insert(self, table: sa.Table, **values: Any) -> sa.CursorResult[Any]:
        """Insert one row. The statement is built once a table: building it costs more than running it."""
        return self.execute(_insert(table), values)

    def insert_new(self, table: sa.Table, **values: Any) -> bool:
        """Insert unless a row with the same key is there already (or is being committed); says whether it did."""
        return self.execute(_insert_new(table, self.conn.dialect.name), values).first() is not None

    def alone(self, name: str) -> None:
        """Wait for every other unit of work that said this name to end. SQLite has one writer at a time anyway."""
        if self.conn.dialect.name == "postgresql":
            key = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big", signed=True)
            self.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.cast(key, sa.BigInteger))))

    def after_commit(self, then: Callable[[], None]) -> None:
        """Run `then` once, after COMMIT; it must not matter whether it ever runs (the process may die here)."""
        self.after.append(then)


@functools.cache
def _insert(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


@functools.cache
def _insert_new(table: sa.Table, dialect: str) -> sa.Executable:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing().returning(*table.primary_key.columns)


class Database:
    """Where every lasting thing is kept; `write` one unit of work, `read` one snapshot."""

    def __init__(self, url: str) -> None:
        self.url = sa.make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._writer: _SqliteWriter | _PostgresWriter
        if self.is_sqlite:
            assert self.url.database
            self.path = Path(self.url.database)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._read_engine = _sqlite_engine(self.url, begin="BEGIN", query_only=True)
            self._writer = _SqliteWriter(self.url, self.path)
        else:
            if self.url.drivername == "postgresql":
                self.url = self.url.set(drivername="postgresql+psycopg")
            self._read_engine = sa.create_engine(
                self.url, pool_size=20, max_overflow=20, pool_pre_ping=True, isolation_level="REPEATABLE READ"
            )
            self._writer = _PostgresWriter(self.url)

    @property
    def write_engine(self) -> sa.Engine:
        """For migrations and contract tests only; everything else goes through `write`."""
        return self._writer.engine

    def submit(self, work: Callable[[Tx], T]) -> concurrent.futures.Future[T]:
        """Run `work` in a unit of work; the future is done after COMMIT."""
        return self._writer.submit(work)

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a unit of work and wait for its COMMIT."""
        if getattr(_local, "inside", False):
            raise RuntimeError("a unit of work must not wait for another")
        return self.submit(work).result()

    @contextlib.contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent snapshot; nothing can be written through it on SQLite."""
        with self._read_engine.connect() as conn:
            try:
                yield conn
            finally:
                conn.rollback()

    def close(self) -> None:
        self._writer.close()
        self._read_engine.dispose()


_local = threading.local()


def _sqlite_engine(url: sa.URL, *, begin: str, query_only: bool = False) -> sa.Engine:
    engine = sa.create_engine(
        url, connect_args={"check_same_thread": False}, poolclass=QueuePool, pool_size=20, max_overflow=40
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # We say BEGIN ourselves; the driver's own idea of it is too late.
        connection.execute("PRAGMA busy_timeout=30000")
        for pragma in SQLITE_PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        if query_only:
            connection.execute("PRAGMA query_only=ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        _say(conn, begin)

    return engine


class _Waiting(msgspec.Struct):
    work: Callable[[Tx], Any]
    future: concurrent.futures.Future[Any]


class _SqliteWriter:
    """One thread that carries out waiting units of work in groups."""

    def __init__(self, url: sa.URL, path: Path) -> None:
        self.engine = _sqlite_engine(url, begin="BEGIN IMMEDIATE")
        # The locks stay open as long as the thread lives; it closes them, since it may be in the middle of a turn.
        self._next = path.with_suffix(".next").open("w")
        self._turn = path.with_suffix(".turn").open("w")
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._after = _AfterCommit()
        self._closed = False
        self._conn: sa.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Tx], T]) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._queue.put(_Waiting(work, future))
        if self._closed:
            self._refuse_rest()
        return future

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()
        self._closed = True
        self._refuse_rest()
        self._after.close()
        self._next.close()
        self._turn.close()
        if self._conn is not None:
            self._conn.close()
        self.engine.dispose()

    def _refuse_rest(self) -> None:
        """Nobody is left who would carry these out: whoever waits is told, instead of waiting for ever."""
        while True:
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                return
            if waiting is not None and waiting.future.set_running_or_notify_cancel():
                waiting.future.set_exception(_stopping())

    def _run(self) -> None:
        _local.inside = True
        while (first := self._queue.get()) is not None:
            group, closing = [first], False
            with self._my_turn():
                while len(group) < GROUP:
                    try:
                        waiting = self._queue.get_nowait()
                    except queue.Empty:
                        break
                    if waiting is None:
                        closing = True
                        break
                    group.append(waiting)
                answers = self._carry_out(group)
            # Answered after the turn is over: whoever is stopped in a callback must not stop every other writer.
            for answer in answers:
                answer()
            if closing:
                return

    @contextlib.contextmanager
    def _my_turn(self) -> Iterator[None]:
        fcntl.flock(self._next, fcntl.LOCK_EX)
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        fcntl.flock(self._next, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _carry_out(self, group: list[_Waiting]) -> list[Callable[[], None]]:
        """Commit the group; returns what is left to do once the turn is over."""
        group = [w for w in group if w.future.set_running_or_notify_cancel()]
        if not group:
            return []
        try:
            outcomes = self._transaction(group)
        except BaseException as error:
            if len(group) == 1:
                return [functools.partial(group[0].future.set_exception, _told(error))]
            # The group failed as a whole (a full disk rolls everything back): each alone, so that only the one at
            # fault is told so.
            answers: list[Callable[[], None]] = []
            for waiting in group:
                try:
                    outcomes = self._transaction([waiting])
                except BaseException as alone:
                    answers.append(functools.partial(waiting.future.set_exception, _told(alone)))
                else:
                    answers.append(functools.partial(self._answer, outcomes))
            return answers
        return [functools.partial(self._answer, outcomes)]

    def _transaction(self, group: list[_Waiting]) -> list[tuple[_Waiting, Tx | None, Any]]:
        outcomes: list[tuple[_Waiting, Tx | None, Any]] = []
        conn = self._connected()
        try:
            with conn.begin():
                if len(group) == 1:
                    tx = Tx(conn)
                    return [(group[0], tx, group[0].work(tx))]
                for waiting in group:
                    tx = Tx(conn)
                    _say(conn, "SAVEPOINT unit")
                    try:
                        result = waiting.work(tx)
                    except exc.OperationalError:
                        raise  # The database itself failed; SQLite may have rolled back more than the savepoint.
                    except BaseException as error:
                        _say(conn, "ROLLBACK TO unit")
                        _say(conn, "RELEASE unit")
                        outcomes.append((waiting, None, error))
                    else:
                        _say(conn, "RELEASE unit")
                        outcomes.append((waiting, tx, result))
        except BaseException:
            self._conn = None
            conn.close()
            raise
        return outcomes

    def _connected(self) -> sa.Connection:
        """The one connection of this thread; after a failure another: nobody knows what is left on the old one."""
        if self._conn is None:
            self._conn = self.engine.connect()
        return self._conn

    def _answer(self, outcomes: list[tuple[_Waiting, Tx | None, Any]]) -> None:
        for waiting, tx, result in outcomes:
            if tx is None:
                waiting.future.set_exception(result)
            else:
                self._after.run(tx.after)
                waiting.future.set_result(result)


def _say(conn: sa.Connection, statement: str) -> None:
    """To the driver itself: what begins and ends a unit of work is said too often to be compiled."""
    conn.connection.driver_connection.execute(statement)  # type: ignore[union-attr]


def _stopping() -> Unavailable:
    """For who asks when nobody is left to carry it out."""
    return Unavailable("the hub is stopping", hint="try again in a moment")


class _PostgresWriter:
    """A few threads, each carrying out one unit of work at a time."""

    def __init__(self, url: sa.URL) -> None:
        self.engine = sa.create_engine(
            url, pool_size=16, max_overflow=4, pool_pre_ping=True, isolation_level="READ COMMITTED"
        )
        self._threads = concurrent.futures.ThreadPoolExecutor(16, "writer")
        self._after = _AfterCommit()

    def submit(self, work: Callable[[Tx], T]) -> concurrent.futures.Future[T]:
        try:
            return self._threads.submit(self._carry_out, work)
        except RuntimeError:
            refused: concurrent.futures.Future[T] = concurrent.futures.Future()
            refused.set_exception(_stopping())
            return refused

    def close(self) -> None:
        self._threads.shutdown()
        self._after.close()
        self.engine.dispose()

    def _carry_out(self, work: Callable[[Tx], T]) -> T:
        _local.inside = True
        for attempt in range(RETRIES):
            try:
                with self.engine.begin() as conn:
                    tx = Tx(conn)
                    result = work(tx)
            except exc.DBAPIError as error:
                if attempt + 1 == RETRIES or not _is_retryable(error):
                    raise _told(error) from error
                time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311 - spreading retries, not a secret
            else:
                self._after.run(tx.after)
                return result
        raise AssertionError("unreachable")


class _AfterCommit:
    """Runs what was asked for after a commit, in order, outside the writer's way."""

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "after-commit")

    def run(self, then: list[Callable[[], None]]) -> None:
        for one in then:
            self._thread.submit(self._safely, one)

    def close(self) -> None:
        self._thread.shutdown()

    @staticmethod
    def _safely(one: Callable[[], None]) -> None:
        try:
            one()
        except Exception:
            log.warning("after_commit.failed", exc_info=True)


def _is_retryable(error: exc.DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in {"40001", "40P01"} or error.connection_invalidated


def _told(error: BaseException) -> BaseException:
    """A full disk and a database that is away, in words a person can act on."""
    if not isinstance(error, exc.DBAPIError):
        return error
    text = str(error.orig)
    full = isinstance(error.orig, sqlite3.OperationalError) and "disk is full" in text
    if full or getattr(error.orig, "sqlstate", None) == "53100":
        return Unavailable(
            "the hub's disk is full; nothing was recorded",
            code="disk_full",
            hint="free some space under the data folder and try again",
        )
    if isinstance(error, exc.OperationalError):
        log.error("database.unavailable", error=text)
        return Unavailable(
            "the database cannot be reached now; nothing was recorded",
            code="database_unavailable",
            hint="try again in a moment; the same Idempotency-Key makes that safe",
        )
    return error
