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
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
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
    wanted = {**params, **({} if dag is None else {"dag": dag})}
    return perform(actor, "run", tool="experiment_orchestrator", **wanted)


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


def test_an_experiment_names_every_missing_tool_and_how_one_is_installed_and_starts_nothing(
    house: House, ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("data", "ml_ai_augmentation"):
        monkeypatch.delitem(tools.TOOLS, name)
    with pytest.raises(Unavailable) as refused:
        ask(perform, ana, SEED)
    assert refused.value.hint is not None
    assert "tools that are there: distributed_collaboration;" in refused.value.hint
    assert "entry point `collegium.tools`" in refused.value.hint
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
                {"tool": "optics", "action": "trace"},
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


class Unsteady(Squares):
    """A tool that fails a few times before it makes its file."""

    def __init__(self, failures: int, *, is_final: bool = False) -> None:
        super().__init__()
        self.failures, self.is_final = failures, is_final

    def look(self, node: Node, progress: Progress, house: House) -> Progress:
        if len(self.keys) <= self.failures:
            return Progress(state="FAILED", words="out of tune", is_final=self.is_final)
        return super().look(node, progress, house)


def plugged(monkeypatch: pytest.MonkeyPatch, tool: Squares) -> Squares:
    monkeypatch.setitem(tools.TOOLS, "squares", tool)
    return tool


def until_over(house: House, clock: FrozenClock, actor: Actor, experiment: str) -> views.ExperimentView:
    for _ in range(40):
        carry_on(house, clock)
        clock.advance(60)
        if (shown := show(house, actor, experiment)).state != "RUNNING":
            return shown
    raise AssertionError("it did not end")


MAKE = {"tool": "squares", "action": "make", "to": 4}


def test_a_node_is_tried_again_as_often_as_it_says_each_time_under_a_key_of_its_own(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = plugged(monkeypatch, Unsteady(2))
    asked = ask(perform, ana, [{**MAKE, "retries": 2}, RESULTS])
    carry_on(house, clock)
    carry_on(house, clock)
    shown = show(house, ana, asked["experiment"])
    assert (shown.nodes[0].state, shown.nodes[0].tries) == ("WAITING", 1)
    assert shown.nodes[0].words == "try 1 of 3 failed: out of tune"
    shown = until_over(house, clock, ana, asked["experiment"])
    assert states(shown) == ["SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]
    assert shown.nodes[0].tries == 2
    assert tool.keys == [f"{asked['experiment']}:0{more}" for more in ("", ":1", ":2")]


def test_tries_end_and_what_would_fail_again_is_tried_once(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = plugged(monkeypatch, Unsteady(9))
    shown = until_over(house, clock, ana, ask(perform, ana, [{**MAKE, "retries": 1}, RESULTS])["experiment"])
    assert (states(shown), len(tool.keys)) == (["FAILED", "FAILED", "SKIPPED"], 2)
    tool = plugged(monkeypatch, Unsteady(9, is_final=True))
    shown = until_over(house, clock, ana, ask(perform, ana, [{**MAKE, "retries": 5}])["experiment"])
    assert (states(shown), len(tool.keys)) == (["FAILED", "FAILED"], 1)


def test_a_job_that_was_cancelled_or_that_nobody_can_account_for_is_not_run_again(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    for state in ("CANCELLED", "UNKNOWN_OUTCOME"):
        before = count(house, jobs)
        asked = ask(perform, ana, [{**JOB, "retries": 3}])
        carry_on(house, clock)
        end_jobs(house, state)
        assert states(until_over(house, clock, ana, asked["experiment"])) == ["FAILED", "FAILED"]
        assert count(house, jobs) == before + 1
    before = count(house, jobs)
    ask(perform, ana, [{**JOB, "retries": 1}])
    carry_on(house, clock)
    for _ in range(2):
        end_jobs(house, "FAILED")
        for _ in range(4):
            carry_on(house, clock)
    assert count(house, jobs) == before + 2


@pytest.mark.parametrize("retries", [-1, 11, "3", 1.5, True, None])
def test_retries_that_are_no_small_number_are_refused(ana: Actor, perform: Perform, retries: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(perform, ana, [{**JOB, "retries": retries}])
    assert refused.value.path == "$.params.dag[0].retries"


def test_a_resumed_experiment_begins_with_the_first_node_that_changed(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = plugged(monkeypatch, Squares())
    put_file(house, ana, "raw.csv", b"1,2")
    version = {"tool": "distributed_collaboration", "action": "artifact_versioning", "artifact_path": "raw.csv"}
    first = ask(perform, ana, [MAKE, version, {**MAKE, "to": 5}, RESULTS])
    was = until_over(house, clock, ana, first["experiment"])
    assert was.state == "SUCCEEDED"
    assert len(tool.keys) == 2

    with pytest.raises(Conflict) as nothing:
        ask(perform, ana, None, resume=first["experiment"])
    assert nothing.value.code == "nothing_changed"

    changed = ask(perform, ana, [MAKE, version, {**MAKE, "to": 6}, RESULTS], resume=first["experiment"])
    assert [node["state"] for node in changed["nodes"]] == ["SUCCEEDED", "SUCCEEDED", "WAITING", "WAITING"]
    assert changed["resumes"] == first["experiment"]
    assert changed["nodes"][0]["results"] == msgspec.to_builtins(was.nodes[0].results)
    assert until_over(house, clock, ana, changed["experiment"]).state == "SUCCEEDED"
    assert tool.keys[2:] == [f"{changed['experiment']}:2"]

    put_file(house, ana, "raw.csv", b"3,4")
    other_input = ask(perform, ana, None, resume=changed["experiment"])
    assert [node["state"] for node in other_input["nodes"]] == ["SUCCEEDED", "WAITING", "WAITING", "WAITING"]
    assert until_over(house, clock, ana, other_input["experiment"]).state == "SUCCEEDED"
    again = ask(perform, ana, [{**MAKE, "to": 1}], resume=other_input["experiment"])
    assert [node["state"] for node in again["nodes"]] == ["WAITING"]


def test_what_failed_runs_again_when_resumed_and_what_runs_is_not_resumed(
    house: House, ana: Actor, ben: Actor, perform: Perform, clock: FrozenClock
) -> None:
    put_file(house, ana, "run.sh", b"#!/bin/sh\ntrue\n")
    dag = [{**JOB, "script": "run.sh"}, {**JOB, "script": "#!/bin/sh\nfalse"}, NOTE]
    first = ask(perform, ana, dag)
    with pytest.raises(Conflict, match="has not ended"):
        ask(perform, ana, None, resume=first["experiment"])
    carry_on(house, clock)
    end_jobs(house, "SUCCEEDED")
    carry_on(house, clock)
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.state == "QUEUED").values(state="FAILED"))
    assert until_over(house, clock, ana, first["experiment"]).state == "FAILED"
    second = ask(perform, ana, None, resume=first["experiment"])
    assert [node["state"] for node in second["nodes"]] == ["SUCCEEDED", "WAITING", "WAITING"]
    with pytest.raises(NotFound):
        ask(perform, ben, None, resume=first["experiment"])
    perform(ana, "experiment_cancel", experiment=second["experiment"])
    put_file(house, ana, "run.sh", b"#!/bin/sh\ntrue # better\n")
    third = ask(perform, ana, None, resume=second["experiment"])
    assert [node["state"] for node in third["nodes"]] == ["WAITING", "WAITING", "WAITING"]
    with pytest.raises(InvalidInput) as neither:
        ask(perform, ana, None)
    assert neither.value.path == "$.params.dag"


def test_a_cancelled_experiment_cancels_its_job_and_starts_nothing_more(
    house: House, ana: Actor, ben: Actor, perform: Perform, clock: FrozenClock
) -> None:
    asked = ask(perform, ana, [JOB, NOTE])
    carry_on(house, clock)
    with pytest.raises(NotFound):
        perform(ben, "experiment_cancel", experiment=asked["experiment"])
    done = perform(ana, "experiment_cancel", experiment=asked["experiment"])
    assert [done["state"], *(node["state"] for node in done["nodes"])] == ["CANCELLED", "CANCELLED", "SKIPPED"]
    with house.db.read() as conn:
        assert conn.execute(sa.select(jobs.c.state)).scalar_one() == "CANCELLED"
    with pytest.raises(Conflict):
        perform(ana, "experiment_cancel", experiment=asked["experiment"])
    carry_on(house, clock)
    carry_on(house, clock)
    assert count(house, entries) == 0
    assert states(show(house, ana, asked["experiment"])) == ["CANCELLED", "CANCELLED", "SKIPPED"]


def test_a_job_that_was_begun_while_its_experiment_was_cancelled_is_cancelled_too(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_tool = tools.TOOLS["distributed_collaboration"]
    asked = ask(perform, ana, [JOB, NOTE])

    class Overtaken(type(hub_tool)):  # type: ignore[misc]
        def begin(self, node: Node, run: Run, house: House) -> Progress:
            begun = hub_tool.begin(node, run, house)
            perform(ana, "experiment_cancel", experiment=asked["experiment"])
            return begun

    monkeypatch.setitem(tools.TOOLS, "distributed_collaboration", Overtaken())
    carry_on(house, clock)
    with house.db.read() as conn:
        assert conn.execute(sa.select(jobs.c.state)).scalar_one() == "CANCELLED"
    assert states(show(house, ana, asked["experiment"])) == ["CANCELLED", "SKIPPED", "SKIPPED"]
