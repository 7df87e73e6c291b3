"""Starting an experiment: all nodes are checked first, and if one cannot run, none does."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.orchestrator import hub_tool, running, views
from hub.orchestrator.plan import plan
from hub.orchestrator.tables import experiment_nodes, experiments

TOOL = "experiment_orchestrator"
NODES = 200

__all__ = ["RunExperiment", "hub_tool", "run_experiment"]


class RunExperiment(Action, frozen=True, tag="run"):
    """Run the nodes of an experiment one after the other, each with the results of the one before."""

    dag: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=NODES)]
    session_id: Annotated[str, Meta(min_length=1, max_length=300)] | None = None


@handles(RunExperiment, needs="experiment:run", tool=TOOL, only=True)
def run_experiment(act: RunExperiment, ctx: Context) -> views.ExperimentView:
    """Check every node, keep the plan, leave the running to a step."""
    session = ctx.access.session(act.session_id, "experiment:run")
    nodes = plan(act.dag, ctx)
    experiment = new_id("dag")
    key = ctx.house.keys.domain_in(ctx.tx, session)
    ctx.execute(
        sa.insert(experiments).values(
            id=experiment,
            session=session,
            by=ctx.actor.id,
            by_service=ctx.actor.by_service,
            scopes=None if ctx.actor.scopes is None else sorted(ctx.actor.scopes),
            dag=seal(key, msgspec.json.encode(act.dag), running.sealed_about(experiment)),
            state="RUNNING",
            at=ctx.now,
        )
    )
    for node in nodes:
        ctx.execute(
            sa.insert(experiment_nodes).values(
                experiment=experiment,
                place=node.place,
                tool=node.tool,
                action=node.action,
                state="WAITING",
                made=[],
            )
        )
    ctx.enqueue(running.STEP, experiment)
    ctx.about("experiment", experiment, session, nodes=len(nodes))
    return views.of(ctx, experiment)
