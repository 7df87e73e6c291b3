"""What can be read of experiments: how far each is, node by node."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.tables import versions as artifact_versions
from hub.core import limits
from hub.core.access import Guarded, guards
from hub.core.clock import iso
from hub.core.context import Scope
from hub.orchestrator import terms
from hub.orchestrator.tables import experiment_nodes, experiments
from hub.people.views import PersonView, people
from hub.sessions.names import full_name


class ResultView(msgspec.Struct, frozen=True):
    """A version that a node made."""

    version: str
    path: str
    digest: str | None


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """How one node fares; `about` is the job or entry it is about, `tries` how many tries have failed."""

    place: int
    tool: str
    action: str
    state: str
    words: str
    tries: int
    about: str | None
    results: list[ResultView]


class ExperimentView(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment: RUNNING, SUCCEEDED, FAILED or CANCELLED, with its nodes in their order.

    `resumes` is the earlier run whose first nodes stand in this one. `deadline` and `budget` are of all nodes together,
    `comes_to` what those that began have cost and may cost yet.
    """

    experiment: str
    session: str
    session_name: str
    url: str
    state: str
    at: str
    ended: str | None
    resumes: str | None
    by: PersonView
    nodes: list[NodeView]
    deadline: dt.datetime | None = None
    budget: float | None = None
    comes_to: float | None = None


@guards("experiment")
def guard_experiment(conn: sa.Connection, experiment: str) -> Guarded | None:
    """An experiment is seen by whoever sees its session."""
    row = conn.execute(sa.select(experiments.c.session, experiments.c.by).where(experiments.c.id == experiment)).first()
    return None if row is None else Guarded(row.session, row.by)


def experiment(scope: Scope, ref: str) -> ExperimentView:
    """One experiment."""
    return of(scope, scope.access.find("experiment", ref, "job:read"))


def session_experiments(scope: Scope, ref: str | None) -> list[ExperimentView]:
    """A session's experiments, newest first."""
    session = scope.access.session(ref, "job:read")
    ids = scope.execute(
        sa.select(experiments.c.id)
        .where(experiments.c.session == session)
        .order_by(experiments.c.id.desc())
        .limit(limits.PAGE_ITEMS)
    ).scalars()
    return [of(scope, each) for each in list(ids)]


def of(scope: Scope, experiment_id: str) -> ExperimentView:
    """An experiment whose rights were checked."""
    row = scope.execute(sa.select(experiments).where(experiments.c.id == experiment_id)).one()
    nodes = scope.execute(
        sa.select(experiment_nodes)
        .where(experiment_nodes.c.experiment == experiment_id)
        .order_by(experiment_nodes.c.place)
    ).all()
    made = _made(scope, {each for node in nodes for each in node.made})
    return ExperimentView(
        experiment=row.id,
        session=row.session,
        session_name=full_name(scope, row.session),
        url=f"{scope.settings.origin}/experiments/{row.id}",
        state=row.state,
        at=iso(row.at),
        ended=None if row.ended_at is None else iso(row.ended_at),
        resumes=row.resumes,
        by=people(scope, {row.by})[row.by],
        deadline=row.deadline,
        budget=row.budget,
        comes_to=None if row.budget is None else terms.spent_by(scope, row, nodes),
        nodes=[
            NodeView(
                place=node.place,
                tool=node.tool,
                action=node.action,
                state=node.state,
                words=node.words,
                tries=node.tries,
                about=node.about,
                results=[made[each] for each in node.made if each in made],
            )
            for node in nodes
        ],
    )


def _made(scope: Scope, wanted: set[str]) -> dict[str, ResultView]:
    rows: Any = scope.execute(
        sa.select(artifact_versions.c.id, artifact_versions.c.path, artifact_versions.c.digest).where(
            artifact_versions.c.id.in_(wanted)
        )
    )
    return {row.id: ResultView(row.id, row.path, row.digest) for row in rows}
