"""Steps: the outbox, and the leases under which long work is done.

A step is a row inserted in the transaction of the action that wants it. A worker claims it by compare-and-swap, which
counts the attempt; every later write of the step names that attempt, so a worker that was stopped, overtaken and woken
again changes nothing. The dispatcher sweeps for due and lapsed rows: a lost or doubled wake is harmless.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.database import Instant, Json, Tx, metadata
from hub.core.ids import new_id

if TYPE_CHECKING:
    from hub.core.house import House

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("object", sa.String(64), nullable=False),
    sa.Column("args", Json, nullable=False),
    sa.Column("queue", sa.String(40), nullable=False),
    sa.Column("due_at", Instant, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),
    sa.Column("holder", sa.String(100)),
    sa.Column("lease_until", Instant),
    sa.Column("done_at", Instant),
    sa.Column("failed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("error", sa.Text),
    sa.Index(
        "ix_steps_open", "due_at", sqlite_where=sa.text("done_at IS NULL"), postgresql_where=sa.text("done_at IS NULL")
    ),
    sa.Index("ix_steps_object", "object"),
)


class Step(msgspec.Struct, frozen=True):
    """A claimed step: what is to be done to which object, and the attempt that fences its writes."""

    id: str
    kind: str
    object: str
    args: dict[str, Any]
    queue: str
    attempt: int


class StaleStep(Exception):
    """This holder's lease lapsed and another attempt took the step; nothing may be written for it any more."""


class Retry(Exception):
    """Raised by a step's runner to be tried again later; nothing is wrong yet."""

    def __init__(self, reason: str, after_seconds: float = 1.0) -> None:
        super().__init__(reason)
        self.reason, self.after_seconds = reason, after_seconds


Runner = Callable[[Step, "House"], None]
# kind -> (queue, runner, what to do in the unit of work that gives the step up)
RUNNERS: dict[str, Runner] = {}
GIVEN_UP: dict[str, Callable[[Tx, House, Step, str], None]] = {}


def runs(kind: str) -> Callable[[Runner], Runner]:
    """Register who carries out steps of this kind."""

    def register(runner: Runner) -> Runner:
        RUNNERS[kind] = runner
        return runner

    return register


def when_given_up(
    kind: str,
) -> Callable[[Callable[[Tx, House, Step, str], None]], Callable[[Tx, House, Step, str], None]]:
    """Register what to write, in the same transaction, when a step of this kind has failed for good."""

    def register(act: Callable[[Tx, House, Step, str], None]) -> Callable[[Tx, House, Step, str], None]:
        GIVEN_UP[kind] = act
        return act

    return register


def add(tx: Tx, kind: str, object_id: str, *, queue: str, due_at: dt.datetime, args: dict[str, Any]) -> str:
    """Record a step; returns its id."""
    step_id = new_id("step")
    tx.execute(sa.insert(steps).values(id=step_id, kind=kind, object=object_id, args=args, queue=queue, due_at=due_at))
    return step_id


def claim(tx: Tx, step_id: str, holder: str, now: dt.datetime) -> Step | None:
    """Take the step if it is due and nobody's lease is running; None when there is nothing to take."""
    row = tx.execute(
        sa.update(steps)
        .where(
            steps.c.id == step_id,
            steps.c.done_at.is_(None),
            steps.c.due_at <= now,
            sa.or_(steps.c.lease_until.is_(None), steps.c.lease_until < now),
        )
        .values(attempt=steps.c.attempt + 1, holder=holder, lease_until=now + _LEASE)
        .returning(steps)
    ).first()
    return None if row is None else Step(row.id, row.kind, row.object, row.args, row.queue, row.attempt)


def renew(tx: Tx, step: Step, now: dt.datetime) -> None:
    """Hold the step for another lease. Raises StaleStep when it is no longer ours."""
    _write(tx, step, lease_until=now + _LEASE)


def finish(tx: Tx, step: Step, now: dt.datetime) -> None:
    """The step is done. Raises StaleStep when it is no longer ours, which rolls back whatever came before."""
    _write(tx, step, done_at=now, lease_until=None, error=None)


def put_off(tx: Tx, step: Step, due_at: dt.datetime, reason: str) -> None:
    """Try the step again at `due_at`."""
    _write(tx, step, due_at=due_at, lease_until=None, error=reason[:2000])


def give_up(tx: Tx, step: Step, now: dt.datetime, error: str) -> None:
    """The step failed for good."""
    _write(tx, step, done_at=now, lease_until=None, failed=True, error=error[:2000])


def due(conn: sa.Connection, now: dt.datetime, limit: int = 200) -> list[tuple[str, str]]:
    """(queue, id) of the steps that are due and held by nobody whose lease still runs."""
    rows = conn.execute(
        sa.select(steps.c.queue, steps.c.id)
        .where(
            steps.c.done_at.is_(None),
            steps.c.due_at <= now,
            sa.or_(steps.c.lease_until.is_(None), steps.c.lease_until < now),
        )
        .order_by(steps.c.due_at)
        .limit(limit)
    )
    return [(row.queue, row.id) for row in rows]


def cancel(tx: Tx, kind: str, object_id: str, now: dt.datetime) -> None:
    """No longer wanted: open steps of this kind for this object end without being run."""
    tx.execute(
        sa.update(steps)
        .where(steps.c.kind == kind, steps.c.object == object_id, steps.c.done_at.is_(None))
        .values(done_at=now, attempt=steps.c.attempt + 1, lease_until=None)
    )


_LEASE = dt.timedelta(seconds=limits.STEP_LEASE_SECONDS)


def _write(tx: Tx, step: Step, **values: Any) -> None:
    changed = tx.execute(
        sa.update(steps)
        .where(steps.c.id == step.id, steps.c.attempt == step.attempt, steps.c.done_at.is_(None))
        .values(**values)
    )
    if changed.rowcount != 1:
        raise StaleStep(step.id)
