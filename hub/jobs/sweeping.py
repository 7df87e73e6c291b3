"""What ended jobs leave is cleared away after a while: which of them, on a cluster and here, and how it is told.

Nobody's results are thrown away by this. A job is due when everything it made came home, or when it never ran; what was
too large to come, and what nobody can account for, stays, unless the operator has set a time for that as well.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from hub.core.context import Context
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs.port import Sweep
from hub.jobs.rules import TERMINAL
from hub.jobs.starting import local
from hub.jobs.tables import jobs
from hub.perform import record

log = structlog.get_logger()

SWEPT = "job_swept"
AT_ONCE = 500


def never_ran() -> sa.ColumnElement[bool]:
    """Nothing was made where nothing was started; of what nobody can account for, nobody knows that."""
    ended = jobs.c.state.in_(("CANCELLED", "FAILED"))
    return sa.and_(jobs.c.unfetched.is_(None), jobs.c.started_at.is_(None), ended)


def is_due(settings: Settings, now: dt.datetime) -> sa.ColumnElement[bool]:
    """Which jobs ended so long ago that what they left may go."""
    found: list[sa.ColumnElement[bool]] = []
    if settings.sweep_after_days > 0:
        whole = sa.or_(jobs.c.unfetched == 0, never_ran())
        found.append(sa.and_(whole, jobs.c.ended_at < now - dt.timedelta(days=settings.sweep_after_days)))
    if settings.sweep_unfetched_after_days > 0:
        found.append(jobs.c.ended_at < now - dt.timedelta(days=settings.sweep_unfetched_after_days))
    return sa.and_(jobs.c.state.in_(TERMINAL), sa.or_(sa.false(), *found))


def due(conn: sa.Connection, account: str, settings: Settings, now: dt.datetime) -> list[tuple[str, int]]:
    """An account's jobs whose folders on its cluster may go, the oldest first, each with its last run."""
    rows = conn.execute(
        sa.select(jobs.c.id, jobs.c.run)
        .where(jobs.c.account == account, jobs.c.swept_at.is_(None), is_due(settings, now))
        .order_by(jobs.c.ended_at)
        .limit(AT_ONCE)
    )
    return [(row.id, row.run) for row in rows]


def accounts_due(conn: sa.Connection, settings: Settings, now: dt.datetime) -> list[str]:
    """Accounts on whose clusters something may go, whether or not they have anything else to do there."""
    wanted = sa.and_(jobs.c.account.is_not(None), jobs.c.swept_at.is_(None), is_due(settings, now))
    return list(conn.execute(sa.select(jobs.c.account).where(wanted).distinct()).scalars())


def tell(ctx: Context, account: str, sweep: Sweep) -> None:
    """One line for one sweep; jobs that are done with are not come back to."""
    for at in range(0, len(sweep.jobs), AT_ONCE):
        mine = sa.and_(jobs.c.id.in_(sweep.jobs[at : at + AT_ONCE]), jobs.c.account == account)
        ctx.execute(sa.update(jobs).where(mine).values(swept_at=ctx.now))
    facts: dict[str, Any] = {"jobs": len(sweep.jobs), "folders": sweep.folders, "bytes": sweep.size_bytes}
    ctx.about("cluster_account", account, **facts, strange=sweep.strange, left=sweep.left)


def sweep_here(house: House, *, most: int = 2000) -> Sweep:
    """Remove the folders that ended jobs left on this machine, wherever they ran; told in one line."""
    root = local(house.settings).root
    swept, size = 0, 0
    for job in _due_here(house, root, most):
        size += _size(root / job)
        shutil.rmtree(root / job, ignore_errors=True)  # which follows no links
        swept += not (root / job).exists()
    done = Sweep(jobs=(), folders=swept, size_bytes=size)
    if swept:
        record(house, SWEPT, lambda ctx: ctx.about("hub", "hub", folders=swept, bytes=size))
        log.info("jobs.swept", folders=swept, bytes=size)
    return done


def _due_here(house: House, root: Path, most: int) -> Iterator[str]:
    """Folders that are called like a job of ours that is due; no others are ever touched."""
    try:
        with os.scandir(root) as entries:
            names = sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    left = most
    for at in range(0, len(names), AT_ONCE):
        some = names[at : at + AT_ONCE]
        with house.db.read() as conn:
            found = _known_due(conn, house, some)
        yield from found[:left]
        if (left := left - len(found)) <= 0:
            return


def _known_due(conn: sa.Connection, house: House, names: Sequence[str]) -> list[str]:
    # Of a job on a cluster only what came home lies here, and once that was counted it is in the store.
    wanted = sa.or_(is_due(house.settings, house.clock.now()), _counted_long_ago(house))
    query = sa.select(jobs.c.id).where(jobs.c.id.in_(names), wanted).order_by(jobs.c.id)
    return list(conn.execute(query).scalars())


def _counted_long_ago(house: House) -> sa.ColumnElement[bool]:
    days = house.settings.sweep_after_days
    if days <= 0:
        return sa.false()
    ended = jobs.c.ended_at < house.clock.now() - dt.timedelta(days=days)
    return sa.and_(jobs.c.account.is_not(None), jobs.c.unfetched.is_not(None), jobs.c.state.in_(TERMINAL), ended)


def _size(folder: Path) -> int:
    """What it takes up, in blocks on the disk."""
    total = 0
    for at, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(at) / name).lstat().st_blocks * 512
            except OSError:
                continue
    return total
