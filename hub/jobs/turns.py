"""Whose turn it is at a place: what its waiting people used there lately, read from the record.

Use lately is core-seconds of ended jobs, worth half as much after every week, and of those that run what they may still
come to; so what people have at once counts like what they had before. Only use of the place itself counts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Scope
from hub.jobs import holding, placement, rules, shares
from hub.jobs.placement import Line, Waiting
from hub.jobs.plan_tables import job_plans
from hub.jobs.tables import jobs

LOCAL = "local"
# What was used so long ago is worth less than a thirtieth.
LOOK_BACK = dt.timedelta(seconds=5 * shares.HALF_LIFE_SECONDS)
# Uses are added up by such pieces of time, so that few rows stand for many jobs.
PIECE_SECONDS = 6 * 3600
_CORES = sa.func.coalesce(job_plans.c.cores, 1)
_LIMIT = sa.func.coalesce(job_plans.c.wall_seconds, limits.JOB_WALLTIME_SECONDS)


def line(scope: Scope, backend: str = LOCAL, also: Waiting | None = None) -> Line:
    """The queue of this machine, or what goes to a cluster, in order; `also` is somebody who would come to it now."""
    waiting = [*queued(scope, backend), *([] if also is None else [also])]
    who = {each.person for each in waiting}
    if len(who) < 2:  # nobody's use matters
        return Line(order=sorted(waiting, key=lambda each: each.order))
    return placement.line(
        waiting,
        used(scope, backend, jobs.c.submitted_by, who),
        sessions=used(scope, backend, jobs.c.session, {each.session for each in waiting}),
        last_started=last_starts(scope, backend, who),
        now=scope.now.timestamp(),
    )


def queued(scope: Scope, backend: str = LOCAL) -> list[Waiting]:
    """What waits for this place, as it came."""
    rows = scope.execute(
        sa.select(
            *(jobs.c.id, jobs.c.submitted_by, jobs.c.session, jobs.c.queued_at),
            *(_CORES.label("cores"), _LIMIT.label("seconds")),
        )
        .select_from(jobs.outerjoin(job_plans, job_plans.c.job == jobs.c.id))
        .where(jobs.c.state == "QUEUED", jobs.c.backend == backend)
        .order_by(jobs.c.queued_at, jobs.c.id)
    )
    return [
        Waiting(
            job=row.id,
            person=row.submitted_by,
            session=row.session,
            order=order,
            since=row.queued_at.timestamp(),
            cores=row.cores,
            seconds=float(row.seconds),
        )
        for order, row in enumerate(rows)
    ]


def used(scope: Scope, backend: str, by: sa.Column[Any], whose: Collection[str]) -> dict[str, float]:
    """Core-seconds that each of these (people or sessions) used there lately, and holds by what runs."""
    now = sa.literal(int(scope.now.timestamp() * 1e6), sa.BigInteger)
    ended, started = holding.micro(jobs.c.ended_at), holding.micro(jobs.c.started_at)
    runs = jobs.c.state.in_(rules.OCCUPYING)
    piece = sa.case((runs, 0), else_=(now - ended) // (PIECE_SECONDS * 1_000_000))
    longest = sa.cast(_LIMIT, sa.BigInteger) * 1_000_000
    took = sa.case((runs, longest), else_=holding.HELD_MICROS)
    rows = scope.execute(
        sa.select(by.label("whose"), piece.label("piece"), sa.func.sum(took * _CORES).label("took"))
        .select_from(jobs.outerjoin(job_plans, job_plans.c.job == jobs.c.id))
        .where(
            by.in_(whose),
            jobs.c.backend == backend,
            jobs.c.attached.is_(False),
            jobs.c.placed_at >= scope.now - LOOK_BACK,
            sa.or_(runs, sa.and_(started.is_not(None), ended.is_not(None))),
        )
        .group_by(by, piece)
    ).all()
    found: dict[str, list[tuple[float, float]]] = {each: [] for each in whose}
    for row in rows:
        # A piece counts as if all of it had ended at its beginning; what has just ended is not yet worth less.
        ago = max(0.0, float(row.piece)) * PIECE_SECONDS
        found[row.whose].append((-ago, float(row.took) / 1e6))
    return {each: shares.decayed(uses, 0.0) for each, uses in found.items()}


def last_starts(scope: Scope, backend: str, people: Collection[str]) -> dict[str, float]:
    """When each person's last job was given a place there, in seconds since 1970."""
    rows = scope.execute(
        sa.select(jobs.c.submitted_by, sa.func.max(jobs.c.placed_at).label("last"))
        .where(jobs.c.submitted_by.in_(people), jobs.c.backend == backend, jobs.c.placed_at.is_not(None))
        .group_by(jobs.c.submitted_by)
    )
    return {row.submitted_by: row.last.timestamp() for row in rows}
