"""Which steps of a workflow need not run again, because those of an earlier one still stand.

A step stands when the earlier one of its name succeeded with the same script, arguments, variables, resources and
declared outputs, on the same files by digest, after steps that all stand as well. The first that differs runs again,
and everything that waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.tables import versions as version_table
from hub.core.context import Scope
from hub.core.errors import Conflict
from hub.jobs.rules import TERMINAL
from hub.jobs.step_tables import workflow_steps
from hub.jobs.submission import Submission
from hub.jobs.tables import jobs
from hub.jobs.transitions import pinned
from hub.jobs.workflows import StepPlan

Job = sa.Row[Any]


class Former(msgspec.Struct, frozen=True):
    """An earlier workflow: the job of each step, the steps each came after, what each job made."""

    by_step: dict[str, Job]
    after: dict[str, set[str]]
    made: dict[str, dict[str, Any]]

    @property
    def first_made(self) -> set[str]:
        """Files that were not there before it: they are awaited anew, not found."""
        return {path for each in self.made.values() for path, row in each.items() if row.number == 1}

    def made_by(self, step: str) -> dict[str, dict[str, Any]]:
        """The stored files of a step's job, as inputs are kept."""
        made = self.made.get(self.by_step[step].id, {})
        return {path: pinned(row) for path, row in made.items() if row.kind == "stored"}


def former(scope: Scope, workflow: str) -> Former:
    """The earlier workflow, with the steps it had kept itself. Raises Conflict while it runs."""
    rows = scope.execute(sa.select(jobs).where(jobs.c.workflow == workflow).order_by(jobs.c.number)).all()
    if any(row.state not in TERMINAL for row in rows):
        raise Conflict(
            "that workflow has not ended; cancel it first", code="workflow_is_running", path="$.params.resume"
        )
    kept = scope.execute(
        sa.select(workflow_steps).where(workflow_steps.c.workflow == workflow, workflow_steps.c.kept.is_not(None))
    ).all()
    kept_jobs = scope.execute(sa.select(jobs).where(jobs.c.id.in_([row.kept for row in kept]))).all()
    by_id = {row.id: row for row in [*kept_jobs, *rows]}
    by_step = {row.step: row for row in by_id.values()}
    after = {row.step: {by_id[each].step for each in row.after if each in by_id} for row in by_id.values()}
    for row in kept:
        for step in row.kept_for or ():
            after.setdefault(step, set()).add(row.step)
    made: dict[str, dict[str, Any]] = {}
    found = scope.execute(
        sa.select(version_table).where(version_table.c.job.in_(list(by_id))).order_by(version_table.c.number)
    )
    for row in found:
        made.setdefault(row.job, {})[row.path] = row
    return Former(by_step, after, made)


def kept(before: Former, plans: Sequence[StepPlan], wishes: Mapping[str, Submission]) -> dict[str, Job]:
    """The steps that stand, with their jobs. `wishes` holds each step as it would be submitted, with its own inputs."""
    found: dict[str, Job] = {}
    left = {plan.name: plan for plan in plans}
    while True:
        # In the order in which they can run, which need not be the order they are written in.
        ready = [plan for plan in left.values() if not any(each in left for each in plan.after)]
        for plan in ready:
            del left[plan.name]
            if all(each in found for each in plan.after) and _stands(before, plan, wishes[plan.name]):
                found[plan.name] = before.by_step[plan.name]
        if not ready:
            return found


def _stands(before: Former, plan: StepPlan, wish: Submission) -> bool:
    job = before.by_step.get(plan.name)
    if job is None or job.state != "SUCCEEDED" or before.after.get(plan.name, set()) != set(plan.after):
        return False
    was = (job.script_digest, job.args, job.env, job.outputs, job.resources, job.environment, job.job_type)
    now = (wish.script.digest, wish.args, wish.env, wish.outputs, wish.resources, wish.environment, wish.job_type)
    if list(was) != msgspec.json.decode(msgspec.json.encode(now)):  # as a job's row keeps it
        return False
    handed = {path: each["digest"] for step in plan.after for path, each in before.made_by(step).items()}
    had = {each["path"]: each["digest"] for each in job.inputs}
    own = {each["path"]: each["digest"] for each in wish.inputs}
    awaited = {path: handed.get(path) for path in plan.awaits}
    whole = {step for step in plan.after if step not in set(plan.awaits.values())}
    brought = {path: each["digest"] for step in whole for path, each in before.made_by(step).items()}
    return had == {**brought, **own, **awaited}
