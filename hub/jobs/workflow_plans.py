"""The steps of a workflow placed together, within its deadline and its budget; told before, and kept when submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hub.core.context import Scope
from hub.core.errors import Conflict
from hub.jobs import economy, plans, workflow_terms
from hub.jobs.clusters.rules import Target
from hub.jobs.offers import Place, Wanted, wall_seconds
from hub.jobs.plans import Settled, Terms


class StepToPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is to run: what it asks for, where its submitter wants it (None: anywhere), what it waits for."""

    want: Wanted
    target: Target | None
    after: tuple[str, ...]


class StepPlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A step in the table: where it goes, how long it takes, and by when it is to have ended, in seconds from now."""

    step: str
    backend: str
    run_seconds: float
    ends_within: float | None
    in_time: bool | None
    cost: float | None
    most: float | None
    why: str
    is_critical: bool


class WorkflowPlanView(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow comes to: the sum of its steps, and the longest way through it, without the waiting in queues.

    `kept` are steps that are not run again; `over` and `warnings` are of quotas, a sentence each.
    """

    steps: list[StepPlanView]
    cost: float | None
    most: float | None
    budget: float | None
    critical_path: tuple[str, ...]
    critical_seconds: float
    within: float | None
    in_time: bool | None
    currency: str
    kept: tuple[str, ...] = ()
    asking: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def settle(scope: Scope, steps: Mapping[str, StepToPlace], asked: Terms) -> dict[str, Settled]:
    """Where each step goes, so that all together keep the budget and each its share of the deadline.

    Raises Conflict for a step that the rest of the budget cannot pay, or that has no place.
    """
    places = {name: _places(scope, step) for name, step in steps.items()}
    after = {name: step.after for name, step in steps.items()}
    order = workflow_terms.in_order(after)
    free = {name: plans.settle(scope, step.want, step.target, Terms(), places[name]) for name, step in steps.items()}
    path = workflow_terms.critical_path({name: run_seconds(each) for name, each in free.items()}, after)
    ends = None if asked.within is None else workflow_terms.ends_by(asked.within, path)
    least = {name: _least(places[name]) for name in order}
    found: dict[str, Settled] = {}
    if asked.budget is not None:
        try:
            workflow_terms.allowances(asked.budget, least, order)
        except workflow_terms.CannotPay as refusal:
            raise cannot_pay(refusal) from None
    rest = asked.budget
    for at, name in enumerate(order):
        within = None if ends is None else workflow_terms.window(name, ends, after)
        budget = None if rest is None else rest - sum(least[each] or 0.0 for each in order[at + 1 :])
        # A hair more than the least it costs, which was found to be paid: sums of floats differ in their last bit.
        own = Terms(within=within, budget=None if budget is None else max(budget, (least[name] or 0.0)) + 1e-9)
        found[name] = plans.settle(scope, steps[name].want, steps[name].target, own, places[name])
        if rest is not None:
            rest -= found[name].most.money or 0.0
    own_budget = (
        None
        if asked.budget is None
        else workflow_terms.shares(asked.budget, {name: each.most.money or 0.0 for name, each in found.items()})
    )
    return {
        name: msgspec.structs.replace(
            found[name],
            terms=Terms(
                within=None if ends is None else ends[name],
                budget=None if own_budget is None else own_budget[name],
            ),
        )
        for name in steps
    }


def view(
    scope: Scope, steps: Mapping[str, StepToPlace], settled: Mapping[str, Settled], asked: Terms
) -> WorkflowPlanView:
    """The table of what `settle` found."""
    after = {name: step.after for name, step in steps.items()}
    path = workflow_terms.critical_path({name: run_seconds(settled[name]) for name in steps}, after)
    rows = [_row(name, settled[name], name in path.steps) for name in steps]
    costs, most = [each.cost for each in rows], [each.most for each in rows]
    late = any(each.in_time is False for each in rows)
    return WorkflowPlanView(
        steps=rows,
        cost=None if None in costs else sum(each or 0.0 for each in costs),
        most=None if None in most else sum(each or 0.0 for each in most),
        budget=asked.budget,
        critical_path=path.steps,
        critical_seconds=path.seconds,
        within=asked.within,
        in_time=None if asked.within is None else not late and path.seconds <= asked.within,
        currency=scope.settings.currency,
        asking=tuple(sorted({each.offer.backend for one in settled.values() for each in one.ask})),
    )


class Expected(msgspec.Struct, frozen=True):
    """How long steps take along their critical path, and what they cost together at least; None where nobody knows."""

    seconds: float
    least: float | None


def expected(scope: Scope, steps: Mapping[str, StepToPlace]) -> Expected:
    """What is to be expected of steps that nobody has submitted yet. Raises Conflict for one that has no place."""
    places = {name: _places(scope, step) for name, step in steps.items()}
    free = {name: plans.settle(scope, step.want, step.target, Terms(), places[name]) for name, step in steps.items()}
    after = {name: step.after for name, step in steps.items()}
    path = workflow_terms.critical_path({name: run_seconds(each) for name, each in free.items()}, after)
    costs = [_least(each) for each in places.values()]
    known = [each for each in costs if each is not None]
    return Expected(path.seconds, sum(known) if len(known) == len(costs) else None)


def run_seconds(settled: Settled) -> float:
    """How long a step is expected to run where it goes."""
    limit = float(wall_seconds(settled.place.asked))
    known = settled.place.offer.run_seconds
    return limit if known is None else min(limit, known)


def _places(scope: Scope, step: StepToPlace) -> list[Place]:
    found = plans.places_of(scope, step.want)
    return found if step.target is None else [each for each in found if each.target == step.target]


def _least(places: Sequence[Place]) -> float | None:
    """What a step costs at most where that is least; None where nobody has said."""
    able = [each for each in places if each.offer.reached and not each.offer.refusals] or list(places)
    costs = [economy.cost(each.asked.held, wall_seconds(each.asked), each.offer.prices).money for each in able]
    return min((each for each in costs if each is not None), default=None)


def _row(name: str, settled: Settled, is_critical: bool) -> StepPlanView:
    chosen = None if settled.plan is None else settled.plan.chosen
    place, runs = settled.place, run_seconds(settled)
    return StepPlanView(
        step=name,
        backend=place.offer.backend,
        run_seconds=runs,
        ends_within=settled.terms.within,
        in_time=None if chosen is None else chosen.in_time,
        cost=economy.cost(place.asked.held, runs, place.offer.prices).money,
        most=settled.most.money,
        why="it was named" if chosen is None else chosen.why,
        is_critical=is_critical,
    )


def cannot_pay(refusal: workflow_terms.CannotPay) -> Conflict:
    return Conflict(
        f"{refusal}; nothing was submitted",
        code="over_budget",
        path="$.params.budget",
        errors=[refusal.step],
        hint="ask for less there, or for a larger `budget`",
    )
