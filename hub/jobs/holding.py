"""For how long an ended job held what it asked for: as the database counts it, wherever use and cost are told.

A job holds it from its start to its end. The tasks of an array need not all run at once, and each holds its own part
only: counted over the whole time, an array of a hundred tasks that ran one after the other would have used a hundred
times what it did.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from hub.core.context import Context
from hub.jobs import economy
from hub.jobs.plan_tables import job_plans
from hub.jobs.rules import Exit
from hub.jobs.tables import jobs


def micro(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """An instant as the database keeps it, microseconds since 1970, to be calculated with."""
    return sa.type_coerce(column, sa.BigInteger)


# Microseconds, of a job that is joined to its plan; NULL for one that never started.
HELD_MICROS: sa.ColumnElement[int] = sa.func.coalesce(
    sa.cast(job_plans.c.held_seconds * 1e6, sa.BigInteger), micro(jobs.c.ended_at) - micro(jobs.c.started_at)
)


def keep(ctx: Context, job: str, end: Exit) -> None:
    """What the tasks of an array ran, all together; nothing for a job that is none."""
    array = sa.and_(job_plans.c.job == job, job_plans.c.tasks > 1)
    row = ctx.execute(sa.select(job_plans.c.tasks, job_plans.c.wall_seconds).where(array)).first()
    if row is not None:
        span = max(0.0, end.ended_at - end.started_at)
        seconds = economy.held_on_average(row.tasks, end.tasks, end.task_seconds, min(span, row.wall_seconds))
        ctx.execute(sa.update(job_plans).where(job_plans.c.job == job).values(held_seconds=seconds))
