"""Who reads the log of a job on a cluster: a mark that lapses, renewed by every look.

A log there is followed while its mark holds, and otherwise brought when the job has ended. The mark is a row, so that
an agent anywhere sees it with what else it is told of the job; the bus only says that it was made.
"""

from __future__ import annotations

import datetime as dt
import functools
from concurrent.futures import Future

import sqlalchemy as sa
import structlog

from hub.core.context import Scope
from hub.core.database import Tx
from hub.core.house import House
from hub.jobs.rules import OCCUPYING
from hub.jobs.tables import jobs, log_readers

log = structlog.get_logger()

# A reader looks at least once a second; the mark is renewed when so much of it has gone by.
HOLDS = dt.timedelta(seconds=30)
RENEWED_AFTER = dt.timedelta(seconds=10)


def look(scope: Scope, job: str) -> bool:
    """Note that somebody looks; says whether the log was being followed already, as far as it has to be."""
    return look_all(scope, {job})


def look_all(scope: Scope, ids: set[str]) -> bool:
    """Note that somebody looks at all of these; says whether each was being followed already."""
    rows = scope.execute(
        sa.select(jobs.c.id, jobs.c.account, jobs.c.state, log_readers.c.until)
        .outerjoin(log_readers, log_readers.c.job == jobs.c.id)
        .where(jobs.c.id.in_(ids), jobs.c.account.is_not(None), jobs.c.state.in_(OCCUPYING))
    ).all()
    now = scope.now
    stale = {row.id: row.account for row in rows if row.until is None or row.until < now + HOLDS - RENEWED_AFTER}
    if stale:
        # Not waited for: whoever reads is answered with what there is, and looks again.
        scope.house.db.submit(lambda tx: _mark(tx, scope.house, stale, now + HOLDS)).add_done_callback(_noted)
    return all(row.state != "RUNNING" or (row.until is not None and row.until > now) for row in rows)


def _mark(tx: Tx, house: House, accounts: dict[str, str], until: dt.datetime) -> None:
    for job in sorted(accounts):
        if not tx.insert_new(log_readers, job=job, until=until):
            earlier = sa.and_(log_readers.c.job == job, log_readers.c.until < until)
            tx.execute(sa.update(log_readers).where(earlier).values(until=until))
    for account in set(accounts.values()):
        tx.after_commit(functools.partial(house.bus.publish, f"agent:{account}", {"read": len(accounts)}))


def _noted(done: Future[None]) -> None:
    if (error := done.exception()) is not None:
        log.warning("reading.not_noted", error=str(error)[:300])


def forget_lapsed(tx: Tx, now: dt.datetime) -> None:
    """Marks of the past go."""
    tx.execute(sa.delete(log_readers).where(log_readers.c.until < now))
