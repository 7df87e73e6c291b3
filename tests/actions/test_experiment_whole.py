"""The seed's experiment, whole, on jobs that really run: measured, imported, a formula found, kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import lineage, pins, versions
from hub.core.context import Actor
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.orchestrator import views
from tests import jobs as worker
from tests.conftest import Perform
from tests.jobs import add_file, personal, run_until

DAG: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "seed_payloads.json").read_text())[
    "research_workflow"
]["params"]["dag"]

# The period of a pendulum squared over its length, as an experiment would write it down.
COLLECT = b"""
import h5py, numpy as np
random = np.random.default_rng(7)
length = random.uniform(0.2, 2.0, 120)
mass = random.uniform(0.1, 1.0, 120)
with h5py.File("collected_data.h5", "w") as file:
    run = file.create_group("run")
    run.attrs["apparatus"] = "pendulum"
    run["length"] = length
    run["mass"] = mass
    run["y"] = 4.0 * length
    run["y"].attrs["unit"] = "s^2"
    file["camera/frames"] = np.zeros((2, 3, 4), dtype="u1")
print("measured")
"""


@pytest.fixture(autouse=True)
def with_experiments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's turn includes the steps of experiments; jobs run in the sandbox, where there is one."""
    monkeypatch.setattr(worker, "KINDS", (*worker.KINDS, "run_experiment"))


def show(house: House, actor: Actor, experiment: str) -> views.ExperimentView:
    with house.scope(actor) as scope:
        return views.experiment(scope, experiment)


def ended(house: House, clock: Any, actor: Actor, experiment: str, seconds: float = 240) -> views.ExperimentView:
    def is_over() -> bool:
        clock.advance(1)
        return show(house, actor, experiment).state != "RUNNING"

    run_until(house, is_over, seconds)
    return show(house, actor, experiment)


def content(house: House, actor: Actor, version: str) -> bytes:
    with house.db.read() as conn:
        digest = conn.execute(sa.select(versions.c.digest).where(versions.c.id == version)).scalar_one()
    return b"".join(house.port(BlobStore).open(digest, personal(house, actor)))  # type: ignore[type-abstract]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_seeds_experiment_runs_whole(house: House, ana: Actor, perform: Perform, clock: Any) -> None:
    add_file(house, ana, perform, "collect_data.py", COLLECT)
    asked = perform(ana, "run", tool="experiment_orchestrator", dag=DAG)
    shown = ended(house, clock, ana, asked["experiment"])
    assert [node.state for node in shown.nodes] == ["SUCCEEDED"] * 4, [node.words for node in shown.nodes]
    collected, imported, trained, kept = [[each.path for each in node.results] for node in shown.nodes]
    assert collected == ["collected_data.h5"]
    assert imported == ["collected_data/run.csv", "collected_data/camera/frames.npy", "collected_data/summary.json"]
    assert trained == kept == ["symbolic_regression/fit.svg", "symbolic_regression/result.json"]
    by_path = {each.path: each for node in shown.nodes for each in node.results}
    summary = json.loads(content(house, ana, by_path["collected_data/summary.json"].version))
    assert summary["files"][0] == {
        "path": "collected_data/run.csv",
        "datasets": ["/run/length", "/run/mass", "/run/y"],
        "columns": ["length", "mass", "y"],
    }
    result = json.loads(content(house, ana, by_path["symbolic_regression/result.json"].version))
    assert result["score"]["r2_held_out"] > 0.99
    assert result["target"] == "y"
    assert "length" in result["formula"]
    assert result["data"]["digest"].startswith("sha256:")
    with house.db.read() as conn:
        edges = set(conn.execute(sa.select(lineage.c.version, lineage.c.source)).all())
        pinned = set(conn.execute(sa.select(pins.c.digest).where(pins.c.reason_id == asked["experiment"])).scalars())
    source, table = by_path["collected_data.h5"].version, by_path["collected_data/run.csv"].version
    formula = by_path["symbolic_regression/result.json"]
    assert {(table, source), (formula.version, table)} <= edges
    assert {each.digest for each in shown.nodes[3].results} == pinned
    assert b"<svg" in content(house, ana, by_path["symbolic_regression/fit.svg"].version)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tool": "data", "action": "export"}, "$.params.dag[0].action"),
    ({"tool": "data", "action": "import_hdf5", "file": ""}, "$.params.dag[0].file"),
    ({"tool": "data", "action": "import_hdf5", "params": {"action": "import_hdf5", "x": 1}}, "$.params.dag[0].params"),
    ({"tool": "data", "action": "import_hdf5", "to": "../up"}, "$.params.dag[0].to"),
    ({"tool": "ml_ai_augmentation", "action": "symbolic_regression_train", "generations": 0},
     "$.params.dag[0].generations"),
    ({"tool": "ml_ai_augmentation", "action": "symbolic_regression_train", "functions": ["add", "exec"]},
     "$.params.dag[0].functions[1]"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "path"), WRONG)
def test_what_a_tool_cannot_mean_is_refused_before_anything_starts(
    ana: Actor, perform: Perform, node: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        perform(ana, "run", tool="experiment_orchestrator", dag=[node])
    assert refused.value.path == path


def test_a_missing_library_is_told_in_words(ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("data_tool", "ml_tool"):
        monkeypatch.setattr(f"hub.orchestrator.{module}.find_spec", lambda _: None)
    with pytest.raises(Exception, match="nothing was started") as refused:
        perform(ana, "run", tool="experiment_orchestrator", dag=DAG[1:])
    first, second = refused.value.errors  # type: ignore[attr-defined]
    assert first.startswith("dag[0]: data (import_hdf5): h5py is not installed on this hub")
    assert "collegium[experiments]" in second


def test_files_a_tool_cannot_find_end_the_experiment_with_what_there_was(
    house: House, ana: Actor, perform: Perform, clock: Any
) -> None:
    nodes = [
        ({"tool": "data", "action": "import_hdf5"}, "the step before made no file ending in .h5"),
        ({"tool": "data", "action": "import_hdf5", "file": "gone.h5"}, "has a file 'gone.h5'"),
        ({"tool": "ml_ai_augmentation", "action": "symbolic_regression_train", "data": "no.csv"}, "'no.csv'"),
    ]
    for node, said in nodes:
        asked = perform(ana, "run", tool="experiment_orchestrator", dag=[node])
        shown = ended(house, clock, ana, asked["experiment"])
        assert shown.state == "FAILED"
        assert said in shown.nodes[0].words


def test_a_table_without_numbers_fails_its_job_with_the_reason_in_the_log(
    house: House, ana: Actor, perform: Perform, clock: Any
) -> None:
    add_file(house, ana, perform, "words.csv", b"a,b\nx,y\n")
    node = {"tool": "ml_ai_augmentation", "action": "symbolic_regression_train", "data": "words.csv"}
    shown = ended(house, clock, ana, perform(ana, "run", tool="experiment_orchestrator", dag=[node])["experiment"])
    assert shown.nodes[0].state == "FAILED"
    assert "exit code 1" in shown.nodes[0].words
