"""The page of a job that a cluster has: how it is held, released and started again, and the line that leads to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from hub.jobs.port import Wished
from hub.perform import perform
from tests.actions.cluster_fixtures import PaperCluster
from tests.browser.conftest import Look, serving
from tests.browser.test_every_page import faults, sideways
from tests.jobs import run_steps
from tests.web.page_world import World

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of this module's own: its tests change it."""
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


def test_it_is_held_by_a_button_and_its_node_is_told_once_it_runs(look: Look, world: World) -> None:
    jump = {"host": "gate.example.org", "host_keys": ["ssh-ed25519 AAAA"]}
    swan = PaperCluster(world.house, world.ana, "swan", jump=jump, portal_url="https://portal.example.org/")
    wanted = {"script": "#!/bin/sh\ntrue\n", "name": "relax", "cluster": "swan"}
    envelope = {"tool": "distributed_collaboration", "params": {"action": "job_submit", **wanted}}
    job = perform(world.house, envelope, world.ana).result["id"]
    run_steps(world.house)
    swan.tell(job, "waiting", "Waiting behind jobs that go before it.")
    page = look(f"/jobs/{job}", person=world.ana)
    page.get_by_role("button", name="Hold back").click()
    expect(page.get_by_text("Being held back.").first).to_be_visible()
    assert swan.watched(job).wish == Wished("hold", 1)
    assert page.get_by_role("button", name="Cancel job").is_visible()
    swan.tell(job, "started", "fox[07-09]")
    page = look(f"/jobs/{job}", person=world.ana)
    expect(page.get_by_text("Running for").first).to_be_visible()
    line = "ssh -J ana@gate.example.org,ana@swan.example -L 8888:localhost:8888 ana@fox07"
    expect(page.get_by_text(line)).to_be_attached()
    expect(page.get_by_role("link", name="the cluster's own pages")).to_be_attached()
    expect(page.get_by_role("button", name="Start again")).to_be_visible()
    for details in page.locator("details").all():
        details.evaluate("each => { each.open = true }")
    assert faults(page) == []
    assert sideways(page) == []
