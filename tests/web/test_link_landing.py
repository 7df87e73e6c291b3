"""The landing page of a link with a passphrase, as a browser without JavaScript uses it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core import limits
from hub.core.context import Actor
from hub.core.house import House
from hub.sessions.tables import links
from tests.conftest import Perform
from tests.web.conftest import ORIGIN
from tests.web.page_world import sign_in

pytestmark = pytest.mark.slow

HTML = {"Accept": "text/html", "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def browser(application: Starlette) -> TestClient:
    """Somebody nobody knows."""
    return TestClient(application, base_url=ORIGIN, headers=HTML, follow_redirects=False)


@pytest.fixture
def page(ana: Actor, perform: Perform) -> str:
    """The address of a link that asks, to a session whose title is a secret."""
    perform(ana, "session_create", name="quiet", title="The quiet band")
    made = perform(ana, "link_create", session_id="quiet", passphrase="blue kettle", uses=2)
    return f"/l/{made['secret']}"


def test_the_page_asks_and_tells_nothing_until_the_passphrase_is_right(
    house: House, browser: TestClient, page: str
) -> None:
    told = browser.get(page).text
    assert 'name="passphrase"' in told and "quiet" not in told
    wrong = browser.post(page, data={"passphrase": "red kettle"})
    assert wrong.status_code == 403 and "This is not the passphrase of the link." in wrong.text
    assert "quiet" not in wrong.text and "set-cookie" not in wrong.headers
    for nothing in ({}, {"passphrase": ""}):
        assert browser.post(page, data=nothing).status_code == 403
    with house.db.read() as conn:
        assert conn.execute(sa.select(links.c.uses)).scalar_one() == 0
    right = browser.post(page, data={"passphrase": "blue kettle"})
    assert (right.status_code, right.headers["location"]) == (303, "/s/ana/quiet")
    assert "The quiet band" in browser.get("/s/ana/quiet").text


def test_a_link_that_rests_says_for_how_long(browser: TestClient, page: str) -> None:
    for _ in range(limits.LINK_TRIES):
        browser.post(page, data={"passphrase": "red kettle"})
    rests = browser.post(page, data={"passphrase": "blue kettle"})
    assert rests.status_code == 429 and int(rests.headers["retry-after"]) == limits.LINK_TRIES_SECONDS + 1
    assert "It can be tried again in 15 minutes." in rests.text and "quiet" not in rests.text


def test_what_is_no_passphrase_is_refused_as_bad_input(browser: TestClient, page: str) -> None:
    assert browser.post(page, data={"passphrase": "x" * 10_000}).status_code == 400
    assert browser.post(page, data={"passphrase": "blue kettle", "session_id": "x"}).status_code == 400
    assert browser.post(page, content=b"{}", headers={"Content-Type": "application/json"}).status_code == 400
    assert browser.post("/l/clgl_unknown", data={"passphrase": "blue kettle"}).status_code == 404


def test_the_pages_of_people_and_of_who_can_see_carry_out_what_they_offer(
    application: Starlette, house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    lab = perform(ana, "session_create", name="lab")["session"]
    anas = TestClient(
        application, base_url=ORIGIN, headers=HTML, cookies={"collegium": sign_in(house, ana)}, follow_redirects=False
    )
    people = "/s/ana/lab/people"
    common = {"session_id": lab, "next": people}
    changed = {"action": "session_change", "title": "New title", "visibility": "hub", "chat_detail": "ids", **common}
    assert anas.post("/do", data=changed).headers["location"] == people
    made = anas.post("/do", data={"action": "link_create", "role": "read", "passphrase": "blue kettle", **common})
    assert made.status_code == 200 and "/l/clgl_" in made.text
    told = anas.get(people).text
    assert "asks for a passphrase" in told and 'value="New title"' in told
    assert "Every member of this hub" in anas.get(f"/who?object={lab}").text
    shared = perform(ana, "session_share", session_id=lab, participants=[{"email": "b@x.org", "role": "admin"}])
    perform(ben, "invitation_accept", secret=shared["invitations"][0]["secret"])
    handed = anas.post(
        "/do", data={"action": "session_hand_over", "session_id": lab, "to": ben.id, "next": "/s/{name}/people"}
    )
    assert handed.headers["location"] == "/s/ben/lab/people"
    left = anas.post("/do", data={"action": "session_leave", "session_id": lab, "next": "/"})
    assert left.headers["location"] == "/"
    with house.scope(ana) as scope:
        assert scope.access.role(lab) is None
