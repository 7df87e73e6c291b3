"""The dry question before a submission: where would this go, when, and for how much? It records nothing of the job."""

from __future__ import annotations

from typing import Any

from hub.core import actions
from hub.core.context import Actor, Scope
from hub.core.database import Tx
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.jobs import plans, quotas, submission
from hub.jobs.actions import SubmitJob
from hub.jobs.offers import Place
from hub.jobs.plans import PlanView, Settled


def plan_job(house: House, actor: Actor, body: Any, *, strict: bool = True) -> PlanView:
    """The table for what `job_submit` would be given; asked again, it holds what schedulers have answered meanwhile.

    From a form, which is not `strict`, numbers arrive as text.
    """
    act = _submission(body, strict)
    with house.scope(actor) as scope:
        shown, places = _look(scope, act)
    if asking := [each for each in places if each.question is not None]:

        def ask(tx: Tx) -> None:
            plans.ask(tx, asking, house.clock.now())

        house.db.write(ask)
        for each in asking:
            house.bus.publish(f"agent:{each.target.account}", {"estimate": True})
    return shown


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


def _submission(body: Any, strict: bool) -> SubmitJob:
    """Raises InvalidInput with the path of what is wrong."""
    if not isinstance(body, dict):
        raise InvalidInput("expected an object with the parameters of job_submit", path="$")
    act = actions.from_object({"tool": actions.TOOL, "params": {**body, "action": "job_submit"}}, "$", strict=strict)
    if not isinstance(act, SubmitJob):
        raise InvalidInput("a workflow is not planned as a whole; ask for one of its steps", path="$.params.workflow")
    return act
