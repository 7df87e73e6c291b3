"""Running an experiment: a step carries its nodes on until one has to be waited for, and then asks to be called again.

Every change of a node is written together with a renewal of the step's lease, so a worker that was overtaken writes
nothing; a node begun twice is begun under one idempotency key.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import steps
from hub.core.context import Actor, Context
from hub.core.database import Tx
from hub.core.errors import HubError, NotAllowed
from hub.core.house import House
from hub.core.keys import unseal
from hub.core.steps import Step, runs, when_given_up
from hub.orchestrator.plan import node_of
from hub.orchestrator.tables import experiment_nodes, experiments
from hub.orchestrator.tools import TOOLS, Node, Progress, Run
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
        before = tuple(nodes[current.place - 1].made) if current.place else ()
        progress = _carry_on(house, row, current, before)
        if not _write(house, step, row, current, progress, last=current.place == len(nodes) - 1):
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


def _carry_on(house: House, row: Any, current: Any, previous: tuple[str, ...]) -> Progress:
    """Begin the node or look at it; what went wrong for good is how it fares, what may pass is raised."""
    plan = msgspec.json.decode(unseal(house.keys.domain(row.session), row.dag, sealed_about(row.id)))
    node: Node = node_of(current.place, plan[current.place])
    tool = TOOLS[node.tool]
    try:
        if current.state == "RUNNING":
            begun = Progress(state="RUNNING", words=current.words, about=current.about, made=tuple(current.made))
            return tool.look(node, begun, house)
        key = f"{row.id}:{current.place}"
        run = Run(experiment=row.id, session=row.session, actor=_actor(house, row), key=key, previous=previous)
        return tool.begin(node, run, house)
    except HubError as problem:
        if problem.temporary:
            raise
        return Progress(state="FAILED", words=str(problem)[:2000])


def _actor(house: House, row: Any) -> Actor:
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, row.by)
    if actor is None:
        raise NotAllowed("whoever started this experiment has no account any more", code="actor_gone")
    scopes = None if row.scopes is None else frozenset(row.scopes)
    return msgspec.structs.replace(actor, scopes=scopes, by_service=row.by_service)


def _write(house: House, step: Step, row: Any, current: Any, progress: Progress, *, last: bool) -> bool:
    """Keep how the node fares; whether to go on with the next one at once."""

    def work(ctx: Context) -> bool:
        steps.renew(ctx.tx, step, ctx.now)
        if (progress.state, progress.words) != (current.state, current.words):
            _set(ctx, row.id, current.place, progress)
        if progress.state != current.state:
            facts = {"place": current.place, "state": progress.state, "made": progress.made, "about": progress.about}
            ctx.about("experiment", row.id, row.session, **facts)
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


def _set(ctx: Context, experiment: str, place: int, progress: Progress) -> None:
    ctx.execute(
        sa.update(experiment_nodes)
        .where(experiment_nodes.c.experiment == experiment, experiment_nodes.c.place == place)
        .values(state=progress.state, words=progress.words, about=progress.about, made=progress.made)
    )


def _end(ctx: Context, row: Any, state: str) -> None:
    ctx.execute(
        sa.update(experiment_nodes)
        .where(experiment_nodes.c.experiment == row.id, experiment_nodes.c.state == "WAITING")
        .values(state="SKIPPED", words="not started, because a step before it failed")
    )
    ctx.execute(sa.update(experiments).where(experiments.c.id == row.id).values(state=state, ended_at=ctx.now))
    ctx.about("experiment", row.id, row.session, ended=state)
