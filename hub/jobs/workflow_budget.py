"""What the jobs of a workflow or an experiment have cost and may still cost, held against its budget."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from hub.core.context import Context, Scope
from hub.jobs import economy, rules, workflow_terms
from hub.jobs.economy import Prices
from hub.jobs.plan_tables import job_plans
from hub.jobs.tables import jobs, workflows


def refuses_retry(ctx: Context, job: Any) -> str:
    """Why the rest of its workflow's budget does not pay a step's next try, in words; empty where it does.

    What the try that failed has cost is counted for the workflow, which it leaves.
    """
    row = ctx.execute(sa.select(workflows).where(workflows.c.id == job.workflow).with_for_update()).first()
    if row is None or row.budget is None:
        return ""
    found = costs(ctx, job.workflow)
    plan = ctx.execute(sa.select(job_plans).where(job_plans.c.job == job.id)).first()
    again = 0.0 if plan is None else _most_of(plan)
    refused = workflow_terms.unpaid(row.budget, row.spent + sum(found.values()), again)
    if not refused:
        spent = row.spent + found.get(job.id, 0.0)
        ctx.execute(sa.update(workflows).where(workflows.c.id == job.workflow).values(spent=spent))
    return refused


def costs(scope: Scope, workflow: str) -> dict[str, float]:
    """What each of its jobs has cost when it ended, else what it may come to."""
    return _costs_where(scope, jobs.c.workflow == workflow)


def comes_to(scope: Scope, things: Sequence[str], since: dt.datetime) -> float:
    """What jobs and workflows, by id, have cost and may still cost; none counts that was submitted before `since`."""
    mine = sa.or_(jobs.c.id.in_(things), jobs.c.workflow.in_(things))
    left = sa.select(sa.func.coalesce(sa.func.sum(workflows.c.spent), 0.0)).where(
        workflows.c.id.in_(things), workflows.c.submitted_at >= since
    )
    found = _costs_where(scope, sa.and_(mine, jobs.c.submitted_at >= since))
    return float(scope.execute(left).scalar_one()) + sum(found.values())


def _costs_where(scope: Scope, these: sa.ColumnElement[bool]) -> dict[str, float]:
    rows = scope.execute(
        sa.select(jobs.c.id, jobs.c.state, jobs.c.started_at, jobs.c.ended_at, job_plans)
        .join(job_plans, job_plans.c.job == jobs.c.id)
        .where(these)
    )
    return {row.id: _cost_of(row) for row in rows}


def _cost_of(row: Any) -> float:
    if row.state not in rules.TERMINAL:
        return _most_of(row)
    if row.started_at is None or row.ended_at is None:
        return 0.0
    whole = (row.ended_at - row.started_at).total_seconds()
    return _costs(row, whole if row.held_seconds is None else row.held_seconds)


def _most_of(row: Any) -> float:
    return _costs(row, float(row.wall_seconds))


def _costs(row: Any, seconds: float) -> float:
    held = economy.Held(row.cores, row.gpus)
    return economy.cost(held, seconds, Prices(row.core_hour, row.gpu_hour)).money or 0.0
