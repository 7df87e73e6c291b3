"""What can be done with a job that has not ended, beside ending it: hold it back, release it, start it again.

In the hub's own queue that is done at once. Of a job that a cluster has, the wish is written down and its agent passes
it on, as it does with a cancellation: once or twice, to the same effect. Only the newest wish counts.
"""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, NotAllowed
from hub.jobs import rules, transitions, views
from hub.jobs.clusters.views import kind_of
from hub.jobs.rules import Wish
from hub.jobs.tables import jobs
from hub.jobs.transitions import Job

JobRef = Annotated[str, Meta(min_length=1, max_length=300)]


class HoldJob(Action, frozen=True, tag="job_hold"):
    """Hold a job back that has not started, until somebody releases it."""

    job: JobRef


class ReleaseJob(Action, frozen=True, tag="job_release"):
    """Release a job that is held back."""

    job: JobRef


class RequeueJob(Action, frozen=True, tag="job_requeue"):
    """Take your running job off its node and back into its cluster's queue, to start again from its beginning."""

    job: JobRef


@handles(HoldJob, needs="job:cancel")
def hold_job(act: HoldJob, ctx: Context) -> views.JobView:
    """Others' jobs need the right to cancel any; one that is held already stays as it is."""
    return _wish(ctx, act.job, "hold")


@handles(ReleaseJob, needs="job:cancel")
def release_job(act: ReleaseJob, ctx: Context) -> views.JobView:
    """As to hold it."""
    return _wish(ctx, act.job, "release")


@handles(RequeueJob, needs="job:cancel")
def requeue_job(act: RequeueJob, ctx: Context) -> views.JobView:
    """Only one's own: it runs again on its submitter's account."""
    return _wish(ctx, act.job, "requeue")


def own(ctx: Context, job: Job, said: str) -> None:
    """Raises NotAllowed unless the actor submitted it, or watches it as theirs."""
    if job.submitted_by != ctx.actor.id:
        raise NotAllowed(f"job {job.number} is somebody else's; {said}", code="not_your_job")


def _wish(ctx: Context, ref: str, wish: Wish) -> views.JobView:
    job_id = ctx.access.find("job", ref, "job:cancel")
    job = transitions.lock(ctx, job_id)
    assert job is not None
    if job.submitted_by != ctx.actor.id:
        ctx.access.find("job", job_id, "job:cancel_any")
    if wish == "requeue" or job.attached:
        own(ctx, job, "only they can ask that of its cluster")
    _refuse(ctx, job, wish)
    ctx.about("job", job.id, job.session, state=job.state, number=job.number)
    line = ctx.lines[-1]
    match rules.GRANTED[wish][job.state]:
        case "held" | "released" as event:
            transitions.happen(ctx, job, event)
            # The answer carries the line of the action, which is its last.
            ctx.lines = [*(each for each in ctx.lines if each is not line), line]
        case "there":
            _write_down(ctx, job, wish)
    return views.job(ctx, job_id)


def _refuse(ctx: Context, job: Job, wish: Wish) -> None:
    """Raises Conflict where this cannot be wished of this job now."""
    if (refused := rules.refusal(wish, job.state)) is not None:
        raise Conflict(f"job {job.number}: {refused.said}", code=refused.code, hint=refused.hint)
    if job.cancel_asked_at is not None:
        raise Conflict(f"job {job.number} is being cancelled", code="job_being_cancelled")
    if rules.GRANTED[wish][job.state] == "there" and wish not in rules.ASKED_THERE.get(kind_of(ctx, job.account), ()):
        raise Conflict(
            f"job {job.number} is on {job.backend} already, which can be asked for no {wish}",
            code="cannot_honour",
            hint="`job cancel` ends it; submit it again to have it run again",
        )


def _write_down(ctx: Context, job: Job, wish: Wish) -> None:
    """For the agent of its account; the same wish, while it waits to be passed on, is one."""
    if job.wish == wish:
        return
    values: dict[str, Any] = {"wish": wish, "wish_number": job.wish_number + 1}
    ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**values))
    ctx.publish(f"agent:{job.account}", {"job": job.id})
