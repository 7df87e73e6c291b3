"""Steps of workflows tried again: a step that failed gets a new job in its place, and whoever waits for it waits on.

Only what is known to have failed is run again. A job that was cancelled, or that nobody can account for, is not.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from hub.core.context import Context
from hub.core.ids import new_id
from hub.core.keys import seal, unseal
from hub.jobs import names, workflow_budget
from hub.jobs.plan_tables import job_plans
from hub.jobs.rules import State
from hub.jobs.step_tables import workflow_steps
from hub.jobs.tables import jobs

MOST_RETRIES = 10
_TRIED_AGAIN: frozenset[State] = frozenset({"FAILED", "TIMED_OUT", "OUT_OF_MEMORY", "NODE_FAILED"})
# What a new try is, and not how the last one fared.
_CARRIED = (
    "session", "name", "job_type", "backend", "account", "submitted_by", "script_kind", "script_path", "script_digest",
    "interpreter", "args", "env", "inputs", "outputs", "fetch_patterns", "workdir", "resources", "environment",
    "workflow", "step", "after", "awaits",
)  # fmt: skip


def again(ctx: Context, job: sa.Row[Any], state: State) -> str | None:
    """The job that takes the place of one that has just ended so, if its step is to be tried again.

    The one that failed leaves the workflow and says which job goes on for it.
    """
    if job.workflow is None or state not in _TRIED_AGAIN:
        return None
    here = sa.and_(workflow_steps.c.workflow == job.workflow, workflow_steps.c.step == job.step)
    row = ctx.execute(sa.select(workflow_steps).where(here).with_for_update()).first()
    if row is None or row.tries >= row.retries:
        return None
    if refused := workflow_budget.refuses_retry(ctx, job):
        _note(ctx, job.id, refused)
        return None
    tries = row.tries + 1
    ctx.execute(sa.update(workflow_steps).where(here).values(tries=tries))
    fresh, number = new_id("job"), names.next_numbers(ctx, job.session, 1)[0]
    carried = {name: getattr(job, name) for name in _CARRIED if name in jobs.c}
    ctx.execute(
        sa.insert(jobs).values(
            **carried,
            id=fresh,
            number=number,
            state="QUEUED",
            submitted_at=ctx.now,
            queued_at=ctx.now,
            script_sealed=_resealed(ctx, job, fresh),
            notes=[f"Try {tries + 1} of {row.retries + 1}: job {job.number} ended {state}."],
        )
    )
    _plan_again(ctx, job.id, fresh)
    _note(ctx, job.id, f"Tried again as job {number}.")
    ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(workflow=None))
    _repoint(ctx, job, fresh)
    ctx.about(
        "job", fresh, job.session, action="job_observed", number=number, state="QUEUED", script=job.script_digest,
        workflow=job.workflow, instead_of=job.id,
    )  # fmt: skip
    return fresh


def _note(ctx: Context, job: str, said: str) -> None:
    notes = ctx.execute(sa.select(jobs.c.notes).where(jobs.c.id == job)).scalar_one()
    ctx.execute(sa.update(jobs).where(jobs.c.id == job).values(notes=[*notes, said]))


def _plan_again(ctx: Context, job: str, fresh: str) -> None:
    """What the new try holds and at which prices, as the one before: it counts for quotas and turns like any job."""
    row = ctx.execute(sa.select(job_plans).where(job_plans.c.job == job)).mappings().first()
    if row is not None:
        anew = {"job": fresh, "starts_at": None, "thought_at": None, "said": "", "going": None, "held_seconds": None}
        ctx.execute(sa.insert(job_plans).values(**{**row, **anew}))


def _resealed(ctx: Context, job: sa.Row[Any], fresh: str) -> bytes | None:
    """The script under its new job's name: what is sealed for one job cannot be opened as another's."""
    if job.script_sealed is None:
        return None
    key = ctx.house.keys.domain_in(ctx.tx, job.session)
    return seal(key, unseal(key, job.script_sealed, f"script:{job.id}"), f"script:{fresh}")


def _repoint(ctx: Context, job: sa.Row[Any], fresh: str) -> None:
    """Whoever waits for the job that failed waits for the new one."""
    waiting = ctx.execute(sa.select(jobs).where(jobs.c.workflow == job.workflow, jobs.c.state == "WAITING"))
    for each in waiting.all():
        if job.id in each.after:
            after = [fresh if one == job.id else one for one in each.after]
            awaits = {path: fresh if one == job.id else one for path, one in each.awaits.items()}
            ctx.execute(sa.update(jobs).where(jobs.c.id == each.id).values(after=after, awaits=awaits))


def downstream(ctx: Context, job: sa.Row[Any]) -> list[sa.Row[Any]]:
    """The steps that wait for a job, directly or not, those that wait longest first."""
    if job.workflow is None:
        return []
    rows = ctx.execute(
        sa.select(jobs).where(jobs.c.workflow == job.workflow, jobs.c.state == "WAITING").with_for_update()
    ).all()
    found: dict[str, int] = {job.id: 0}
    changed = True
    while changed:
        changed = False
        for each in rows:
            depth = max((found[one] + 1 for one in each.after if one in found), default=0)
            if depth > found.get(each.id, 0):
                found[each.id] = depth
                changed = True
    return sorted((each for each in rows if each.id in found), key=lambda each: -found[each.id])
