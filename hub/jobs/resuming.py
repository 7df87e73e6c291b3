"""Resuming a workflow without writing its steps out again: they are read from the jobs it was made of.

Each step is taken as it was submitted, with its script and its files as their paths hold them now; what stands is kept,
as when the steps are sent again with `resume`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context, Scope
from hub.core.errors import Conflict
from hub.core.keys import unseal
from hub.jobs import standing, views
from hub.jobs.actions import Budget, Confirmed, Makers, SubmitWorkflow, Within, WorkflowStep, record_steps, wished_steps
from hub.jobs.requests import Environment, Resources
from hub.jobs.step_tables import workflow_steps
from hub.jobs.tables import workflows
from hub.jobs.transitions import Job


class ResumeWorkflow(Action, frozen=True, tag="workflow_resume"):
    """Run a workflow again from the first steps that no longer stand, with its scripts and files as they are now.

    `within` and `budget` are of the steps that run again, together; those of the workflow before count no more.
    """

    workflow: Annotated[str, Meta(min_length=1, max_length=300)]
    within: Within | None = None
    budget: Budget | None = None
    confirm: Confirmed = None


@handles(ResumeWorkflow, needs="job:submit")
def resume_workflow(act: ResumeWorkflow, ctx: Context) -> views.WorkflowView:
    """As if its steps were sent again with `resume`; the new workflow is the actor's own."""
    found = ctx.access.find("workflow", act.workflow, "job:submit")
    again, makers = written(ctx, found, act.confirm)
    again = msgspec.structs.replace(again, within=act.within, budget=act.budget)
    return record_steps(again, ctx, wished_steps(again, ctx, makers))


def written(scope: Scope, workflow: str, confirm: Confirmed = None) -> tuple[SubmitWorkflow, Makers]:
    """The submission a workflow can be resumed by, and which step made what. Raises Conflict while it runs."""
    row = scope.execute(sa.select(workflows).where(workflows.c.id == workflow)).one()
    former = standing.former(scope, workflow)
    tries = {
        each.step: each.retries
        for each in scope.execute(sa.select(workflow_steps).where(workflow_steps.c.workflow == workflow))
    }
    in_order = sorted(former.by_step.values(), key=lambda job: int(job.number))
    first = in_order[0]
    if any((job.job_type, job.account) != (first.job_type, first.account) for job in in_order):
        raise Conflict(
            "its steps went to different places, so it can only be resumed with its steps written out",
            code="cannot_be_resumed",
            path="$.params.workflow",
            hint="send the steps again by job_submit, with `resume`",
        )
    steps, makers = [], {}
    for job in in_order:
        needs = _needs(former, job)
        steps.append(_step(scope, job, needs, tries.get(str(job.step), 0)))
        makers[str(job.step)] = {path: step for path, step in needs.items() if step}
    again = SubmitWorkflow(
        workflow=tuple(steps),
        session_id=row.session,
        name=row.name,
        job_type=first.job_type,
        cluster=None if first.account is None else first.backend,
        resume=workflow,
        confirm=confirm,
    )
    return again, makers


def _step(scope: Scope, job: Job, needs: dict[str, str], retries: int) -> WorkflowStep:
    text = job.script_path
    if job.script_sealed is not None:
        text = unseal(scope.house.keys.domain(job.session), job.script_sealed, f"script:{job.id}").decode()
    return WorkflowStep(
        step=job.step,
        script=text,
        dependencies=tuple(needs),
        outputs=tuple(job.outputs),
        fetch=tuple(job.fetch_patterns or ()),
        args=tuple(job.args),
        env=dict(job.env),
        resources=msgspec.convert(job.resources, Resources),
        environment=msgspec.convert(job.environment, Environment),
        retries=retries,
    )


def _needs(former: standing.Former, job: Job) -> dict[str, str]:
    """What a step waited for or was given: steps and files, and of a file the step that makes it, if one does."""
    step_of = {row.id: str(step) for step, row in former.by_step.items()}
    given = {each["path"] for each in job.inputs}
    made: set[str] = set()
    needs: dict[str, str] = {}
    for step in sorted(former.after.get(str(job.step), ())):
        files = former.made_by(step).keys()
        own = sorted(path for path, maker in job.awaits.items() if step_of.get(maker) == step)
        # A step that was kept is no more waited for; that some of its files were given says they were named.
        own = own or (sorted(files & given) if files - given else [])
        needs |= dict.fromkeys(own, step) if own else {step: ""}
        made |= files | set(own)
    return needs | dict.fromkeys(sorted(given - made - {job.script_path}), "")
