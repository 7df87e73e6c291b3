"""Running an experiment: a step carries its nodes on until one has to be waited for, and then asks to be called again.

Every change of a node is written together with a renewal of the step's lease, so a worker that was overtaken writes
nothing; a node begun twice is begun under one idempotency key.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import steps
from hub.core.context import Actor, Context
from hub.core.database import Tx
from hub.core.errors import Conflict, HubError, NotAllowed
from hub.core.house import House
from hub.core.keys import unseal
from hub.core.steps import Step, runs, when_given_up
from hub.jobs.actions import CancelJob, cancel_job
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import jobs
from hub.orchestrator import plugins, terms
from hub.orchestrator.plan import node_of
from hub.orchestrator.resuming import Pinned, pinned
from hub.orchestrator.tables import experiment_nodes, experiments
from hub.orchestrator.tools import TOOLS, Node, Progress, Run, Terms
from hub.people import accounts
from hub.perform import record, within

STEP = "run_experiment"
OBSERVED = "experiment_observed"
LOOK_AGAIN = dt.timedelta(seconds=1)


def sealed_about(experiment: str) -> str:
    """What the sealed plan of an experiment is bound to."""
    return f"experiment:{experiment}"


@runs(STEP)
def run_experiment(step: Step, house: House) -> None:
    """Carry on with the first node that has not ended."""
    while True:
        with house.db.read() as conn:
            row = conn.execute(sa.select(experiments).where(experiments.c.id == step.object)).one()
            nodes = conn.execute(
                sa.select(experiment_nodes)
                .where(experiment_nodes.c.experiment == row.id)
                .order_by(experiment_nodes.c.place)
            ).all()
        current = next((node for node in nodes if node.state in {"WAITING", "RUNNING"}), None)
        if row.state != "RUNNING" or current is None:
            return
        node = _node(house, row, current.place)
        progress, stands_on = _carry_on(house, step, row, nodes, node)
        cost = 0.0
        if progress.state == "FAILED" and not progress.is_final and current.tries < node.retries:
            progress, cost = _once_more(house, row, nodes, node, progress)
        last = current.place == len(nodes) - 1
        if not _write(house, step, row, current, progress, stands_on, last=last, cost=cost):
            return


@when_given_up(STEP)
def _given_up(tx: Tx, house: House, step: Step, reason: str) -> None:
    with within(house, tx, OBSERVED) as ctx:
        row = ctx.execute(sa.select(experiments).where(experiments.c.id == step.object)).one()
        waiting = ctx.execute(
            sa.select(experiment_nodes)
            .where(experiment_nodes.c.experiment == row.id, experiment_nodes.c.state.in_(("WAITING", "RUNNING")))
            .order_by(experiment_nodes.c.place)
        ).first()
        if waiting is not None:
            _set(ctx, row.id, waiting.place, Progress(state="FAILED", words=reason[:2000]))
        _end(ctx, row, "FAILED")


def _node(house: House, row: Any, place: int) -> Node:
    return node_of(place, plan_of(house, row)[place])


def plan_of(house: House, row: Any) -> list[dict[str, Any]]:
    """The nodes of an experiment's row as they were written."""
    sealed = unseal(house.keys.domain(row.session), row.dag, sealed_about(row.id))
    return msgspec.json.decode(sealed, type=list[dict[str, Any]])


def _once_more(house: House, row: Any, nodes: Sequence[Any], node: Node, failed: Progress) -> tuple[Progress, float]:
    """The node waiting for its next try, and what the last one cost; failed for good where the budget refuses it."""
    number = nodes[node.place].tries + 1
    waiting = Progress(state="WAITING", words=f"try {number} of {node.retries + 1} failed: {failed.words}"[:2000])
    if row.budget is None:
        return waiting, 0.0
    try:
        with house.scope(_actor(house, row)) as scope:
            cost = 0.0 if failed.about is None else terms.cost_of(scope, row, [failed.about])
            refused = terms.refuses_retry(scope, row, nodes, failed, _from(house, row, node.place))
    except HubError as problem:
        if problem.temporary:
            raise
        refused = str(problem)
    if refused:
        return msgspec.structs.replace(failed, words=f"{failed.words}; {refused}"[:2000], is_final=True), 0.0
    return waiting, cost


def _from(house: House, row: Any, place: int) -> list[Node]:
    """The nodes from this one on."""
    return [node_of(at, given) for at, given in enumerate(plan_of(house, row)) if at >= place]


def _terms_of(house: House, step: Step, row: Any, nodes: Sequence[Any], place: int) -> Terms:
    """What the whole leaves this try, as it was written down before it began."""
    if row.deadline is None and row.budget is None:
        return Terms()
    if nodes[place].terms is not None:
        return msgspec.convert(nodes[place].terms, Terms)
    with house.scope(_actor(house, row)) as scope:
        found = terms.left(scope, row, nodes, _from(house, row, place))

    def work(ctx: Context) -> None:
        steps.renew(ctx.tx, step, ctx.now)
        _mark(ctx, row.id, place, terms=msgspec.to_builtins(found))

    record(house, OBSERVED, work)
    return found


def _carry_on(house: House, step: Step, row: Any, nodes: Sequence[Any], node: Node) -> tuple[Progress, Pinned | None]:
    """Begin the node or look at it; what went wrong for good is how it fares, what may pass is raised.

    With a node that began comes what it stood on.
    """
    tool = TOOLS.get(node.tool)
    if tool is None:
        words = f"the tool {node.tool} is not installed any more ({plugins.HOW_INSTALLED})"
        return Progress(state="FAILED", words=words, is_final=True), None
    stands_on, current = None, nodes[node.place]
    previous = tuple(nodes[node.place - 1].made) if node.place else ()
    try:
        if current.state == "RUNNING":
            begun = Progress(state="RUNNING", words=current.words, about=current.about, made=tuple(current.made))
            return tool.look(node, begun, house), None
        key = f"{row.id}:{current.place}" + (f":{current.tries}" if current.tries else "")
        with house.scope(_actor(house, row)) as scope:
            stands_on = pinned(scope, row.session, node, previous)
        run = Run(
            experiment=row.id,
            session=row.session,
            actor=_actor(house, row),
            key=key,
            previous=previous,
            terms=_terms_of(house, step, row, nodes, node.place),
        )
        return tool.begin(node, run, house), stands_on
    except HubError as problem:
        if problem.temporary:
            raise
        return Progress(state="FAILED", words=str(problem)[:2000], is_final=True), stands_on


def _actor(house: House, row: Any) -> Actor:
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, row.by)
    if actor is None:
        raise NotAllowed("whoever started this experiment has no account any more", code="actor_gone")
    scopes = None if row.scopes is None else frozenset(row.scopes)
    return msgspec.structs.replace(actor, scopes=scopes, by_service=row.by_service)


def _write(
    house: House,
    step: Step,
    row: Any,
    current: Any,
    progress: Progress,
    stands_on: Pinned | None,
    *,
    last: bool,
    cost: float = 0.0,
) -> bool:
    """Keep how the node fares, and what a try that failed has cost; whether to go on with the next one at once."""

    def work(ctx: Context) -> bool:
        steps.renew(ctx.tx, step, ctx.now)
        now = sa.select(experiments.c.state).where(experiments.c.id == row.id).with_for_update()
        if ctx.execute(now).scalar_one() != "RUNNING":  # cancelled while the node was being begun
            if progress.state == "RUNNING":
                with within(house, ctx.tx, "job_cancel", _actor(house, row)) as stopping:
                    stop(stopping, progress.about)
            steps.finish(ctx.tx, step, ctx.now)
            return False
        if stands_on is not None:
            _mark(ctx, row.id, current.place, pinned=msgspec.to_builtins(stands_on))
        if (progress.state, progress.words) != (current.state, current.words):
            _set(ctx, row.id, current.place, progress)
        if progress.state != current.state:
            facts = {"place": current.place, "state": progress.state, "made": progress.made, "about": progress.about}
            ctx.about("experiment", row.id, row.session, **facts)
        if progress.state == "WAITING":
            tries = current.tries + 1
            _mark(ctx, row.id, current.place, tries=tries, terms=None)
            spent = experiments.c.spent + cost
            ctx.execute(sa.update(experiments).where(experiments.c.id == row.id).values(spent=spent))
            ctx.enqueue(STEP, row.id, due_at=ctx.now + LOOK_AGAIN * min(2**tries, 60))
            steps.finish(ctx.tx, step, ctx.now)
            return False
        if progress.state == "RUNNING":
            ctx.enqueue(STEP, row.id, due_at=ctx.now + LOOK_AGAIN)
            steps.finish(ctx.tx, step, ctx.now)
            return False
        if progress.state == "FAILED" or last:
            _end(ctx, row, "FAILED" if progress.state == "FAILED" else "SUCCEEDED")
            steps.finish(ctx.tx, step, ctx.now)
            return False
        return True

    return record(house, OBSERVED, work)


def stop(ctx: Context, about: str | None) -> None:
    """Cancel the jobs a node waits for; what is no job has nothing that could be stopped."""
    open_jobs = sa.select(jobs.c.id).where(
        sa.or_(jobs.c.id == about, jobs.c.workflow == about), jobs.c.state.not_in((*TERMINAL, "COLLECTING"))
    )
    # Those that wait for others first, so that none of them is said to have failed for want of its inputs.
    for job_id in list(ctx.execute(open_jobs.order_by(jobs.c.number.desc())).scalars()):
        with contextlib.suppress(Conflict):
            cancel_job(CancelJob(job=job_id), ctx)


def cancel(ctx: Context, row: Any) -> None:
    """End an experiment whose row is locked: the node that runs and all after it."""
    here = experiment_nodes.c.experiment == row.id
    running = ctx.execute(sa.select(experiment_nodes).where(here, experiment_nodes.c.state == "RUNNING")).all()
    for node in running:
        stop(ctx, node.about)
        _mark(ctx, row.id, node.place, state="CANCELLED", words="Cancelled.")
    _end(ctx, row, "CANCELLED", "not started, because the experiment was cancelled")


def _mark(ctx: Context, experiment: str, place: int, **values: Any) -> None:
    ctx.execute(
        sa.update(experiment_nodes)
        .where(experiment_nodes.c.experiment == experiment, experiment_nodes.c.place == place)
        .values(**values)
    )


def _set(ctx: Context, experiment: str, place: int, progress: Progress) -> None:
    fares = {"state": progress.state, "words": progress.words, "about": progress.about, "made": progress.made}
    _mark(ctx, experiment, place, **fares)


def _end(ctx: Context, row: Any, state: str, why: str = "not started, because a step before it failed") -> None:
    ctx.execute(
        sa.update(experiment_nodes)
        .where(experiment_nodes.c.experiment == row.id, experiment_nodes.c.state == "WAITING")
        .values(state="SKIPPED", words=why)
    )
    ctx.execute(sa.update(experiments).where(experiments.c.id == row.id).values(state=state, ended_at=ctx.now))
    ctx.about("experiment", row.id, row.session, ended=state)
