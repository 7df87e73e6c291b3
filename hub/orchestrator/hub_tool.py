"""The hub's own tool in experiments: jobs, versions of artifacts, notebook entries.

A node is the very action it would be by itself, carried out as the person who started the experiment, with the rights
they have when its turn comes. Rights, keys and accounts are not handed out by a machine that runs later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from hub.artifacts import versions
from hub.artifacts.actions import AddResults, AddVersion
from hub.artifacts.tables import pins
from hub.artifacts.tables import versions as artifact_versions
from hub.core import actions
from hub.core.actions import Action
from hub.core.context import Context, Scope
from hub.core.errors import InvalidInput, Unavailable
from hub.core.house import House
from hub.jobs import plans, seen, submission
from hub.jobs.actions import SubmitJob, SubmitWorkflow
from hub.jobs.amounts import clock
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import jobs
from hub.jobs.transitions import pinned
from hub.jobs.workflow_plans import StepToPlace
from hub.notebook.actions import WriteEntry
from hub.orchestrator.tools import Node, Progress, Run, Terms, provides
from hub.perform import perform, record

Submission = TypeVar("Submission", SubmitJob, SubmitWorkflow)
ALLOWED = (SubmitJob, SubmitWorkflow, AddVersion, AddResults, WriteEntry)


class HubTool:
    """`distributed_collaboration` within an experiment."""

    def lacks(self, node: Node, scope: Scope) -> list[str]:
        """A backend that is not there; everything else that is wrong with a node is bad input."""
        action = decoded(node)
        if isinstance(action, AddResults) and node.place == 0:
            raise InvalidInput(
                "the first node has none before it", code="no_previous_step", path=f"{node.path}.results"
            )
        try:
            if isinstance(action, SubmitJob):
                submission.choose(scope, action.job_type, action.resources, action.environment, cluster=action.cluster)
            if isinstance(action, SubmitWorkflow):
                for step in action.workflow:
                    submission.choose(
                        scope,
                        action.job_type,
                        step.resources or action.resources,
                        step.environment or action.environment,
                        cluster=action.cluster,
                        step=step.step,
                    )
        except Unavailable as missing:
            return list(missing.errors) or [missing.message]
        except InvalidInput as fault:
            raise InvalidInput(
                fault.message, code=fault.code, hint=fault.hint, errors=fault.errors, path=node.path
            ) from None
        return []

    def submits(self, node: Node, scope: Scope, session: str) -> Mapping[str, StepToPlace]:
        """The job, or the steps of the workflow; of a script that is not there yet, by what is asked beside it."""
        action = decoded(node)
        if not isinstance(action, SubmitJob | SubmitWorkflow):
            return {}
        return to_place(action, scope, scope.access.session(action.session_id or session, "job:submit"))

    def begin(self, node: Node, run: Run, house: House) -> Progress:
        """Carry the action out under the node's key, so that a second beginning finds the first one's answer."""
        action = decoded(node)
        if action.session_id is None:
            action = msgspec.structs.replace(action, session_id=run.session)
        if isinstance(action, SubmitJob):
            action = within_terms(action, run.terms)
        if isinstance(action, SubmitWorkflow):
            action = within_terms(action, run.terms)
        if isinstance(action, AddResults):
            return self._record_results(action, run, house)
        result = perform(house, action, run.actor, run.key).result
        if isinstance(action, SubmitWorkflow):
            return self.look(node, Progress(state="RUNNING", about=result["workflow"]), house)
        if isinstance(action, SubmitJob):
            return self.look(node, Progress(state="RUNNING", about=result["id"]), house)
        if isinstance(action, AddVersion):
            made = (str(result["artifact"]),)
            return Progress(state="SUCCEEDED", words=f"version {result['number']} of {result['path']}", made=made)
        return Progress(state="SUCCEEDED", words=result["name"], about=result["entry"])

    def look(self, node: Node, progress: Progress, house: House) -> Progress:
        """A job node has ended when its job has, a workflow when all its jobs have."""
        with house.db.read() as conn:
            rows = conn.execute(
                sa.select(jobs.c.id, jobs.c.number, jobs.c.state, jobs.c.reason).where(
                    sa.or_(jobs.c.id == progress.about, jobs.c.workflow == progress.about)
                )
            ).all()
            failed = [row for row in rows if row.state in TERMINAL and row.state != "SUCCEEDED"]
            if any(row.state not in TERMINAL for row in rows):
                words = ", ".join(f"job {row.number} is {row.state.lower()}" for row in rows[:5])
                return msgspec.structs.replace(progress, state="RUNNING", words=words)
            made = conn.execute(
                sa.select(artifact_versions.c.id)
                .where(artifact_versions.c.job.in_([row.id for row in rows]))
                .order_by(artifact_versions.c.path, artifact_versions.c.number)
            ).scalars()
            outputs = tuple(made)
        if failed or not rows:
            words = "; ".join(f"job {row.number}: {row.state}. {row.reason}".strip() for row in failed[:5])
            # Nothing is run again that somebody stopped, nor on a guess.
            final = not rows or any(row.state in {"CANCELLED", "UNKNOWN_OUTCOME"} for row in failed)
            words = words or "its job is gone"
            return msgspec.structs.replace(progress, state="FAILED", words=words, made=outputs, is_final=final)
        files = f"{len(outputs)} file{'' if len(outputs) == 1 else 's'}"
        return msgspec.structs.replace(progress, state="SUCCEEDED", words=f"{files} came back", made=outputs)

    def _record_results(self, action: AddResults, run: Run, house: House) -> Progress:
        if not run.previous:
            raise InvalidInput("the step before made no files", code="no_results")

        def work(ctx: Context) -> list[Any]:
            session = ctx.access.session(action.session_id, "artifact:write")
            rows = ctx.execute(
                sa.select(artifact_versions).where(
                    artifact_versions.c.id.in_(run.previous), artifact_versions.c.session == session
                )
            ).all()
            pinned = set(
                ctx.execute(
                    sa.select(pins.c.digest).where(
                        pins.c.session == session,
                        pins.c.reason_kind == "experiment",
                        pins.c.reason_id == run.experiment,
                    )
                ).scalars()
            )
            # Begun a second time, it finds its pins and writes no second line.
            if new := [row for row in rows if row.digest is not None and row.digest not in pinned]:
                for row in new:
                    versions.pin(ctx, session, row.digest, "experiment", run.experiment)
                results = [{"version": row.id, "digest": row.digest} for row in rows]
                ctx.about("experiment", run.experiment, session, results=results)
            return [row.id for row in rows]

        kept = record(house, "artifact_versioning", work, run.actor)
        if len(kept) != len(run.previous):
            raise InvalidInput("the results of the step before lie in another session", code="results_elsewhere")
        return Progress(state="SUCCEEDED", words=f"{len(kept)} results kept", made=run.previous)


def within_terms(action: Submission, terms: Terms) -> Submission:
    """The submission with what the experiment leaves it; what it asks for itself counts where that is less."""
    within, budget = action.within, action.budget
    if terms.within is not None:
        own = plans.terms(within, None).within
        within = clock(terms.within if own is None else min(own, terms.within))
    if terms.budget is not None:
        budget = terms.budget if budget is None else min(budget, terms.budget)
    return msgspec.structs.replace(action, within=within, budget=budget)


def to_place(action: SubmitJob | SubmitWorkflow, scope: Scope, session: str) -> dict[str, StepToPlace]:
    """What a submission will ask for a place for, as far as that is known before its inputs are there."""
    steps = [action] if isinstance(action, SubmitJob) else action.workflow
    found: dict[str, StepToPlace] = {}
    for step in steps:
        name = "" if isinstance(step, SubmitJob) else step.step
        around = (step.resources or action.resources, step.environment or action.environment)
        target = submission.choose(scope, action.job_type, *around, session=session, cluster=action.cluster, step=name)
        try:
            script = submission.script(scope, session, step.script, "$.params.script")
            want = submission.wanted(scope, session, script, *around)
        except InvalidInput as fault:
            if fault.code != "unknown_artifacts":
                raise
            want = plans.wanted(scope, session, *around, head="", digest="")
        after = () if isinstance(step, SubmitJob) else step.dependencies
        found[name] = StepToPlace(want=want, target=target, after=tuple(after))
    # What is made by whom is found out when it is submitted; until then, steps that name each other follow each other.
    return {
        name: msgspec.structs.replace(each, after=tuple(one for one in each.after if one in found))
        for name, each in found.items()
    }


def changed_scripts(nodes: Sequence[Node], scope: Scope, session: str) -> list[seen.Changed]:
    """The scripts of nodes that somebody else changed since whoever starts them last saw them, confirmed ones left out.

    A script that is not there yet may be made by a node before; its own submission asks for it then.
    """
    found = []
    for node in nodes:
        action = decoded(node) if node.tool == actions.TOOL else None
        if not isinstance(action, SubmitJob | SubmitWorkflow):
            continue
        at = session if action.session_id is None else scope.access.session(action.session_id, "job:submit")
        confirmed = {action.confirm} if isinstance(action.confirm, str) else set(action.confirm or ())
        steps = (
            [(None, action.script)] if isinstance(action, SubmitJob) else [(s.step, s.script) for s in action.workflow]
        )
        for step, said in steps:
            there = versions.find(scope, at, said.strip()) if "\n" not in said else None
            if there is None or there.kind != "stored":
                continue
            changed = seen.changed(scope, at, said.strip(), pinned(there), node.path, step)
            if changed is not None and not {changed.confirm, changed.confirm.removeprefix("sha256:")} & confirmed:
                found.append(changed)
    return found


def confirming(node: Node, digests: Sequence[str]) -> dict[str, Any]:
    """The node as it was written, with these digests confirmed if it submits anything."""
    nested = isinstance(node.given.get("params"), dict)
    more: dict[str, Any] = {"retries": node.retries} if node.retries else {}
    if node.tool == actions.TOOL and isinstance(action := decoded(node), SubmitJob | SubmitWorkflow):
        before = [action.confirm] if isinstance(action.confirm, str) else list(action.confirm or ())
        more["confirm"] = list(dict.fromkeys([*before, *digests]))
    return {**node.given, "params": {**node.given["params"], **more}} if nested else {**node.given, **more}


def decoded(node: Node) -> Any:
    """The node's action. Raises InvalidInput with the path within the experiment."""
    action: Action = actions.from_object(node.given, node.path)
    if not isinstance(action, ALLOWED):
        raise InvalidInput(
            f"{node.action} is not for experiments",
            code="not_in_experiments",
            path=f"{node.path}.action",
            hint="an experiment runs jobs, records versions and writes notebook entries",
        )
    return action


provides(actions.TOOL, HubTool())
