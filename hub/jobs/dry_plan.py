"""The dry question before a submission: where would this go, when, and for how much? It records nothing of the job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from hub.core import actions
from hub.core.context import Actor, Scope
from hub.core.database import Tx
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.jobs import plans, quotas, submission, workflow_plans
from hub.jobs.actions import SubmitJob, SubmitWorkflow, wished_steps
from hub.jobs.offers import Place
from hub.jobs.plans import PlanView, Settled
from hub.jobs.workflow_plans import WorkflowPlanView


def plan_any(house: House, actor: Actor, body: Any) -> PlanView | WorkflowPlanView:
    """The table for a job, or for all steps of a workflow with their sum and the longest way through them."""
    act = _submission(body, True)
    if isinstance(act, SubmitJob):
        return _plan_job(house, actor, act)
    with house.scope(actor) as scope:
        steps = wished_steps(act, scope)
        settled = {name: steps.settled[name] for name in steps.to_place}
        over, warnings = quotas.judge(scope, steps.session, list(settled.values()))
        shown = workflow_plans.view(scope, steps.to_place, settled, steps.terms)
        kept = tuple(each.name for each in steps.planned if each.name in steps.kept)
    _ask(house, [each for one in settled.values() for each in one.ask])
    return msgspec.structs.replace(shown, kept=kept, over=tuple(over), warnings=tuple(warnings))


def plan_job(house: House, actor: Actor, body: Any, *, strict: bool = True) -> PlanView:
    """The table for what `job_submit` would be given; asked again, it holds what schedulers have answered meanwhile.

    From a form, which is not `strict`, numbers arrive as text.
    """
    act = _submission(body, strict)
    if not isinstance(act, SubmitJob):
        raise InvalidInput("this form takes a job, and not a workflow", path="$.params.workflow")
    return _plan_job(house, actor, act)


def _plan_job(house: House, actor: Actor, act: SubmitJob) -> PlanView:
    with house.scope(actor) as scope:
        shown, places = _look(scope, act)
    _ask(house, [each for each in places if each.question is not None])
    return shown


def _ask(house: House, asking: Sequence[Place]) -> None:
    """Have the schedulers asked."""
    if asking:

        def ask(tx: Tx) -> None:
            plans.ask(tx, asking, house.clock.now())

        house.db.write(ask)
        for each in asking:
            house.bus.publish(f"agent:{each.target.account}", {"estimate": True})


def _look(scope: Scope, act: SubmitJob) -> tuple[PlanView, list[Place]]:
    session = scope.access.session(act.session_id, "job:submit")
    first = submission.choose(scope, act.job_type, act.resources, act.environment, session=session, cluster=act.cluster)
    script = submission.script(scope, session, act.script, "$.params.script")
    want = submission.wanted(scope, session, script, act.resources, act.environment)
    terms = plans.terms(act.within, act.budget)
    places = plans.places_of(scope, want)
    if first is not None:
        places = [each for each in places if each.target == first]
    made = plans.plan(places, terms)
    shown = plans.view(made, places, scope.settings.currency)
    if made.chosen is not None:
        place = next(each for each in places if each.offer.backend == made.chosen.backend)
        over, warnings = quotas.judge(scope, session, [Settled(place=place, terms=terms, plan=made)])
        shown = plans.with_quotas(shown, over, warnings)
    return shown, places


def _submission(body: Any, strict: bool) -> SubmitJob | SubmitWorkflow:
    """Raises InvalidInput with the path of what is wrong."""
    if not isinstance(body, dict):
        raise InvalidInput("expected an object with the parameters of job_submit", path="$")
    act = actions.from_object({"tool": actions.TOOL, "params": {**body, "action": "job_submit"}}, "$", strict=strict)
    assert isinstance(act, SubmitJob | SubmitWorkflow)
    return act
