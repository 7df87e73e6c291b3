"""The page of an experiment with a deadline and a budget: what is left of them, and running it again within others."""

from __future__ import annotations

import re

from starlette.applications import Starlette

from tests.conftest import Perform
from tests.web.conftest import ORIGIN
from tests.web.page_world import World
from tests.web.test_pages import browser, words_of, world

__all__ = ["world"]  # a fixture
TOOL = "experiment_orchestrator"
JOB = {"tool": "distributed_collaboration", "action": "job_submit", "script": "#!/bin/sh\ntrue", "job_type": "local"}


def test_the_page_tells_what_the_whole_is_to_keep_and_asks_anew_when_it_is_resumed(
    application: Starlette, world: World, perform: Perform
) -> None:
    wish = {"tool": TOOL, "session_id": world.session, "within": "8:00:00", "budget": 3}
    made = perform(world.ana, "run", dag=[JOB], **wish)["experiment"]
    anas = browser(application, world, world.ana)
    said = words_of(anas.get(f"/experiments/{made}").text)
    assert "It comes to 0.00 at most, of a budget of 3.00." in said and "It is to have ended by" in said
    assert "Resume" not in said
    perform(world.ana, "experiment_cancel", experiment=made)
    page = anas.get(f"/experiments/{made}").text
    assert "Of the last one, 3.00 is left." in words_of(page)
    assert len(re.findall(r"<button[^>]*>Resume", page)) == 1, "no button drops the budget without a word"
    fields = {"action": "run", "tool": TOOL, "resume": made, "within": "2:00:00", "budget": "1.5"}
    headers = {"origin": ORIGIN}
    sent = {**fields, "next": "/experiments/{experiment}"}
    again = anas.post("/do", data=sent, headers=headers, follow_redirects=False)
    assert again.status_code == 303
    assert "of a budget of 1.50" in words_of(anas.get(again.headers["location"]).text)


def test_an_experiment_without_either_is_resumed_by_one_button_or_within_both(
    application: Starlette, world: World, perform: Perform
) -> None:
    made = perform(world.ana, "run", dag=[JOB], tool=TOOL, session_id=world.session)["experiment"]
    perform(world.ana, "experiment_cancel", experiment=made)
    page = browser(application, world, world.ana).get(f"/experiments/{made}").text
    assert len(re.findall(r"<button[^>]*>Resume", page)) == 2
    assert "<details><summary>Resume within a deadline or a budget" in page
