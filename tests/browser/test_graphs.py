"""Workflows and experiments as graphs: a picture and its list twin, for eyes, ears, phones, in both themes, alive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from playwright.sync_api import expect

from hub.jobs.tables import jobs
from hub.orchestrator.tables import experiment_nodes, experiments
from hub.perform import perform as perform_action
from hub.perform import record
from tests.actions.notebook_fixtures import put_file
from tests.browser.conftest import Look, serving
from tests.browser.test_every_page import SNAPSHOTS, faults, sideways
from tests.web import page_world
from tests.web.page_world import HOSTILE, World

STEP = "#!/bin/sh\ntrue\n"


class Graphs(msgspec.Struct):
    """A workflow half done and an experiment half done, by the paths of their pages."""

    world: World
    workflow: str
    experiment: str
    jobs: dict[str, str]


@pytest.fixture
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graphs]:
    """Each test's own: one of them carries them on."""
    with serving(tmp_path_factory.mktemp("graphs")) as world:
        yield _made(world)


def _made(world: World) -> Graphs:
    house, ana = world.house, world.ana

    def perform(tool: str, action: str, **params: Any) -> Any:
        envelope = {"tool": tool, "params": {"action": action, "session_id": world.session, **params}}
        return perform_action(house, envelope, ana).result

    hub = "distributed_collaboration"
    steps = [
        {"step": "preprocess", "script": STEP},
        {"step": f"fit {HOSTILE}", "script": STEP, "dependencies": ["preprocess"]},
        {"step": "simulate", "script": STEP, "dependencies": ["preprocess"]},
        *(
            {"step": f"summary {at}", "script": STEP, "dependencies": [f"summary {at - 1}" if at else "simulate"]}
            for at in range(4)
        ),
    ]
    made = perform(hub, "job_submit", workflow=steps, name="the HCl band, whole", job_type="local")
    by_step = {step["step"]: step["job"] for step in made["steps"]}
    for step in ("preprocess", f"fit {HOSTILE}"):
        page_world._move(house, by_step[step], "placed", placed_at=house.clock.now())
        page_world._move(house, by_step[step], "started", started_at=house.clock.now())
        if step == "preprocess":
            page_world.finish(world, by_step[step])
    table = put_file(house, ana, "collected_data/run.csv", b"x,y\n1,2\n", session=world.session)
    dag = [
        {"tool": hub, "action": "job_submit", "script": STEP, "retries": 2},
        {"tool": "data", "action": "import_hdf5"},
        {"tool": "ml_ai_augmentation", "action": "symbolic_regression_train"},
        {"tool": hub, "action": "artifact_versioning", "results": "from_previous_step"},
    ]
    experiment = perform("experiment_orchestrator", "run", dag=dag)["experiment"]
    _set(world, experiment, 0, state="SUCCEEDED", words="1 file came back", tries=1, about=by_step["preprocess"])
    words = f"3 datasets of {HOSTILE} became 1 file"
    _set(world, experiment, 1, state="SUCCEEDED", words=words, made=[table.version])
    _set(world, experiment, 2, state="RUNNING", words="job 9 is running", about=by_step["simulate"])
    return Graphs(world, f"/jobs/{by_step['preprocess']}", f"/experiments/{experiment}", by_step)


def _set(world: World, experiment: str, place: int, **values: Any) -> None:
    here = sa.and_(experiment_nodes.c.experiment == experiment, experiment_nodes.c.place == place)
    change = sa.update(experiment_nodes).where(here).values(**values)
    world.house.db.write(lambda tx: tx.execute(change) and None)


@pytest.fixture
def world(graphs: Graphs) -> World:
    return graphs.world


@pytest.mark.parametrize("name", ["workflow", "experiment"])
def test_a_graph_can_be_used_by_everybody_at_every_width_in_both_themes(
    look: Look, graphs: Graphs, name: str, tmp_path: Path
) -> None:
    path = getattr(graphs, name)
    for theme in ("light", "dark"):
        wide = look(path, width=1280, theme=theme)
        expect(wide.locator("svg.lin").first).to_be_visible()
        assert faults(wide) == []
        wide.screenshot(path=tmp_path / f"{name}-{theme}-wide.png", full_page=True)
        narrow = look(path, width=360, theme=theme)
        assert faults(narrow) == []
        expect(narrow.locator(".twin").first).to_be_visible()
        narrow.screenshot(path=tmp_path / f"{name}-{theme}-360.png", full_page=True)
    assert sideways(wide) == []


def test_the_list_says_what_the_picture_shows(look: Look, graphs: Graphs) -> None:
    page = look(graphs.workflow)
    block = page.get_by_role("region", name="Workflow")
    expect(block.get_by_text("One of seven steps done.")).to_be_visible()
    twin = block.locator(".twin")
    expect(twin.get_by_role("listitem")).to_have_count(7)
    expect(twin.get_by_text("Waiting · job").first).to_contain_text("from")
    assert block.locator("svg.lin .ok.me").count() == 1
    assert block.locator("svg.lin .run").count() == 1
    assert block.locator("svg.lin .wait").count() == 5
    page = look(graphs.experiment)
    expect(page.get_by_text("Two of four nodes done.").first).to_be_visible()
    expect(page.get_by_role("link", name="collected_data/run.csv")).to_be_visible()
    expect(page.get_by_text("One try failed before.")).to_be_visible()
    jobs_page = look(f"/s/{graphs.world.name}/jobs")
    expect(jobs_page.get_by_role("region", name="Experiments").get_by_role("link")).to_have_count(1)
    assert SNAPSHOTS.is_dir()


def test_the_pictures_keep_up(look: Look, graphs: Graphs) -> None:
    page = look(graphs.workflow)
    expect(page.locator("svg.lin .ok")).to_have_count(1)
    page_world.finish(graphs.world, graphs.jobs[f"fit {HOSTILE}"])
    expect(page.locator("svg.lin .ok")).to_have_count(2, timeout=15_000)
    experiment = graphs.experiment.rpartition("/")[2]
    page = look(graphs.experiment)
    page.get_by_role("button", name="Cancel experiment").click()
    expect(page.get_by_text("Cancelled").first).to_be_visible(timeout=15_000)
    page.get_by_role("button", name="Resume").click()
    page.wait_for_url(lambda url: experiment not in url)
    expect(page.get_by_role("link", name="an earlier run")).to_be_visible()
    with graphs.world.house.db.read() as conn:
        assert conn.execute(sa.select(experiments.c.state).where(experiments.c.id == experiment)).scalar_one() == (
            "CANCELLED"
        )
        assert (
            conn.execute(sa.select(jobs.c.state).where(jobs.c.id == graphs.jobs["simulate"])).scalar_one()
            == "CANCELLED"
        )
    assert record is not None
