"""The form asks where a job would run, in Chromium: by keys and pointer, at every width, in both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actions.cluster_fixtures import account_on, answers
from tests.browser.conftest import Look, serving
from tests.browser.test_every_page import faults, sideways
from tests.web.page_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own, since a job is submitted in it."""
    with serving(Path(tmp_path_factory.mktemp("hub"))) as made:
        yield made


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_places_are_shown_and_the_one_that_was_shown_is_submitted_to(
    look: Look, world: World, theme: str, tmp_path: Path
) -> None:
    account = account_on(world.house, world.ana, "raven" if theme == "light" else "swift")
    page = look(f"/s/{world.name}/jobs", theme=theme)
    page.get_by_label("Script", exact=True).fill("#!/bin/sh\necho here\n")
    page.get_by_label("At most this long").fill("30")
    page.get_by_role("button", name="Show where it would run").click()
    page.get_by_role("heading", name="Where it would run").wait_for()
    assert "has not answered yet" in page.locator(".lede").inner_text()
    answers(world.house, account, 3600)
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("in 1 h", exact=True).first.wait_for()
    assert faults(page) == []
    assert sideways(page) == []
    for width in (360, 1180):
        page.set_viewport_size({"width": width, "height": 900})
        page.screenshot(path=tmp_path / f"plan-{theme}-{width}.png", full_page=True)
    page.get_by_role("button", name="Submit to this hub").click()
    page.wait_for_url("**/jobs/job_*")
    page.get_by_text("Sent to this hub: the cheapest.").wait_for()
    assert faults(page) == []
