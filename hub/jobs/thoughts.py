"""When a waiting job's place is thought over (hub/jobs/moving.py): one thought of a job is to come at any time."""

from __future__ import annotations

import datetime as dt

import msgspec
import sqlalchemy as sa

from hub.core.context import Context
from hub.core.steps import steps
from hub.jobs import planning, turns
from hub.jobs.economy import Candidate, Plan
from hub.jobs.plan_tables import job_plans

THINK = "think_again"


def watch(ctx: Context, job: str, made: Plan | None) -> None:
    """Think of it when it should have started, if there was another place for it at all."""
    after = None if made is None else planning.first_thought(made)
    if after is not None:
        at(ctx, job, ctx.now + dt.timedelta(seconds=after))


def begins(ctx: Context, job: str) -> None:
    """A step has the inputs it waited for: its place is watched from now on, and nothing is promised of its end yet.

    What was promised when it was submitted was counted as if it had not had to wait for them.
    """
    offers = ctx.execute(sa.select(job_plans.c.offers).where(job_plans.c.job == job)).scalar()
    if offers is not None:
        ctx.execute(sa.update(job_plans).where(job_plans.c.job == job).values(ends_at=None))
        watch(ctx, job, Plan(tuple(msgspec.convert(offers, list[Candidate]))))


def at(ctx: Context, job: str, when: dt.datetime, *, instead_of: str = "") -> None:
    """Have it thought over then. However often that is asked for, the soonest is the one to come.

    `instead_of` is the thought that is being finished.
    """
    to_come = sa.and_(steps.c.object == job, steps.c.kind == THINK, steps.c.done_at.is_(None))
    others = sa.and_(to_come, steps.c.id != instead_of)
    if ctx.execute(sa.select(steps.c.id).where(others, steps.c.due_at <= when).limit(1)).first() is None:
        ctx.execute(sa.delete(steps).where(others, steps.c.due_at > when, steps.c.lease_until.is_(None)))
        ctx.enqueue(THINK, job, queue=turns.LOCAL, due_at=when)
