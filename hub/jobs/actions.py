"""What can be done with jobs: submit one, submit a workflow, cancel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput
from hub.core.ids import new_id
from hub.jobs import collection, names, rules, starting, submission, transitions, views, workflows
from hub.jobs.requests import Environment, Resources
from hub.jobs.tables import jobs
from hub.jobs.tables import workflows as workflow_table

__all__ = ["CancelJob", "SubmitJob", "SubmitWorkflow", "collection", "names", "starting"]

JobType = Literal["slurm", "kubernetes", "local", "auto"]
SessionRef = Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARACTERS)]
Path = Annotated[str, Meta(min_length=1, max_length=limits.PATH_BYTES + 200)]
Paths = Annotated[tuple[Path, ...], Meta(max_length=limits.COLLECT_FILES)]
Script = Annotated[str, Meta(min_length=1, max_length=limits.SCRIPT_BYTES)]
Word = Annotated[str, Meta(max_length=4096)]
Args = Annotated[tuple[Word, ...], Meta(max_length=1000)]
Variables = Annotated[
    dict[Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)], Word], Meta(max_length=200)
]


class SubmitJob(Action, frozen=True, tag="job_submit"):
    """Submit a batch job: a script written out or the path of one, its inputs and what it needs."""

    script: Script
    session_id: SessionRef | None = None
    name: Name | None = None
    job_type: JobType = "auto"
    args: Args = ()
    env: Variables = msgspec.field(default_factory=dict)
    artifacts: Paths = ()
    outputs: Paths = ()
    resources: Resources = Resources()
    environment: Environment = Environment()
    workdir: Path | None = None


class WorkflowStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step: it starts when the steps and files it depends on are there."""

    step: Annotated[str, Meta(min_length=1, max_length=200)]
    script: Script
    dependencies: Paths = ()
    outputs: Paths = ()
    args: Args = ()
    env: Variables = msgspec.field(default_factory=dict)
    resources: Resources | None = None
    environment: Environment | None = None


class SubmitWorkflow(Action, frozen=True, tag="job_submit"):
    """Submit steps that depend on each other; each becomes a job."""

    workflow: Annotated[tuple[WorkflowStep, ...], Meta(min_length=1, max_length=limits.WORKFLOW_STEPS)]
    session_id: SessionRef | None = None
    name: Name | None = None
    job_type: JobType = "auto"
    artifacts: Paths = ()
    resources: Resources = Resources()
    environment: Environment = Environment()


class CancelJob(Action, frozen=True, tag="job_cancel"):
    """End a job, or take it out of the queue."""

    job: Annotated[str, Meta(min_length=1, max_length=300)]


@handles(SubmitJob, needs="job:submit")
def submit_job(act: SubmitJob, ctx: Context) -> views.JobView:
    """Record the job with its script and inputs pinned, and have somebody look at the queue."""
    session = ctx.access.session(act.session_id, "job:submit")
    submission.check_backend(act.job_type, act.resources, act.environment)
    submission.check_queue(ctx, 1)
    script = submission.script(ctx, session, act.script, "$.params.script")
    job = submission.Submission(
        session=session,
        name=act.name or script.name,
        job_type=act.job_type,
        script=script,
        args=act.args,
        env=act.env,
        inputs=submission.inputs(ctx, session, act.artifacts, script, "$.params.artifacts"),
        outputs=submission.declared(act.outputs, "$.params.outputs"),
        resources=act.resources,
        environment=act.environment,
        workdir=submission.workdir(act.workdir),
    )
    number = names.next_numbers(ctx, session, 1)[0]
    job_id = submission.add(ctx, job, new_id("job"), number)
    transitions.look_at_queue(ctx)
    return views.job(ctx, job_id)


def _scripts(act: SubmitWorkflow, ctx: Context, session: str) -> tuple[list[submission.PinnedScript], list[str]]:
    """The steps' scripts, and every one that is no file of the session: all are named in one answer."""
    found, unknown = [], []
    for index, step in enumerate(act.workflow):
        try:
            found.append(submission.script(ctx, session, step.script, f"$.params.workflow[{index}].script"))
        except InvalidInput as fault:
            if fault.code != "unknown_artifacts":
                raise
            unknown.append(f"{fault.path}: {', '.join(fault.errors)}")
    return found, unknown


def _plans(act: SubmitWorkflow, existing: Mapping[str, dict[str, Any]], unknown: list[str]) -> list[workflows.StepPlan]:
    """The plan of the steps. Raises InvalidInput with every file that is missing, the scripts' too."""
    message, path, faults = "the session has no such scripts", "", list(unknown)
    plans: list[workflows.StepPlan] = []
    try:
        plans = workflows.plan(
            [
                workflows.StepWish(
                    step.step,
                    submission.normal(step.dependencies),
                    submission.declared(step.outputs, f"$.params.workflow[{index}].outputs"),
                )
                for index, step in enumerate(act.workflow)
            ],
            existing,
        )
    except workflows.BadWorkflow as fault:
        message, path = str(fault), f"$.params.{fault.path}"
        faults = [f"$.params.{each}" for each in fault.errors] + unknown
    if path or faults:
        raise InvalidInput(
            message,
            code="bad_workflow",
            path=path or unknown[0].partition(":")[0],
            errors=faults,
            hint="upload missing files first, or name them among the `outputs` of the step that makes them",
        )
    return plans


@handles(SubmitWorkflow, needs="job:submit", when="workflow")
def submit_workflow(act: SubmitWorkflow, ctx: Context) -> views.WorkflowView:
    """Plan all steps, record each as a job that waits for its inputs, and start those that wait for nothing."""
    session = ctx.access.session(act.session_id, "job:submit")
    for step in act.workflow:
        submission.check_backend(
            act.job_type, step.resources or act.resources, step.environment or act.environment, step.step
        )
    submission.check_queue(ctx, len(act.workflow))
    shared = submission.inputs(ctx, session, act.artifacts, None, "$.params.artifacts")
    existing = submission.existing(ctx, session, [name for step in act.workflow for name in step.dependencies])
    scripts, unknown = _scripts(act, ctx, session)
    plans = _plans(act, existing, unknown)
    workflow = new_id("wf")
    name = act.name or f"{act.workflow[0].step} to {act.workflow[-1].step}"[: limits.TITLE_CHARACTERS]
    ctx.execute(
        sa.insert(workflow_table).values(
            id=workflow, session=session, name=name, submitted_by=ctx.actor.id, submitted_at=ctx.now
        )
    )
    ids = {step.step: new_id("job") for step in act.workflow}
    for number, step, plan, script in zip(
        names.next_numbers(ctx, session, len(plans)), act.workflow, plans, scripts, strict=True
    ):
        own = [existing[path] for path in plan.inputs]
        job = submission.Submission(
            session=session,
            name=f"{name}: {step.step}"[: limits.TITLE_CHARACTERS],
            job_type=act.job_type,
            script=script,
            args=step.args,
            env=step.env,
            inputs=submission.together([*shared, *own], script, "$.params.workflow"),
            outputs=submission.declared(step.outputs, "$.params.workflow"),
            resources=step.resources or act.resources,
            environment=step.environment or act.environment,
            workflow=workflow,
            step=step.step,
            after=[ids[each] for each in plan.after],
            awaits={path: ids[maker] for path, maker in plan.awaits.items()},
        )
        submission.add(ctx, job, ids[step.step], number)
    transitions.look_at_queue(ctx)
    return views.workflow(ctx, workflow)


@handles(CancelJob, needs="job:cancel")
def cancel_job(act: CancelJob, ctx: Context) -> views.JobView:
    """Cancel at once what has not started; ask what runs to end. Others' jobs need the right to cancel any."""
    job_id = ctx.access.find("job", act.job, "job:cancel")
    job = transitions.lock(ctx, job_id)
    assert job is not None
    if job.submitted_by != ctx.actor.id:
        ctx.access.find("job", job_id, "job:cancel_any")
    if job.state in rules.TERMINAL or job.state == "COLLECTING":
        raise Conflict(
            f"job {job.number} has ended already: {rules.sentence(job.state, job.reason)}", code="job_is_over"
        )
    ctx.about("job", job.id, job.session, state=job.state)
    if job.cancel_asked_at is None:
        asked = {"cancel_asked_at": ctx.now, "cancel_asked_by": ctx.actor.id}
        if "cancelled" in rules.TRANSITIONS[job.state] and job.state not in rules.OCCUPYING:
            reason = "Cancelled before it started."
            transitions.happen(ctx, job, "cancelled", reason, ended_at=ctx.now, **asked)
            ctx.lines.reverse()  # The answer carries the line of the action, which is its last.
        else:
            ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**asked))
    return views.job(ctx, job_id)
