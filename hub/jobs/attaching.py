"""To watch a job that its owner submitted to a cluster by other means: the hub looks on, and touches nothing.

Its record is a job like others, so that it is seen, followed and told of in the same places. It has no script, takes no
files and brings none home; it is ended, held or started again only when its owner says so.
"""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, NotFound
from hub.core.ids import new_id
from hub.jobs import names, steering, submission, transitions, views
from hub.jobs.clusters import choosing
from hub.jobs.clusters.rules import Account
from hub.jobs.clusters.views import kind_of
from hub.jobs.requests import Environment, Resources
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import jobs

UNWATCHED = "No longer watched: it was left to itself on its cluster, and how it ends is not known here."
NOTE = "Submitted outside the hub, which only looks on: no file of it is fetched."


class WatchJob(Action, frozen=True, tag="job_watch"):
    """Watch a job of your own account on a cluster that was submitted by other means: its state and its log."""

    cluster: Annotated[str, Meta(min_length=1, max_length=64)]
    native: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,11}(_[0-9]{1,9})?$")]
    session_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


@handles(WatchJob, needs="job:submit")
def watch_job(act: WatchJob, ctx: Context) -> views.JobView:
    """Asked again while it is watched, or for a job that the hub submitted, the answer is the record there is."""
    session = ctx.access.session(act.session_id, "job:submit")
    account = _account(ctx, act.cluster)
    known = ctx.execute(
        sa.select(jobs.c.id, jobs.c.session, jobs.c.state).where(
            jobs.c.account == account.id, jobs.c.native == act.native, jobs.c.state.not_in(TERMINAL)
        )
    ).first()
    if known is not None and ctx.access.may(known.session, "job:read"):
        ctx.about("job", known.id, known.session, state=known.state)
        return views.job(ctx, known.id)
    submission.check_queue(ctx, 1)
    job = new_id("job")
    number = names.next_numbers(ctx, session, 1)[0]
    ctx.execute(sa.insert(jobs).values(**_row(act, ctx, account), id=job, session=session, number=number))
    ctx.about("job", job, session, number=number, state="SUBMITTING", account=account.id)
    ctx.publish(f"agent:{account.id}", {"job": job})
    return views.job(ctx, job)


class UnwatchJob(Action, frozen=True, tag="job_unwatch"):
    """Stop watching a job that was submitted outside the hub; it goes on there, and nobody here learns how it ends."""

    job: Annotated[str, Meta(min_length=1, max_length=300)]


@handles(UnwatchJob, needs="job:cancel")
def unwatch_job(act: UnwatchJob, ctx: Context) -> views.JobView:
    """Only whoever watches it; what is asked of its cluster already is left to happen."""
    job_id = ctx.access.find("job", act.job, "job:cancel")
    job = transitions.lock(ctx, job_id)
    assert job is not None
    steering.own(ctx, job, "only they can stop watching it")
    if not job.attached:
        raise Conflict(
            f"job {job.number} was submitted by the hub, which looks after it to its end",
            code="not_attached",
            path="$.params.job",
            hint="`job cancel` ends it; `notify none` says nothing of it any more",
        )
    if job.state in TERMINAL:
        raise Conflict(f"job {job.number} is watched no more", code="job_is_over", path="$.params.job")
    ctx.about("job", job.id, job.session, state=job.state)
    own = ctx.lines[-1]
    transitions.happen(ctx, job, "lost", UNWATCHED, ended_at=ctx.now)
    # The answer carries the line of the action, which is its last.
    ctx.lines = [*(line for line in ctx.lines if line is not own), own]
    ctx.publish(f"agent:{job.account}", {"job": job.id})
    return views.job(ctx, job_id)


def _account(ctx: Context, cluster: str) -> Account:
    """The actor's own, tested account there. Raises NotFound, and Conflict for a cluster without Slurm."""
    found = [each for each in choosing.usable(ctx, ctx.actor.id) if each.cluster == cluster]
    if not found:
        raise NotFound(
            f"you have no tested account on a cluster called {cluster[:60]!r}",
            code="account_not_found",
            path="$.params.cluster",
            hint="`cluster join NAME LOGIN` makes one",
        )
    if kind_of(ctx, found[0].id) != "slurm":
        raise Conflict(f"{cluster} is no Slurm cluster", code="cannot_honour", path="$.params.cluster")
    return found[0]


def _row(act: WatchJob, ctx: Context, account: Account) -> dict[str, Any]:
    """As if it had been handed to its scheduler already, which then tells how it stands."""
    return {
        "name": f"{account.cluster}:{act.native}",
        "state": "SUBMITTING",
        "reason": f"Being looked for on {account.cluster}.",
        "job_type": "slurm",
        "backend": account.cluster,
        "account": account.id,
        "native": act.native,
        "attached": True,
        "submitted_by": ctx.actor.id,
        "submitted_at": ctx.now,
        "queued_at": ctx.now,
        "run": 1,
        "script_kind": "none",
        "script_digest": "",
        "interpreter": (),
        "args": (),
        "env": {},
        "inputs": [],
        "outputs": (),
        "resources": Resources(),
        "environment": Environment(),
        "after": [],
        "awaits": {},
        "notes": [NOTE],
    }
