"""What a submitter sees before a job goes, in Chromium: the preview, and the question about a changed script."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Look, serving
from tests.browser.test_every_page import SNAPSHOTS, _without_chance, faults, sideways
from tests.web import page_world
from tests.web.page_world import World

CHANGED = b"import numpy as np\n\n# Fits the band, with more lines.\nprint('ok')\n" + b"print('x' * 3)\n" * 3


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with serving(tmp_path_factory.mktemp("hub")) as made:
        page_world._file(made.house, made.ben, made.session, "fit_band.py", CHANGED)
        # One of its own for the test that never runs it: tests come in any order, and who ran a script has seen it.
        page_world._file(made.house, made.ana, made.session, "looked_at.py", b"print('ok')\n")
        page_world._file(made.house, made.ben, made.session, "looked_at.py", CHANGED)
        yield made


def written(look: Look, world: World, script: str, press: str, **options: object) -> Page:
    page = look(f"/s/{world.name}/jobs", **options)
    page.get_by_label("Script", exact=True).fill(script)
    page.get_by_role("button", name=press).click()
    page.locator("html[data-alive]").wait_for(state="attached")
    return page


def heard(page: Page, world: World, name: str) -> None:
    """What ears hear of it is as it was kept; see `test_every_page`."""
    said = _without_chance(page.locator("body").aria_snapshot(), world)
    kept = SNAPSHOTS / f"{name}.yaml"
    if os.environ.get("COLLEGIUM_TEST_WRITE_SNAPSHOTS") == "1":
        kept.write_text(said)
    assert said == kept.read_text()


@pytest.mark.parametrize("press", ["Preview", "Submit job"])
def test_what_comes_before_a_submission_can_be_used_by_everybody(look: Look, world: World, press: str) -> None:
    script = "#!/bin/sh\n" + "echo a very long line " * 30 + "\n" if press == "Preview" else "looked_at.py"
    for options in ({}, {"theme": "dark", "width": 360}):
        page = written(look, world, script, press, **options)
        page.get_by_role("button", name="Submit job" if press == "Preview" else "Run it as it is now").wait_for()
        assert faults(page) == []
        assert sideways(page) == []
        if shots := os.environ.get("BEFORE_IT_GOES_SHOTS"):
            page.screenshot(path=f"{shots}/{press}-{len(options)}.png", full_page=True)


def test_a_preview_leads_to_the_job_it_showed(look: Look, world: World) -> None:
    page = written(look, world, "#!/bin/sh\necho 'it is so'\n", "Preview")
    assert page.get_by_role("heading", name="given/script").is_visible()
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url("**/jobs/job_*")
    assert "echo 'it is so'" in page.get_by_role("region", name="Text of the script").inner_text()


def test_a_changed_script_is_shown_before_it_runs(look: Look, world: World) -> None:
    page = written(look, world, "fit_band.py", "Submit job")
    assert page.get_by_role("heading", name="The script has changed").is_visible()
    heard(page, world, "script-changed")
    page.get_by_role("button", name="Run it as it is now").click()
    page.wait_for_url("**/jobs/job_*")
