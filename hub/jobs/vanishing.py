"""When files that did not come home may be gone where they lie: by the site's own purge, or by the operator's wish.

A site counts from when a file was last written, and no file of a job is older than its start: the date told is the
first on which one may go.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from hub.core.context import Scope
from hub.jobs.clusters.tables import clusters
from hub.jobs.rules import TERMINAL


def at(scope: Scope, job: Any) -> dt.datetime | None:
    """From when on a job's unfetched files may be gone; None where nobody removes them, or there are none."""
    if not job.unfetched or job.state not in TERMINAL or job.ended_at is None:
        return None
    found = []
    if job.account is not None:
        days = scope.execute(sa.select(clusters.c.purge_days).where(clusters.c.name == job.backend)).scalar()
        if days is not None:
            found.append((job.started_at or job.ended_at) + dt.timedelta(days=days))
    if scope.settings.sweep_unfetched_after_days > 0:
        found.append(job.ended_at + dt.timedelta(days=scope.settings.sweep_unfetched_after_days))
    return min(found, default=None)


def warning(job: Any, vanishes: dt.datetime | None, now: dt.datetime) -> tuple[str, ...]:
    """What whoever looks at the job is told."""
    if vanishes is None:
        return ()
    where = "here" if job.account is None else f"on {job.backend}"
    day = f"{vanishes:%Y-%m-%d}"
    if vanishes <= now:
        return (f"Files that were not fetched may have vanished {where} since {day}.",)
    return (f"Files that were not fetched vanish {where} from {day} on.",)
