"""What can be done with jobs: submit one, submit a workflow, cancel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.context import Context, Scope
from hub.core.errors import Conflict, InvalidInput, NotAllowed
from hub.core.ids import new_id
from hub.jobs import (
    collection,
    moving,
    names,
    plans,
    quota_warnings,
    retrying,
    rules,
    seen,
    standing,
    starting,
    submission,
    thoughts,
    transitions,
    views,
    workflow_plans,
    workflows,
)
from hub.jobs.requests import Environment, Resources
from hub.jobs.step_tables import workflow_steps
from hub.jobs.tables import jobs
from hub.jobs.tables import workflows as workflow_table

__all__ = ["CancelJob", "SubmitJob", "SubmitWorkflow", "collection", "moving", "names", "starting"]

JobType = Literal["slurm", "kubernetes", "local", "auto"]
SessionRef = Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.TITLE_CHARACTERS)]
Path = Annotated[str, Meta(min_length=1, max_length=limits.PATH_BYTES + 200)]
Paths = Annotated[tuple[Path, ...], Meta(max_length=limits.COLLECT_FILES)]
ClusterName = Annotated[str, Meta(min_length=1, max_length=64)]
Script = Annotated[str, Meta(min_length=1, max_length=limits.SCRIPT_BYTES)]
Word = Annotated[str, Meta(max_length=4096)]
Digest = Annotated[str, Meta(pattern="^(sha256:)?[0-9a-f]{64}$")]
# The digests of scripts that somebody else changed and that shall run as they are now.
Confirmed = Digest | Annotated[tuple[Digest, ...], Meta(max_length=limits.WORKFLOW_STEPS)] | None
Args = Annotated[tuple[Word, ...], Meta(max_length=1000)]
Variables = Annotated[
    dict[Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)], Word], Meta(max_length=200)
]


Makers = Mapping[str, Mapping[str, str]]


Within = Word | Annotated[int, Meta(ge=1, le=366 * 1440)]
Budget = Annotated[float, Meta(ge=0, le=1e12)]


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
    fetch: Paths = ()  # those among them that come home however large they are
    resources: Resources = Resources()
    environment: Environment = Environment()
    cluster: ClusterName | None = None
    workdir: Path | None = None
    within: Within | None = None  # until it is to have ended
    budget: Budget | None = None
    agreed: ClusterName | None = None  # the place that was shown before; another one now is refused
    confirm: Confirmed = None


class WorkflowStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One step: it starts when the steps and files it depends on are there."""

    step: Annotated[str, Meta(min_length=1, max_length=200)]
    script: Script
    dependencies: Paths = ()
    outputs: Paths = ()
    fetch: Paths = ()
    args: Args = ()
    env: Variables = msgspec.field(default_factory=dict)
    resources: Resources | None = None
    environment: Environment | None = None
    retries: Annotated[int, Meta(ge=0, le=retrying.MOST_RETRIES)] = 0


class SubmitWorkflow(Action, frozen=True, tag="job_submit"):
    """Submit steps that depend on each other; each becomes a job.

    With `resume`, the id of an earlier workflow, the steps that stand as they ran there are kept and not run again.
    `within` and `budget` are of all steps together: the time is shared out along the critical path.
    """

    workflow: Annotated[tuple[WorkflowStep, ...], Meta(min_length=1, max_length=limits.WORKFLOW_STEPS)]
    session_id: SessionRef | None = None
    name: Name | None = None
    job_type: JobType = "auto"
    artifacts: Paths = ()
    resources: Resources = Resources()
    environment: Environment = Environment()
    cluster: ClusterName | None = None
    resume: Annotated[str, Meta(min_length=1, max_length=300)] | None = None
    within: Within | None = None
    budget: Budget | None = None
    confirm: Confirmed = None


class CancelJob(Action, frozen=True, tag="job_cancel"):
    """End a job, or take it out of the queue; with `downstream` also the steps of its workflow that wait for it."""

    job: Annotated[str, Meta(min_length=1, max_length=300)]
    downstream: bool = False


@handles(SubmitJob, needs="job:submit")
def submit_job(act: SubmitJob, ctx: Context) -> views.JobView:
    """Record the job with its script and inputs pinned, and have somebody look at the queue."""
    wished = wished_job(act, ctx)
    job, settled = wished.job, wished.settled
    seen.check(ctx, job.session, [wished.changed], act.confirm)
    warned = quota_warnings.check(ctx, job.session, [settled])
    number = names.next_numbers(ctx, job.session, 1)[0]
    job = msgspec.structs.replace(job, notes=[*job.notes, *warned])
    job_id = submission.add(ctx, job, new_id("job"), number, **plans.facts(settled))
    plans.record(ctx, job_id, settled)
    thoughts.watch(ctx, job_id, settled.plan)
    transitions.look_at_queue(ctx)
    return views.made(ctx, job_id)


class WishedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it would be recorded, where it goes and why, and what somebody else changed in its script."""

    job: submission.Submission
    settled: plans.Settled
    changed: seen.Changed | None


def wished_job(act: SubmitJob, scope: Scope) -> WishedJob:
    """What is to be recorded; nothing is written."""
    session = scope.access.session(act.session_id, "job:submit")
    first = submission.choose(scope, act.job_type, act.resources, act.environment, session=session, cluster=act.cluster)
    submission.check_queue(scope, 1)
    script = submission.script(scope, session, act.script, "$.params.script")
    want = submission.wanted(scope, session, script, act.resources, act.environment)
    terms = plans.terms(act.within, act.budget, act.agreed)
    settled = plans.settle(scope, want, first, terms)
    target = settled.place.target
    job = submission.Submission(
        session=session,
        name=act.name or script.name,
        job_type=act.job_type,
        script=script,
        args=act.args,
        env=act.env,
        inputs=submission.inputs(scope, session, act.artifacts, script, "$.params.artifacts"),
        outputs=submission.declared(act.outputs, "$.params.outputs"),
        fetch=submission.declared(act.fetch, "$.params.fetch"),
        resources=act.resources,
        environment=act.environment,
        target=target,
        notes=submission.notes(scope, session, target, act.resources, script),
        workdir=submission.workdir(act.workdir),
    )
    changed = seen.changed(scope, session, act.script, script.file, "$.params.script")
    return WishedJob(job=job, settled=settled, changed=changed)


def _scripts(act: SubmitWorkflow, ctx: Scope, session: str) -> tuple[list[submission.PinnedScript], list[str]]:
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


def _plans(
    act: SubmitWorkflow, existing: Mapping[str, dict[str, Any]], unknown: list[str], makers: Makers
) -> list[workflows.StepPlan]:
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
                    makers.get(step.step, {}),
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
    return record_steps(act, ctx, wished_steps(act, ctx))


def record_steps(act: SubmitWorkflow, ctx: Context, steps: WishedSteps) -> views.WorkflowView:
    """Record what was planned."""
    seen.check(ctx, steps.session, steps.changed, act.confirm)
    left = steps.left()
    warned = quota_warnings.check(ctx, steps.session, [steps.settled[name] for name in left])
    ctx.execute(
        sa.insert(workflow_table).values(
            id=steps.workflow,
            **steps.terms.columns(ctx.now),
            session=steps.session,
            name=steps.name,
            submitted_by=ctx.actor.id,
            submitted_at=ctx.now,
        )
    )
    for (name, job), number in zip(left.items(), names.next_numbers(ctx, steps.session, len(left)), strict=True):
        told = msgspec.structs.replace(job, notes=[*job.notes, *warned])
        submission.add(ctx, told, steps.ids[name], number, **plans.facts(steps.settled[name]))
        plans.record(ctx, steps.ids[name], steps.settled[name])
        if not told.after:
            thoughts.watch(ctx, steps.ids[name], steps.settled[name].plan)
    for step in act.workflow:
        if step.retries and step.step in left:
            ctx.execute(sa.insert(workflow_steps).values(workflow=steps.workflow, step=step.step, retries=step.retries))
    for name, former in steps.kept.items():
        takers = [plan.name for plan in steps.planned if name in plan.after]
        ctx.execute(
            sa.insert(workflow_steps).values(workflow=steps.workflow, step=name, kept=former.id, kept_for=takers)
        )
    transitions.look_at_queue(ctx)
    return views.workflow(ctx, steps.workflow)


class WishedSteps(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow as it would be recorded: its steps by name, those of an earlier one that stand, changed scripts."""

    workflow: str
    session: str
    name: str
    planned: list[workflows.StepPlan]
    ids: dict[str, str]
    wishes: dict[str, submission.Submission]
    settled: dict[str, plans.Settled]
    kept: Mapping[str, Any]
    before: standing.Former | None
    changed: list[seen.Changed | None]
    terms: plans.Terms = plans.Terms()
    to_place: Mapping[str, workflow_plans.StepToPlace] = {}

    def left(self) -> dict[str, submission.Submission]:
        """The steps that are to run, in their order."""
        return {
            plan.name: self.wishes[plan.name]
            if self.before is None
            else _without(self.wishes[plan.name], plan, self.kept, self.ids, self.before)
            for plan in self.planned
            if plan.name not in self.kept
        }


def wished_steps(act: SubmitWorkflow, ctx: Scope, makers: Makers | None = None) -> WishedSteps:
    """Plan all steps; nothing is written. `makers` says which step makes which file that a step waits for."""
    makers = makers or {}
    session = ctx.access.session(act.session_id, "job:submit")
    targets = [
        submission.choose(
            ctx,
            act.job_type,
            step.resources or act.resources,
            step.environment or act.environment,
            session=session,
            cluster=act.cluster,
            step=step.step,
        )
        for step in act.workflow
    ]
    submission.check_queue(ctx, len(act.workflow))
    shared = submission.inputs(ctx, session, act.artifacts, None, "$.params.artifacts")
    existing = submission.existing(ctx, session, [name for step in act.workflow for name in step.dependencies])
    before = None if act.resume is None else _former(act.resume, ctx, session)
    if before is not None:
        existing = {path: each for path, each in existing.items() if path not in before.first_made}
    scripts, unknown = _scripts(act, ctx, session)
    step_plans = _plans(act, existing, unknown, makers)
    workflow = new_id("wf")
    name = act.name or f"{act.workflow[0].step} to {act.workflow[-1].step}"[: limits.TITLE_CHARACTERS]
    ids = {step.step: new_id("job") for step in act.workflow}
    wishes: dict[str, submission.Submission] = {}
    settled: dict[str, plans.Settled] = {}
    terms = plans.terms(act.within, act.budget)
    to_place: dict[str, workflow_plans.StepToPlace] = {}
    for step, plan, script, first in zip(act.workflow, step_plans, scripts, targets, strict=True):
        own = [existing[path] for path in plan.inputs]
        around = (step.resources or act.resources, step.environment or act.environment)
        want = submission.wanted(ctx, session, script, *around)
        settled[step.step] = plans.settle(ctx, want, first, plans.Terms())
        to_place[step.step] = workflow_plans.StepToPlace(want=want, target=first, after=plan.after)
        target = settled[step.step].place.target
        job = submission.Submission(
            session=session,
            name=f"{name}: {step.step}"[: limits.TITLE_CHARACTERS],
            job_type=act.job_type,
            script=script,
            args=step.args,
            env=step.env,
            inputs=submission.together([*shared, *own], script, "$.params.workflow"),
            outputs=submission.declared(step.outputs, "$.params.workflow"),
            fetch=submission.declared(step.fetch, "$.params.workflow"),
            resources=step.resources or act.resources,
            environment=step.environment or act.environment,
            target=target,
            notes=submission.notes(ctx, session, target, step.resources or act.resources, script, step.step),
            workflow=workflow,
            step=step.step,
            after=[ids[each] for each in plan.after],
            awaits={path: ids[maker] for path, maker in plan.awaits.items()},
        )
        wishes[step.step] = job
    kept = {} if before is None else standing.kept(before, step_plans, wishes)
    if len(kept) == len(step_plans):
        raise Conflict(
            f"all {len(step_plans)} steps stand as they ran before: no script and no file of them has changed",
            code="nothing_changed",
            path="$.params.resume",
            hint="leave `resume` out to run all of them again",
        )
    left = {name: each for name, each in to_place.items() if name not in kept}
    if terms.within is not None or terms.budget is not None:
        settled |= workflow_plans.settle(ctx, left, terms)
        for step, script in zip(act.workflow, scripts, strict=True):
            target, needs = settled[step.step].place.target, step.resources or act.resources
            told = submission.notes(ctx, session, target, needs, script, step.step)
            wishes[step.step] = msgspec.structs.replace(wishes[step.step], target=target, notes=told)
    return WishedSteps(
        terms=terms,
        to_place=left,
        workflow=workflow,
        session=session,
        name=name,
        planned=step_plans,
        ids=ids,
        wishes=wishes,
        settled=settled,
        kept=kept,
        before=before,
        changed=[
            seen.changed(ctx, session, step.script, script.file, f"$.params.workflow[{index}].script", step.step)
            for index, (step, script) in enumerate(zip(act.workflow, scripts, strict=True))
        ],
    )


def _former(ref: str, ctx: Scope, session: str) -> standing.Former:
    """The earlier workflow of this session."""
    found = ctx.access.find("workflow", ref, "job:read")
    at = ctx.execute(sa.select(workflow_table.c.session).where(workflow_table.c.id == found)).scalar_one()
    if at != session:
        raise InvalidInput("that workflow belongs to another session", code="other_session", path="$.params.resume")
    return standing.former(ctx, found)


def _without(
    job: submission.Submission,
    plan: workflows.StepPlan,
    kept: Mapping[str, Any],
    ids: Mapping[str, str],
    before: standing.Former,
) -> submission.Submission:
    """The step without waiting for those that were kept: what they made lies there from the start."""
    awaited_of = set(plan.awaits.values())
    files = {each["path"]: each for each in job.inputs}
    for name in (each for each in plan.after if each in kept):
        made = before.made_by(name)
        wanted = {path for path, maker in plan.awaits.items() if maker == name} if name in awaited_of else set(made)
        if missing := sorted(wanted - made.keys()):
            raise InvalidInput(
                f"{name} ended without making {', '.join(missing)[:300]}", code="bad_workflow", path="$.params.resume"
            )
        for path in sorted(wanted):
            files.setdefault(path, made[path])
    return msgspec.structs.replace(
        job,
        inputs=list(files.values()),
        after=[ids[each] for each in plan.after if each not in kept],
        awaits={path: ids[maker] for path, maker in plan.awaits.items() if maker not in kept},
    )


@handles(CancelJob, needs="job:cancel")
def cancel_job(act: CancelJob, ctx: Context) -> views.JobView:
    """Cancel at once what has not started; ask what runs to end. Others' jobs need the right to cancel any.

    Of one that has ended on a cluster, its outputs are not waited for any more: they stay where they lie.
    """
    job_id = ctx.access.find("job", act.job, "job:cancel")
    job = transitions.lock(ctx, job_id)
    assert job is not None
    if job.submitted_by != ctx.actor.id:
        ctx.access.find("job", job_id, "job:cancel_any")
        if job.attached:
            raise NotAllowed(
                f"job {job.number} was submitted outside the hub by somebody else, who alone can end it",
                code="not_your_job",
            )
    if job.state == "COLLECTING" and job.account is not None and job.fetched_run < job.run:
        ctx.about("job", job.id, job.session, state=job.state, outputs="left")
        ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(fetched_run=job.run))
        ctx.enqueue(transitions.COLLECT, job.id, queue=transitions.LOCAL)
        ctx.publish(f"agent:{job.account}", {"job": job.id})
        return views.job(ctx, job_id)
    if job.state in rules.TERMINAL or job.state == "COLLECTING":
        raise Conflict(
            f"job {job.number} has ended already: {rules.sentence(job.state, job.reason)}", code="job_is_over"
        )
    for each in retrying.downstream(ctx, job) if act.downstream else ():
        why = f"Cancelled with {job.step} (job {job.number}), which it waited for."
        asked = {"cancel_asked_at": ctx.now, "cancel_asked_by": ctx.actor.id}
        transitions.happen(ctx, each, "cancelled", why, ended_at=ctx.now, **asked)
    ctx.about("job", job.id, job.session, state=job.state)
    own = ctx.lines[-1]
    if job.cancel_asked_at is None:
        asked = {"cancel_asked_at": ctx.now, "cancel_asked_by": ctx.actor.id}
        if "cancelled" in rules.TRANSITIONS[job.state] and job.state not in rules.OCCUPYING:
            reason = "Cancelled before it started."
            transitions.happen(ctx, job, "cancelled", reason, ended_at=ctx.now, **asked)
            # The answer carries the line of the action, which is its last.
            ctx.lines = [*(line for line in ctx.lines if line is not own), own]
        else:
            ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**asked))
            if job.account is not None:
                ctx.publish(f"agent:{job.account}", {"job": job.id})
    return views.job(ctx, job_id)
