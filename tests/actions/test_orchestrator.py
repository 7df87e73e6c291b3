"""Experiments: checked whole before anything starts, run in order, each node with the results of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.artifacts.tables import pins
from hub.core import steps
from hub.core.clock import FrozenClock
from hub.core.context import Actor, Scope
from hub.core.errors import InvalidInput, NotAllowed, NotFound, Unavailable
from hub.core.house import House
from hub.core.steps import steps as steps_table
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger
from hub.notebook.tables import entries
from hub.orchestrator import tools, views
from hub.orchestrator.tables import experiments
from hub.orchestrator.tools import Node, Progress, Run
from hub.people.tables import persons
from hub.work import entry
from tests.actions.notebook_fixtures import PLAIN, personal, put_file
from tests.conftest import Perform

SEED = [
    {"tool": "distributed_collaboration", "action": "job_submit", "script": "collect_data.py"},
    {"tool": "data", "action": "import_hdf5", "file": "collected_data.h5"},
    {"tool": "ml_ai_augmentation", "action": "symbolic_regression_train"},
    {"tool": "distributed_collaboration", "action": "artifact_versioning", "results": "from_previous_step"},
]
JOB = {"tool": "distributed_collaboration", "action": "job_submit", "script": "#!/bin/sh\ntrue", "job_type": "local"}
RESULTS = SEED[3]
NOTE = {"tool": "distributed_collaboration", "action": "lab_notebook", "entry": PLAIN}


def ask(perform: Perform, actor: Actor, dag: Any, **params: Any) -> Any:
    return perform(actor, "run", tool="experiment_orchestrator", dag=dag, **params)


def carry_on(house: House, clock: FrozenClock) -> None:
    """What a worker does in the next second."""
    clock.advance(1)
    with house.db.read() as conn:
        waiting = conn.execute(
            sa.select(steps_table.c.id).where(steps_table.c.kind == "run_experiment", steps_table.c.done_at.is_(None))
        ).scalars()
        ids = list(waiting)
    for step_id in ids:
        entry.carry_out(house, step_id)


def show(house: House, actor: Actor, experiment: str) -> views.ExperimentView:
    with house.scope(actor) as scope:
        return views.experiment(scope, experiment)


def states(shown: views.ExperimentView) -> list[str]:
    return [shown.state, *(node.state for node in shown.nodes)]


def end_jobs(house: House, state: str, reason: str = "") -> None:
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(jobs).values(state=state, reason=reason))


def count(house: House, table: sa.Table) -> int:
    with house.db.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_the_seed_experiment_names_everything_missing_and_starts_nothing(
    house: House, ana: Actor, perform: Perform
) -> None:
    with pytest.raises(Unavailable) as refused:
        ask(perform, ana, SEED)
    assert refused.value.code == "tools_missing"
    assert refused.value.errors == (
        "dag[1]: data (import_hdf5)",
        "dag[2]: ml_ai_augmentation (symbolic_regression_train)",
    )
    assert (count(house, experiments), count(house, jobs)) == (0, 0)


def test_a_missing_backend_is_named_with_the_missing_tools(house: House, ana: Actor, perform: Perform) -> None:
    workflow = {"workflow": [{"step": "a", "script": "#!/bin/sh\ntrue"}], "job_type": "kubernetes"}
    with pytest.raises(Unavailable) as refused:
        ask(
            perform,
            ana,
            [
                {**JOB, "job_type": "slurm"},
                SEED[1],
                {"tool": "distributed_collaboration", "action": "job_submit", **workflow},
            ],
        )
    assert len(refused.value.errors) == 3
    assert "Slurm" in refused.value.errors[0]
    assert "Kubernetes" in refused.value.errors[2]
    assert count(house, jobs) == 0


def test_a_jobs_results_are_what_the_next_node_takes(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    asked = ask(perform, ana, [JOB, RESULTS, NOTE])
    assert states(show(house, ana, asked["experiment"])) == ["RUNNING", "WAITING", "WAITING", "WAITING"]
    carry_on(house, clock)
    carry_on(house, clock)
    shown = show(house, ana, asked["experiment"])
    assert states(shown) == ["RUNNING", "RUNNING", "WAITING", "WAITING"]
    assert shown.nodes[0].about is not None
    made = put_file(house, ana, "results/fit.json", b"{}", job=shown.nodes[0].about)
    put_file(house, ana, "other.json", b"[]")
    end_jobs(house, "SUCCEEDED")
    carry_on(house, clock)
    shown = show(house, ana, asked["experiment"])
    assert states(shown) == ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]
    for node in shown.nodes[:2]:
        assert [(each.version, each.path) for each in node.results] == [(made.version, "results/fit.json")]
    with house.db.read() as conn:
        pinned = conn.execute(sa.select(pins.c.digest, pins.c.reason_kind)).all()
        recorded = conn.execute(
            sa.select(ledger.c.actor).where(
                ledger.c.action == "artifact_versioning", ledger.c.object == asked["experiment"]
            )
        ).scalars()
        assert list(recorded) == [ana.id]
    assert pinned == [(made.digest, "experiment")]
    assert count(house, entries) == 1
    assert count(house, jobs) == 1


NOT_SUCCEEDED: list[str] = ["FAILED", "CANCELLED", "TIMED_OUT", "UNKNOWN_OUTCOME"]


def test_after_a_job_that_did_not_succeed_nothing_more_starts(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    for state in NOT_SUCCEEDED:
        asked = ask(perform, ana, [JOB, NOTE])
        carry_on(house, clock)
        end_jobs(house, state, "exit code 3")
        carry_on(house, clock)
        shown = show(house, ana, asked["experiment"])
        assert states(shown) == ["FAILED", "FAILED", "SKIPPED"]
        assert "exit code 3" in shown.nodes[0].words
        assert count(house, entries) == 0


def test_a_workflow_node_ends_when_all_its_jobs_have(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    steps_of = [{"step": name, "script": "#!/bin/sh\ntrue"} for name in ("one", "two")]
    workflow = {"tool": "distributed_collaboration", "action": "job_submit", "workflow": steps_of}
    asked = ask(perform, ana, [workflow, NOTE])
    carry_on(house, clock)
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.step == "one").values(state="SUCCEEDED"))
    carry_on(house, clock)
    assert states(show(house, ana, asked["experiment"])) == ["RUNNING", "RUNNING", "WAITING"]
    end_jobs(house, "SUCCEEDED")
    carry_on(house, clock)
    assert states(show(house, ana, asked["experiment"]))[0] == "SUCCEEDED"


def test_an_artifact_node_hands_its_version_on(house: House, ana: Actor, perform: Perform, clock: FrozenClock) -> None:
    put_file(house, ana, "raw.csv", b"1,2")
    version = {"tool": "distributed_collaboration", "action": "artifact_versioning", "artifact_path": "raw.csv"}
    asked = ask(perform, ana, [version, RESULTS])
    carry_on(house, clock)
    shown = show(house, ana, asked["experiment"])
    assert states(shown)[0] == "SUCCEEDED"
    assert [each.path for each in shown.nodes[1].results] == ["raw.csv"]


def test_a_node_that_is_refused_when_its_turn_comes_says_why(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    asked = ask(perform, ana, [{**JOB, "script": "not_there.py"}, NOTE])
    carry_on(house, clock)
    shown = show(house, ana, asked["experiment"])
    assert states(shown) == ["FAILED", "FAILED", "SKIPPED"]
    assert "not_there.py" in shown.nodes[0].words


def test_rights_are_those_of_the_time_and_of_the_token(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    narrow = msgspec.structs.replace(ana, scopes=frozenset({"experiment:run", "job:read", "entry:read"}))
    asked = ask(perform, narrow, [NOTE])
    carry_on(house, clock)
    assert states(show(house, ana, asked["experiment"])) == ["FAILED", "FAILED"]
    gone = ask(perform, ana, [NOTE])
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(persons).where(persons.c.id == ana.id).values(disabled_at=clock.now()))
    carry_on(house, clock)
    shown = show(house, ana, gone["experiment"])
    assert states(shown) == ["FAILED", "FAILED"]
    assert "no account any more" in shown.nodes[0].words
    assert count(house, entries) == 0


def test_a_node_begun_twice_has_one_effect(house: House, ana: Actor, perform: Perform, clock: FrozenClock) -> None:
    """The first worker dies after the action and before it could write how the node fares."""
    ask(perform, ana, [NOTE])
    clock.advance(1)
    with house.db.read() as conn:
        step_id = conn.execute(sa.select(steps_table.c.id).where(steps_table.c.kind == "run_experiment")).scalar_one()
    first = house.db.write(lambda tx: steps.claim(tx, step_id, "one", clock.now()))
    assert first is not None
    clock.advance(60)
    second = house.db.write(lambda tx: steps.claim(tx, step_id, "two", clock.now()))
    assert second is not None
    with pytest.raises(steps.StaleStep):
        steps.RUNNERS["run_experiment"](first, house)
    assert count(house, entries) == 1
    steps.RUNNERS["run_experiment"](second, house)
    assert count(house, entries) == 1
    with house.db.read() as conn:
        assert conn.execute(sa.select(experiments.c.state)).scalar_one() == "SUCCEEDED"


def test_scripts_in_a_plan_are_sealed(house: House, ana: Actor, perform: Perform) -> None:
    ask(perform, ana, [{**JOB, "script": "#!/bin/sh\necho a-secret"}])
    with house.db.read() as conn:
        assert b"a-secret" not in conn.execute(sa.select(experiments.c.dag)).scalar_one()


NO_NODES: list[tuple[Any, str]] = [
    ([], "$.params.dag"),
    ("all", "$.params.dag"),
    ([1], "$.params.dag[0]"),
    ([{}], "$.params.dag[0].tool"),
    ([{"tool": 1, "action": "x"}], "$.params.dag[0].tool"),
    ([{"tool": "<b>", "action": "x"}], "$.params.dag[0].tool"),
    ([{"tool": "t" * 65, "action": "x"}], "$.params.dag[0].tool"),
    ([{"tool": "data"}], "$.params.dag[0].action"),
    ([JOB, {"tool": "data", "action": "x\n"}], "$.params.dag[1].action"),
    ([JOB, {**JOB, "unknown": 1}], "$.params.dag[1]"),
    ([JOB, {**JOB, "resources": {"nodes": 0}}], "$.params.dag[1].resources.nodes"),
    ([JOB, {**JOB, "resources": {"nodes": 2}}], "$.params.dag[1]"),
    ([RESULTS], "$.params.dag[0].results"),
    ([{"tool": "distributed_collaboration", "action": "nothing"}], "$.params.dag[0].action"),
    ([{"tool": "distributed_collaboration", "action": "token_create", "name": "x"}], "$.params.dag[0].action"),
    ([{"tool": "distributed_collaboration", "action": "key_create", "name": "x"}], "$.params.dag[0].action"),
    ([{"tool": "distributed_collaboration", "params": {**NOTE, "tool": "x"}}], "$.params.dag[0].params"),
    ([JOB] * 201, "$.params.dag"),
]


def test_nodes_that_mean_nothing_are_refused_by_place(house: House, ana: Actor, perform: Perform) -> None:
    for dag, path in NO_NODES:
        with pytest.raises(InvalidInput) as refused:
            ask(perform, ana, dag)
        assert refused.value.path == path, (path, refused.value)
        assert count(house, experiments) == 0


def test_an_experiment_within_an_experiment_is_a_missing_tool(ana: Actor, perform: Perform) -> None:
    with pytest.raises(Unavailable):
        ask(perform, ana, [{"tool": "experiment_orchestrator", "action": "run", "dag": [JOB]}])


def test_strangers_neither_start_nor_see_experiments(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    with pytest.raises((NotFound, NotAllowed)):
        ask(perform, ben, [NOTE], session_id=personal(house, ana))
    asked = ask(perform, ana, [NOTE])
    with pytest.raises(NotFound):
        show(house, ben, asked["experiment"])


class Squares:
    """A tool as another package would plug it in: it makes a file of the squares of what it is given."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def lacks(self, node: Node, scope: Scope) -> list[str]:
        return ["no large numbers here"] if node.given["to"] > 100 else []

    def begin(self, node: Node, run: Run, house: House) -> Progress:
        self.keys.append(run.key)
        text = "\n".join(str(n * n) for n in range(node.given["to"]))
        made = put_file(house, run.actor, "squares.txt", text.encode(), session=run.session)
        return Progress(state="RUNNING", about=made.version)

    def look(self, node: Node, progress: Progress, house: House) -> Progress:
        assert progress.about is not None
        return Progress(state="SUCCEEDED", made=(progress.about,))


@pytest.fixture
def squares() -> Iterator[Squares]:
    tool = Squares()
    tools.provides("squares", tool)
    yield tool
    del tools.TOOLS["squares"]


def test_another_tool_plugs_in(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, squares: Squares
) -> None:
    node = {"tool": "squares", "action": "make", "to": 4}
    with pytest.raises(Unavailable) as refused:
        ask(perform, ana, [{**node, "to": 101}])
    assert refused.value.errors == ("dag[0]: squares (make): no large numbers here",)
    asked = ask(perform, ana, [node, RESULTS])
    carry_on(house, clock)
    carry_on(house, clock)
    shown = show(house, ana, asked["experiment"])
    assert states(shown) == ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]
    assert [each.path for each in shown.nodes[1].results] == ["squares.txt"]
    assert squares.keys == [f"{asked['experiment']}:0"]
