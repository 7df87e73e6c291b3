"""Starting an experiment, anew or from where an earlier run no longer stands, and ending one.

All nodes are checked first, and if one cannot run, none does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput
from hub.core.ids import new_id
from hub.core.keys import seal
from hub.jobs import plans, seen
from hub.jobs.actions import Budget, Confirmed, Within
from hub.orchestrator import hub_tool, running, terms, views
from hub.orchestrator.plan import plan
from hub.orchestrator.resuming import standing
from hub.orchestrator.tables import experiment_nodes, experiments
from hub.orchestrator.tools import Node

TOOL = "experiment_orchestrator"
NODES = 200

__all__ = ["CancelExperiment", "RunExperiment", "hub_tool", "run_experiment"]


class RunExperiment(Action, frozen=True, tag="run"):
    """Run the nodes of an experiment one after the other, each with the results of the one before.

    With `resume`, the nodes at the beginning whose words, files and inputs are as in that earlier run stand and are not
    run again; without a `dag` it is that run's. `within` and `budget` are of all nodes that run, together.
    """

    dag: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=NODES)] | None = None
    resume: Annotated[str, Meta(min_length=1, max_length=300)] | None = None
    session_id: Annotated[str, Meta(min_length=1, max_length=300)] | None = None
    within: Within | None = None
    budget: Budget | None = None
    confirm: Confirmed = None


@handles(RunExperiment, needs="experiment:run", tool=TOOL, only=True)
def run_experiment(act: RunExperiment, ctx: Context) -> views.ExperimentView:
    """Check every node, keep the plan, leave the running to a step."""
    former = None if act.resume is None else _former(act.resume, ctx)
    session = ctx.access.session(former.session if former else act.session_id, "experiment:run")
    dag = act.dag or (running.plan_of(ctx.house, former) if former else None)
    if dag is None:
        raise InvalidInput("an experiment needs its `dag`, or an earlier run to `resume`", path="$.params.dag")
    asked = plans.terms(act.within, act.budget)
    nodes = plan(dag, ctx)
    kept = [] if former is None else _kept(ctx, former, nodes)
    agreed, nodes = _agreed(ctx, session, dag, nodes, len(kept), act.confirm)
    terms.check(ctx, session, nodes[len(kept) :], asked)
    experiment = new_id("dag")
    key = ctx.house.keys.domain_in(ctx.tx, session)
    ctx.execute(
        sa.insert(experiments).values(
            id=experiment,
            session=session,
            by=ctx.actor.id,
            by_service=ctx.actor.by_service,
            scopes=None if ctx.actor.scopes is None else sorted(ctx.actor.scopes),
            dag=seal(key, msgspec.json.encode(agreed), running.sealed_about(experiment)),
            state="RUNNING",
            at=ctx.now,
            resumes=former.id if former else None,
            **asked.columns(ctx.now),
        )
    )
    for row in kept:
        stands = {
            "terms": None,
            "state": "SUCCEEDED",
            "words": f"as in the earlier run: {row.words}"[:2000],
            "tries": 0,
        }
        ctx.execute(sa.insert(experiment_nodes).values(**{**row._mapping, **stands, "experiment": experiment}))
    for node in nodes[len(kept) :]:
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
    resumes = {} if former is None else {"resumes": former.id, "kept": len(kept)}
    ctx.about("experiment", experiment, session, nodes=len(nodes), **resumes)
    return views.of(ctx, experiment)


def _agreed(
    ctx: Context, session: str, dag: Sequence[dict[str, Any]], nodes: list[Node], kept: int, confirmed: Confirmed
) -> tuple[Sequence[dict[str, Any]], list[Node]]:
    """The nodes with what was confirmed. Raises Conflict for scripts that somebody else changed."""
    agreed = [confirmed] if isinstance(confirmed, str) else list(confirmed or ())
    seen.check(ctx, session, hub_tool.changed_scripts(nodes[kept:], ctx, session), agreed)
    if not agreed:
        return dag, nodes
    # They stand in the nodes that submit, since those submit later.
    dag = [hub_tool.confirming(node, agreed) for node in nodes]
    return dag, plan(dag, ctx)


def _former(ref: str, ctx: Context) -> Any:
    found = ctx.access.find("experiment", ref, "experiment:run")
    row = ctx.execute(sa.select(experiments).where(experiments.c.id == found)).one()
    if row.state == "RUNNING":
        raise Conflict("that run has not ended; cancel it first", code="experiment_is_running", path="$.params.resume")
    return row


def _kept(ctx: Context, former: Any, nodes: Sequence[Node]) -> Sequence[Any]:
    """The rows of the earlier run that stand. Raises Conflict when nothing would be left to run."""
    rows = ctx.execute(
        sa.select(experiment_nodes).where(experiment_nodes.c.experiment == former.id).order_by(experiment_nodes.c.place)
    ).all()
    many = standing(ctx, former.session, nodes, rows)
    if many == len(nodes):
        raise Conflict(
            f"all {many} nodes stand as they ran in {former.id}: no word and no file of them has changed",
            code="nothing_changed",
            path="$.params.resume",
            hint="leave `resume` out to run all of it again",
        )
    return rows[:many]


class CancelExperiment(Action, frozen=True, tag="experiment_cancel"):
    """End an experiment: the job of the node that runs is cancelled, and no other node starts."""

    experiment: Annotated[str, Meta(min_length=1, max_length=300)]


@handles(CancelExperiment, needs="job:cancel")
def cancel_experiment(act: CancelExperiment, ctx: Context) -> views.ExperimentView:
    """Somebody else's needs the right to cancel any job."""
    found = ctx.access.find("experiment", act.experiment, "job:cancel")
    row = ctx.execute(sa.select(experiments).where(experiments.c.id == found).with_for_update()).one()
    if row.by != ctx.actor.id:
        ctx.access.find("experiment", found, "job:cancel_any")
    if row.state != "RUNNING":
        raise Conflict(f"that experiment has ended already: {row.state.lower()}", code="experiment_is_over")
    running.cancel(ctx, row)
    return views.of(ctx, found)
