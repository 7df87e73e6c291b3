"""The class tools on a room's page, without any script: who is offered a poll, and that its answers stay as written."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette

from hub.core.context import Actor
from hub.core.house import House
from hub.rooms.polls import views as polls
from tests.actions.notebook_fixtures import grant
from tests.conftest import Perform
from tests.web.test_draft_stage import browser

ASK = "Ask a poll"


@pytest.fixture
def lab(house: House, perform: Perform, ana: Actor, ben: Actor) -> str:
    """Ana teaches, Ben writes."""
    made: str = perform(ana, "session_create", name="lab")["session"]
    grant(house, made, ben, "read_write")
    return made


def test_each_answer_has_a_field_and_may_hold_commas(
    application: Starlette, house: House, ana: Actor, lab: str
) -> None:
    with browser(application, house, ana) as page:
        shown = page.get("/s/ana/lab").text
        fields = re.findall(r'<input id="f-option-(\d)" name="options\[\]"[^>]*>', shown)
        assert fields == list("12345678")
        sent = {"action": "room_poll", "session_id": lab, "question": "Which?", "next": "/s/ana/lab"}
        answers = ["2886, the gap", "2868", "1, 2, or 3", "", "", "", "", ""]
        asked = page.post("/do", data={**sent, "options[]": answers})
        assert asked.url.path == "/s/ana/lab" and asked.text.count("1, 2, or 3") == 1
        refused = page.post("/do", data={**sent, "options[]": ["only one", "", ""]})
        assert refused.status_code == 400
    with house.scope(ana) as scope:
        (poll,) = polls.polls(scope, lab)
        assert [option.text for option in poll.options] == ["2886, the gap", "2868", "1, 2, or 3"]


def test_who_may_present_is_offered_to_ask_and_to_end_their_own_poll(
    application: Starlette, house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    close = 'value="room_poll_close"'
    perform(ana, "room_poll", session_id=lab, question="Ana's?", options=["a", "b"])
    anas, bens = browser(application, house, ana), browser(application, house, ben)
    shown = bens.get("/s/ana/lab").text
    assert ASK in shown and close not in shown
    perform(ben, "room_poll", session_id=lab, question="Ben's?", options=["a", "b"])
    shown = bens.get("/s/ana/lab").text
    assert ASK not in shown and shown.count(close) == 1
    perform(ana, "room_standing", session_id=lab, person="ben", standing="write")
    shown = bens.get("/s/ana/lab").text
    assert ASK not in shown and close not in shown
    shown = anas.get("/s/ana/lab").text
    assert ASK in shown and shown.count(close) == 2


def test_every_open_poll_is_on_the_page(
    application: Starlette, house: House, perform: Perform, ana: Actor, lab: str
) -> None:
    for number in range(5):
        poll = perform(ana, "room_poll", session_id=lab, question=f"Question {number}?", options=["a", "b"])["id"]
    perform(ana, "room_poll_close", poll=poll)
    with browser(application, house, ana) as page:
        shown = page.get("/s/ana/lab").text
    assert [f"Question {number}?" in shown for number in range(5)] == [True] * 4 + [False]
