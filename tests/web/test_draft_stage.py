"""A draft on the stage of its room, without any script: what is offered to whom, and what each form does."""

from __future__ import annotations

import re
from html import unescape

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.house import House
from hub.rooms.drafts import views
from tests.actions.notebook_fixtures import grant
from tests.conftest import Perform
from tests.web import page_world
from tests.web.conftest import ORIGIN
from tests.web.page_world import HOSTILE


@pytest.fixture
def lab(perform: Perform, ana: Actor) -> str:
    made: str = perform(ana, "session_create", name="lab")["session"]
    return made


def browser(application: Starlette, house: House, person: Actor) -> TestClient:
    cookies = {"collegium": page_world.sign_in(house, person)}
    return TestClient(application, base_url=ORIGIN, headers={"accept": "text/html", "origin": ORIGIN}, cookies=cookies)


def form(page: str, action: str) -> dict[str, str]:
    """The hidden fields of the page's first form for an action, and the field people fill in as it stands."""
    found = re.search(rf'<form[^>]*>(?:(?!</form>).)*value="{action}".*?</form>', page, re.DOTALL)
    assert found is not None, f"no form for {action}"
    fields = re.findall(r'<input [^>]*?name="([^"]+)"[^>]*?value="([^"]*)"', found[0])
    return {name: unescape(value) for name, value in fields}


def actions_of(page: str) -> set[str]:
    return set(re.findall(r'name="action" value="(draft_[a-z]+)"', page))


def test_a_draft_is_kept_gone_back_to_renamed_and_removed_by_forms(
    application: Starlette, house: House, perform: Perform, ana: Actor, lab: str
) -> None:
    draft = perform(ana, "draft_create", session_id=lab, name="Plan", text="one")["id"]
    look = f"/s/ana/lab?look=draft:{draft}"
    with browser(application, house, ana) as page:
        first = page.get(look).text
        kept = page.post("/do", data=form(first, "draft_version") | {"name": "as sent"})
        assert kept.url.path == "/s/ana/lab" and "Version 1, as sent" in kept.text
        renamed = page.post("/do", data=form(kept.text, "draft_rename") | {"name": "Plan B"})
        assert '<h2 class="anywhere">Plan B</h2>' in renamed.text and 'id="f-draft-rename"' in renamed.text
        back = page.post("/do", data=form(renamed.text, "draft_restore"))
        assert back.status_code == 200
        gone = page.post("/do", data=form(back.text, "draft_remove"))
        assert gone.url.path == "/s/ana/lab" and "Plan B" not in gone.text
        assert "Nothing is looked at yet" in page.get(look).text
    with house.scope(ana) as scope:
        assert views.session_drafts(scope, lab) == []


def test_deleting_says_what_is_lost_and_must_be_confirmed(
    application: Starlette, house: House, perform: Perform, ana: Actor, lab: str
) -> None:
    draft = perform(ana, "draft_create", session_id=lab, name="Plan")["id"]
    for name in ("a", "b"):
        perform(ana, "draft_version", draft=draft, name=name)
    with browser(application, house, ana) as page:
        shown = page.get(f"/s/ana/lab?look=draft:{draft}").text
    assert "Its text and two versions will be gone for everybody" in shown
    assert re.search(r'<input type="checkbox" id="f-draft-remove" required', shown)
    assert '<label for="f-draft-remove">I mean “Plan”</label>' in shown


def test_who_may_only_read_is_offered_nothing_and_gets_nothing(
    application: Starlette, house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    grant(house, lab, ben, "read")
    draft = perform(ana, "draft_create", session_id=lab, name="Plan", text="one")["id"]
    perform(ana, "draft_version", draft=draft, name="first")
    with browser(application, house, ben) as page:
        shown = page.get(f"/s/ana/lab?look=draft:{draft}").text
        assert "Version 1, first" in shown and actions_of(shown) == set()
        for action, more in (
            ("draft_rename", {"name": "x"}),
            ("draft_remove", {}),
            ("draft_restore", {"version": "1"}),
        ):
            assert page.post("/do", data={"action": action, "draft": draft, **more}).status_code == 403
        assert page.get(f"/s/ana/lab?look=draft:{draft}").text.count("Plan") >= 2


def test_a_hostile_name_is_text_everywhere_on_the_stage(
    application: Starlette, house: House, perform: Perform, ana: Actor, lab: str
) -> None:
    draft = perform(ana, "draft_create", session_id=lab, name=HOSTILE, text=HOSTILE)["id"]
    perform(ana, "draft_version", draft=draft, name=HOSTILE)
    with browser(application, house, ana) as page:
        shown = page.get(f"/s/ana/lab?look=draft:{draft}").text
        assert "<img src=x" not in shown
        assert form(shown, "draft_rename")["name"] == HOSTILE
        wrong = page.post("/do", data=form(shown, "draft_rename") | {"name": " \u200b "})
        assert wrong.status_code == 400
