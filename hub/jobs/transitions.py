"""Moves of jobs in the database: each by the one table, each on the row it was decided for, each with a ledger line.

Whoever comes into the queue or frees a place asks for a look at it (`place_jobs`), and at the workflow that waits.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from hub.artifacts import versions
from hub.artifacts.tables import versions as version_table
from hub.core import steps
from hub.core.context import Context, Scope
from hub.core.house import House
from hub.core.settings import Settings
from hub.jobs import placement, retrying, rules, thoughts, turns
from hub.jobs.rules import Event, State
from hub.jobs.tables import backends, jobs
from hub.perform import record

OBSERVED = "job_observed"
LOCAL = turns.LOCAL
PLACE, START, COLLECT = "place_jobs", "start_job", "collect_job"

Job = sa.Row[Any]


# Built once: a statement costs more to build than to carry out.
ONE = sa.select(jobs).where(jobs.c.id == sa.bindparam("which"))
_LOCKED = ONE.with_for_update()
_LOOKED_AT = (
    sa.select(steps.steps.c.id)
    .where(
        steps.steps.c.kind == PLACE,
        steps.steps.c.done_at.is_(None),
        steps.steps.c.attempt == 0,
        steps.steps.c.due_at <= sa.bindparam("now"),
    )
    .limit(1)
    .with_for_update(skip_locked=True)
)


def lock(ctx: Context, job_id: str) -> Job | None:
    """The job's row, held until this unit of work ends."""
    return ctx.execute(_LOCKED, {"which": job_id}).first()


def happen(ctx: Context, job: Job, event: Event, reason: str = "", **values: Any) -> State:
    """The job's state after an event; the row must have been locked. Raises ImpossibleTransition."""
    state = rules.move(job.state, event)
    ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(state=state, reason=reason, **values))
    facts: dict[str, Any] = {"state": state, "was": job.state, "run": values.get("run", job.run)}
    if state in rules.TERMINAL and (end := values.get("exit", job.exit)) is not None:
        facts["exit_code"] = end.get("code")
    ctx.about("job", job.id, job.session, action=OBSERVED, **facts)
    if state in rules.TERMINAL:
        # What was wished of it and not passed on by now is nobody's to pass on any more.
        ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(log_done=True, wish=None))
        ctx.publish(f"log:{job.id}", {"done": True})
        if job.workflow is not None and event != "inputs_impossible":
            if retrying.again(ctx, job, state) is not None:
                look_at_queue(ctx)
            _advance(ctx, job.workflow)
    leaves_a_place = job.backend == LOCAL and job.state in rules.OCCUPYING and state not in rules.OCCUPYING
    if state == "QUEUED" or leaves_a_place:
        look_at_queue(ctx)
    return state


def look_at_queue(ctx: Context) -> None:
    """Have somebody decide who starts next, unless somebody will who has not begun: they see what is written here.

    The row is held until this unit of work ends, so that they cannot begin before; one being begun is passed by.
    """
    if ctx.execute(_LOOKED_AT, {"now": ctx.now}).first() is None:
        ctx.enqueue(PLACE, LOCAL, queue=LOCAL)


def running_by_person(scope: Scope) -> dict[str, int]:
    """How many places of this machine each person takes up."""
    rows = scope.execute(
        sa.select(jobs.c.submitted_by, sa.func.count().label("running"))
        .where(jobs.c.state.in_(rules.OCCUPYING), jobs.c.backend == LOCAL)
        .group_by(jobs.c.submitted_by)
    )
    return {row.submitted_by: row.running for row in rows}


@steps.runs(PLACE)
def place_jobs(step: steps.Step, house: House) -> None:
    """Give the free places to those whose turn it is."""

    def work(ctx: Context) -> None:
        ctx.tx.insert_new(backends, name=LOCAL)
        ctx.execute(sa.select(backends.c.name).where(backends.c.name == LOCAL).with_for_update())
        for job_id in _turns(ctx, house.settings):
            job = lock(ctx, job_id)
            if job is None or job.state != "QUEUED":
                continue
            run = job.run + 1
            happen(ctx, job, "placed", run=run, placed_at=ctx.now)
            ctx.enqueue(START, job.id, queue=LOCAL, run=run)
        for after, job_id in enumerate(_for_clusters(ctx)):
            job = lock(ctx, job_id)
            if job is not None and job.state == "QUEUED":
                # An agent hands them on by this time; those that are placed together keep their order.
                at = ctx.now + dt.timedelta(microseconds=after)
                happen(ctx, job, "placed", run=job.run + 1, placed_at=at, native=None, waits_for=None)
                ctx.publish(f"agent:{job.account}", {"job": job.id})
        steps.finish(ctx.tx, step, ctx.now)

    record(house, OBSERVED, work)


def _for_clusters(scope: Scope) -> list[str]:
    """What goes to a cluster does not wait here; who used less of it lately is handed on first."""
    places = scope.execute(
        sa.select(jobs.c.backend).where(jobs.c.state == "QUEUED", jobs.c.account.is_not(None)).distinct()
    )
    return [each.job for backend in sorted(places.scalars()) for each in turns.line(scope, backend).order]


def _turns(scope: Scope, settings: Settings) -> list[str]:
    return placement.startable(
        turns.line(scope).order,
        running_by_person(scope),
        per_person=settings.running_jobs_per_person,
        in_all=settings.running_jobs,
    )


def _advance(ctx: Context, workflow: str) -> None:
    """Start the steps whose inputs are all there, and fail those whose inputs will never come."""
    rows = ctx.execute(sa.select(jobs).where(jobs.c.workflow == workflow).order_by(jobs.c.number).with_for_update())
    by_id = {row.id: row for row in rows}
    states: dict[str, State] = {row.id: row.state for row in by_id.values()}
    changed = True
    while changed:  # a step that fails for its inputs fails those that wait for it
        changed = False
        for job in by_id.values():
            if states[job.id] != "WAITING":
                continue
            fault = _fault(ctx, job, by_id, states)
            if fault:
                states[job.id] = happen(ctx, job, "inputs_impossible", fault, ended_at=ctx.now)
                changed = True
            elif all(states[each] in rules.TERMINAL for each in job.after):
                inputs = _with_made(ctx, job)
                states[job.id] = happen(ctx, job, "inputs_arrived", inputs=inputs, queued_at=ctx.now)
                thoughts.begins(ctx, job.id)


def _fault(ctx: Context, job: Job, by_id: dict[str, Job], states: dict[str, State]) -> str:
    """Why a step can never start; empty while it can."""
    for each in job.after:
        if states[each] in rules.TERMINAL and states[each] != "SUCCEEDED":
            return f"Not started, because {by_id[each].step} (job {by_id[each].number}) ended {states[each]}."
    for path, producer in job.awaits.items():
        if states[producer] in rules.TERMINAL and _made_by(ctx, producer, path) is None:
            maker = by_id[producer]
            return f"Not started, because {maker.step} (job {maker.number}) ended without making {path}."
    return ""


def _made_by(ctx: Context, producer: str, path: str) -> sa.Row[Any] | None:
    return ctx.execute(
        sa.select(version_table)
        .where(version_table.c.job == producer, version_table.c.path == path)
        .order_by(version_table.c.number.desc())
        .limit(1)
    ).first()


def _with_made(ctx: Context, job: Job) -> list[dict[str, Any]]:
    """The pinned inputs, and now also what the steps before have made: the awaited files, or all of a named step."""
    inputs = {each["path"]: each for each in job.inputs}
    awaited = set(job.awaits.values())
    for path, producer in job.awaits.items():
        made = _made_by(ctx, producer, path)
        assert made is not None
        inputs[path] = pinned(made)
    for producer in job.after:
        if producer not in awaited:
            made_rows = ctx.execute(
                sa.select(version_table).where(version_table.c.job == producer, version_table.c.kind == "stored")
            )
            for made in made_rows:
                inputs.setdefault(made.path, pinned(made))
    return list(inputs.values())


def pinned(version: versions.Pinned | sa.Row[Any]) -> dict[str, Any]:
    """An input as a job's row keeps it."""
    version_id = version.version if isinstance(version, versions.Pinned) else version.id
    return {"path": version.path, "version": version_id, "digest": version.digest, "size": version.size}
