"""A job that waits longer than was promised: its place is thought over, and it moves only if it surely has not started.

From this machine's own queue it moves at once. On a cluster its agent first takes the run's lock for nobody, which no
job of Slurm's can pass then; only after that it is placed anew, as its next run. Should it have started meanwhile, it
stays, and everything is as if nobody had thought of it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.blobs import BlobStore
from hub.core import steps
from hub.core.context import Context
from hub.core.house import House
from hub.core.keys import unseal
from hub.jobs import planning, plans, quotas, thoughts, transitions
from hub.jobs.backends.slurm_wish import directives
from hub.jobs.clusters.rules import Target
from hub.jobs.economy import Plan
from hub.jobs.offers import Place, Wanted
from hub.jobs.plan_tables import job_plans
from hub.jobs.planning import Again, Promise
from hub.jobs.requests import Environment, Resources
from hub.jobs.tables import jobs
from hub.jobs.transitions import Job
from hub.perform import record

AGAIN = dt.timedelta(seconds=planning.AGAIN_SECONDS)
# How often the other schedulers are waited for, and how long.
LOOKS, LOOK_SECONDS = 4, 5.0
HEAD_BYTES = 64 << 10


def told(ctx: Context, job: Job, starts_at: float) -> None:
    """What a scheduler says of a waiting job's start; when the promise slips by it, its place is thought over."""
    row = _plan(ctx, job.id) if starts_at else None
    if row is None or row.offers is None or row.going is not None:
        return
    starts = dt.datetime.fromtimestamp(starts_at, dt.UTC)
    if starts == row.starts_at:
        return
    word = planning.heard(
        _from_now(ctx.now, row.ends_at),
        (starts - ctx.now).total_seconds(),
        plans.run_seconds(row),
        None if row.thought_at is None else (ctx.now - row.thought_at).total_seconds(),
    )
    values: dict[str, Any] = {"starts_at": starts}
    if row.ends_at is None:
        values["ends_at"] = ctx.now + dt.timedelta(seconds=word.ends_in)
    if word.thinks:
        values["thought_at"] = ctx.now
        thoughts.at(ctx, job.id, ctx.now)
    ctx.execute(sa.update(job_plans).where(job_plans.c.job == job.id).values(**values))


def goes(ctx: Context, job: Job) -> dict[str, Any]:
    """It can no longer start where it waited: the columns of its new place, if it was on its way to one."""
    row = _plan(ctx, job.id)
    if row is None or row.going is None:
        return {}
    going = row.going
    _settle(ctx, job.id, row, going)
    return {"backend": going["backend"], "account": going["account"], "native": None, "waits_for": None}


def stays(ctx: Context, job: Job) -> None:
    """It has started, before it could be moved."""
    ctx.execute(
        sa.update(job_plans)
        .where(job_plans.c.job == job.id, job_plans.c.going.is_not(None))
        .values(going=None, said="It started before it could be moved.")
    )


@steps.runs(thoughts.THINK)
def think_again(step: steps.Step, house: House) -> None:
    """Whether a job that still waits goes elsewhere; other schedulers are asked first, and waited for a little."""
    with house.db.read() as conn:
        job = conn.execute(sa.select(jobs).where(jobs.c.id == step.object)).first()
    want = None if job is None or not _waits(job) else _wanted(house, job)
    asking: list[Place] = []

    def work(ctx: Context) -> None:
        asking.clear()
        now = None if job is None else transitions.lock(ctx, job.id)
        row = None if job is None else _plan(ctx, job.id)
        if want is None or row is None or row.going is not None or now is None or not _is_same(now, job):
            steps.finish(ctx.tx, step, ctx.now)
            return
        places = [_as_it_waits(ctx, each, now, row) for each in plans.places_of(ctx, want)]
        asking.extend(each for each in places if each.question is not None)
        if asking and step.attempt <= LOOKS:
            plans.ask(ctx.tx, asking, ctx.now)
            return
        asking.clear()  # what did not answer by now is judged by what is known
        _decide(ctx, step, now, row, places)
        steps.finish(ctx.tx, step, ctx.now)

    record(house, transitions.OBSERVED, work)
    for each in asking:
        house.bus.publish(f"agent:{each.target.account}", {"estimate": True})
    if asking:
        raise steps.Retry("schedulers are asked", LOOK_SECONDS)


def _decide(ctx: Context, step: steps.Step, job: Job, row: Any, places: list[Place]) -> None:
    made = plans.plan(places, _terms(ctx.now, row))
    again = _again(ctx.now, job, row, made)
    if again.to is None:
        _thought(ctx, job.id, said="" if _on_time(again) else again.why)
        thoughts.at(ctx, job.id, ctx.now + AGAIN, instead_of=step.id)
        return
    place = next(each for each in places if each.offer.backend == again.to)
    settled = plans.Settled(place=place, terms=plans.Terms())
    over, _ = quotas.judge(ctx, job.session, [settled], job.submitted_by)
    if over:
        _thought(ctx, job.id, said=f"{again.why} A quota keeps it from going there: {over[0]}")
        thoughts.at(ctx, job.id, ctx.now + AGAIN, instead_of=step.id)
        return
    going = _going(ctx.now, place, made, again)
    ctx.about("job", job.id, job.session, action=transitions.OBSERVED, state=job.state, run=job.run, goes=again.why)
    if job.state == "QUEUED":
        _settle(ctx, job.id, row, going, thought=step.id)
        place_values = {"backend": going["backend"], "account": going["account"]}
        ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**place_values))
        transitions.look_at_queue(ctx)
        return
    _thought(ctx, job.id, said=again.why, going=going)
    ctx.publish(f"agent:{job.account}", {"job": job.id})


def _again(now: dt.datetime, job: Job, row: Any, made: Plan) -> Again:
    ends_in = _from_now(now, row.ends_at)
    if ends_in is None:
        # Nothing was promised, since nobody could tell: what was hoped for is a start as soon as it was queued.
        ends_in = ((job.queued_at or job.submitted_at) - now).total_seconds() + plans.run_seconds(row)
    return planning.reconsider(Promise(job.backend, ends_in, row.moves), made)


def _on_time(again: Again) -> bool:
    return again.why == planning.ON_TIME


def _going(now: dt.datetime, place: Place, made: Plan, again: Again) -> dict[str, Any]:
    chosen = next(each for each in made.candidates if each.backend == place.offer.backend)
    ends = None if chosen.ends_in is None else (now + dt.timedelta(seconds=chosen.ends_in)).timestamp()
    return {
        "backend": place.target.backend,
        "account": place.target.account,
        "plan": {**plans.charges(place), "why": again.why},
        "offers": msgspec.to_builtins(list(made.candidates)),
        "ends_at": ends,
    }


def _settle(ctx: Context, job: str, row: Any, going: dict[str, Any], thought: str = "") -> None:
    """The new place is the one it has now; it counts as one move more, and is watched like the first."""
    ends = None if going["ends_at"] is None else dt.datetime.fromtimestamp(going["ends_at"], dt.UTC)
    ctx.execute(
        sa.update(job_plans)
        .where(job_plans.c.job == job)
        .values(
            **going["plan"],
            offers=going["offers"],
            ends_at=ends,
            starts_at=None,
            thought_at=ctx.now,
            moves=row.moves + 1,
            going=None,
            said="",
        )
    )
    thoughts.at(ctx, job, ctx.now + AGAIN, instead_of=thought)


def _thought(ctx: Context, job: str, **values: Any) -> None:
    ctx.execute(sa.update(job_plans).where(job_plans.c.job == job).values(thought_at=ctx.now, **values))


def _as_it_waits(ctx: Context, place: Place, job: Job, row: Any) -> Place:
    """The place where it waits is judged by what its scheduler says of this very job."""
    if place.target != Target(job.backend, job.account):
        return place
    starts = place.offer.starts_in
    if job.account is not None:
        starts = None if row.starts_at is None else max(0.0, (row.starts_at - ctx.now).total_seconds())
    return msgspec.structs.replace(place, offer=planning.as_it_waits(place.offer, starts), question=None)


def _terms(now: dt.datetime, row: Any) -> plans.Terms:
    return plans.Terms(within=_from_now(now, row.deadline), budget=row.budget)


def _waits(job: Job) -> bool:
    """Where it can still be moved. The tasks of an array have a lock each, and are never moved."""
    queued_here = job.state == "QUEUED" and job.account is None
    pending = job.state == "PENDING" and job.account is not None
    return (queued_here or pending) and job.cancel_asked_at is None and not job.resources.get("array")


def _is_same(now: Job, before: Job | None) -> bool:
    return (
        before is not None
        and _waits(now)
        and (now.state, now.run, now.backend)
        == (
            before.state,
            before.run,
            before.backend,
        )
    )


def _wanted(house: House, job: Job) -> Wanted | None:
    """What was submitted, as it is placed again. None where its script can no longer be read."""
    try:
        said = tuple(directives(_head(house, job)))
    except ValueError:
        return None
    if any(each.name == "array" for each in said):
        return None
    return Wanted(
        person=job.submitted_by,
        session=job.session,
        resources=msgspec.convert(job.resources, Resources),
        environment=msgspec.convert(job.environment, Environment),
        said=said,
        script=job.script_digest,
        job=job.id if job.state == "QUEUED" else "",
    )


def _head(house: House, job: Job) -> str:
    if job.script_sealed is not None:
        text = unseal(house.keys.domain(job.session), job.script_sealed, f"script:{job.id}").decode()
        return text[:HEAD_BYTES]
    store = house.port(BlobStore)  # type: ignore[type-abstract]
    size = next(each["size"] for each in job.inputs if each["path"] == job.script_path)
    return b"".join(store.open(job.script_digest, job.session, 0, min(size, HEAD_BYTES))).decode(errors="replace")


def _plan(ctx: Context, job: str) -> Any | None:
    return ctx.execute(sa.select(job_plans).where(job_plans.c.job == job).with_for_update()).first()


def _from_now(now: dt.datetime, moment: dt.datetime | None) -> float | None:
    return None if moment is None else (moment - now).total_seconds()
