"""The set-up page while a test runs: its outcome appears by itself, and what is being typed stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from hub.perform import record
from hub.setup import testing
from hub.setup.rules import Check, StepState
from tests.browser.conftest import Look, serving
from tests.web.page_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own, since this module changes it."""
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


def mark(world: World, state: StepState, *checks: Check) -> None:
    def work(ctx: testing.Context) -> None:
        testing.mark(ctx, "backup", state, list(checks))
        ctx.about("setup", "backup")

    record(world.house, "setup_tested", work, world.olga)


def test_what_a_test_finds_appears_and_what_is_being_typed_stays(look: Look, world: World) -> None:
    mark(world, "testing")
    page = look("/setup", person=world.olga)
    region = page.get_by_role("region", name="Backup place")
    expect(region).to_contain_text("Being tested")
    page.get_by_role("textbox", name="Mail server").fill("smtp.lab.org")
    mark(world, "failed", Check("place", False, "/mnt/backups: no such file.", "Make the folder."))
    page.clock.resume()
    page.clock.run_for(2000)
    expect(region).to_contain_text("/mnt/backups: no such file. Make the folder.")
    expect(region).not_to_contain_text("Being tested")
    assert page.get_by_role("textbox", name="Mail server").input_value() == "smtp.lab.org"
    expect(page.locator("#says")).to_contain_text("Backup place failed")


def test_every_step_can_be_saved_without_a_script(look: Look, world: World, tmp_path: Path) -> None:
    page = look("/setup", person=world.olga, java_script_enabled=False)
    region = page.get_by_role("region", name="Backup place")
    if not region.get_by_role("textbox", name="Folder").is_visible():
        region.get_by_text("Change").click()
    region.get_by_role("textbox", name="Folder").fill(str(tmp_path / "backups"))
    region.get_by_role("button", name="Save and test").click()
    assert page.url.endswith("/setup#backup")
    expect(page.get_by_role("region", name="Backup place")).to_contain_text("The test runs; look again in a moment.")
