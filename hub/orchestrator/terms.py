"""A deadline and a budget of a whole experiment, shared out over its nodes as those of a workflow are over its steps.

Nodes run one after the other, so all of them are the critical path. Each that submits jobs has its share of the time
that is left when its turn comes, and of the money whatever those after it do not need at least. What a node is left is
written down before it begins: begun again under its key, it is the same submission.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hub.core.context import Scope
from hub.core.errors import Conflict, InvalidInput
from hub.jobs import plans, workflow_budget, workflow_plans, workflow_terms
from hub.jobs.workflow_plans import Expected
from hub.jobs.workflow_terms import CannotPay
from hub.orchestrator.tools import TOOLS, Node, Progress, Submits, Terms

WHOLE, PART = "experiment", "node"
_NOTHING = Expected(0.0, 0.0)


def check(scope: Scope, session: str, nodes: Sequence[Node], asked: plans.Terms) -> None:
    """Raises Conflict when the budget cannot pay all nodes at their least, naming the first that it cannot."""
    if asked.within is None and asked.budget is None:
        return
    looks = [expected(scope, session, node) for node in nodes]
    try:
        _share(nodes, looks, Terms(within=asked.within, budget=asked.budget), 0.0)
    except CannotPay as refusal:
        raise workflow_plans.cannot_pay(refusal) from None


def left(scope: Scope, row: Any, rows: Sequence[Any], nodes: Sequence[Node]) -> Terms:
    """What the whole leaves the first of `nodes`, which are those that have not ended; a node that submits nothing is
    left as it is. Raises Conflict.
    """
    looks = [expected(scope, row.session, node) for node in nodes]
    if looks[0] is _NOTHING:
        return Terms()
    within = None if row.deadline is None else max(1.0, (row.deadline - scope.now).total_seconds())
    spent = spent_by(scope, row, rows)
    try:
        return _share(nodes, looks, Terms(within=within, budget=row.budget), spent)
    except CannotPay as refusal:
        raise Conflict(str(refusal), code="over_budget", hint="resume it with a larger `budget`") from None


def refuses_retry(scope: Scope, row: Any, rows: Sequence[Any], failed: Progress, nodes: Sequence[Node]) -> str:
    """Why the rest of the budget does not pay the next try of the first of `nodes` and those after it, in words."""
    again = sum(expected(scope, row.session, node).least or 0.0 for node in nodes)
    spent = spent_by(scope, row, rows, failed.about)
    return workflow_terms.unpaid(row.budget, spent, again, WHOLE, "with what comes after it, it")


def spent_by(scope: Scope, row: Any, rows: Sequence[Any], about: str | None = None) -> float:
    """What its nodes have cost and may cost yet, with one thing besides that no row names yet."""
    things = {each.about for each in rows} | {about}
    return float(row.spent) + cost_of(scope, row, [each for each in things if each is not None])


def cost_of(scope: Scope, row: Any, things: Sequence[str]) -> float:
    """Of jobs and workflows; those that stand from an earlier run cost this one nothing."""
    return workflow_budget.comes_to(scope, things, row.at)


def expected(scope: Scope, session: str, node: Node) -> Expected:
    """How long a node takes and what it costs at least, by the jobs it will submit."""
    tool = TOOLS.get(node.tool)
    if not isinstance(tool, Submits):
        return _NOTHING
    try:
        steps = tool.submits(node, scope, session)
        return workflow_plans.expected(scope, steps) if steps else _NOTHING
    except (InvalidInput, Conflict) as fault:
        raise type(fault)(
            fault.message, code=fault.code, hint=fault.hint, errors=fault.errors, path=node.path
        ) from None


def _share(nodes: Sequence[Node], looks: Sequence[Expected], whole: Terms, spent: float) -> Terms:
    """The share of the first of these nodes. Raises CannotPay."""
    names = [f"{node.place + 1} ({node.action})" for node in nodes]
    after = {name: tuple(names[:at][-1:]) for at, name in enumerate(names)}
    within = budget = None
    if whole.within is not None:
        path = workflow_terms.critical_path(dict(zip(names, [each.seconds for each in looks], strict=True)), after)
        within = workflow_terms.ends_by(whole.within, path)[names[0]]
    if whole.budget is not None:
        least = dict(zip(names, [each.least for each in looks], strict=True))
        # A hair more than the least it costs, which was found to be paid: sums of floats differ in their last bit.
        own = workflow_terms.allowances(whole.budget, least, names, spent, WHOLE, PART)[names[0]]
        budget = max(own, least[names[0]] or 0.0) + 1e-9
    return Terms(within=within, budget=budget)
