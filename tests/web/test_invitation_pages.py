"""The landing pages of invitations and of address links: who is asked, who would accept, what looking costs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.applications import Starlette

from hub.core.context import Actor
from hub.core.house import House
from tests.actions.test_invitations import LEE, invite, prove, someone
from tests.actions.test_sharing import role_of
from tests.conftest import Perform
from tests.web.test_chat_link_pages import browser


@pytest.fixture
def lab(ana: Actor, perform: Perform) -> str:
    return str(perform(ana, "session_create", name="lab", title="The <lab>")["session"])


@pytest.fixture
def secret(ana: Actor, lab: str, perform: Perform) -> str:
    return str(invite(perform, ana, lab)["secret"])


def test_who_is_new_makes_an_account_on_the_page_and_lands_in_the_session(
    application: Starlette, house: House, lab: str, secret: str
) -> None:
    fresh = browser(application, house, None)
    page = fresh.get(f"/invitation/{secret}").text
    assert "Ana invites you to “The &lt;lab&gt;”" in page and LEE in page
    assert f"/signin?next=%2Finvitation%2F{secret}" in page
    form: dict[str, Any] = dict(re.findall(r'name="(action|secret)" value="([^"]*)"', page))
    done = fresh.post("/do", data={**form, "name": "Lee Park", "handle": "", "password": ""})
    assert (done.status_code, done.headers["location"]) == (303, "/s/ana/lab")
    assert fresh.get("/s/ana/lab").status_code == 200
    assert role_of(house, someone(house, "lee-park"), lab) == "read"
    assert "You accepted this invitation" in fresh.get(f"/invitation/{secret}").text


def test_opened_by_the_wrong_person_the_page_names_who_would_accept(
    application: Starlette, house: House, ben: Actor, lab: str, secret: str
) -> None:
    his = browser(application, house, ben)
    page = his.get(f"/invitation/{secret}").text
    assert "Ben (@ben)" in page and f"Sent to</dt>\n  <dd>{LEE}" in page and "as Ben" in page
    assert "sign out first" in page
    assert role_of(house, ben, lab) is None  # looking has spent nothing and joined nobody
    accept = {"action": "invitation_accept", "secret": secret, "next": "/s/{name}"}
    assert his.post("/do", data=accept).headers["location"] == "/s/ana/lab"


def test_who_is_not_signed_in_accepts_nothing_by_the_bare_button(
    application: Starlette, house: House, lab: str, secret: str
) -> None:
    nobody = browser(application, house, None)
    assert nobody.post(f"/invitation/{secret}").status_code == 401
    assert nobody.post("/do", data={"action": "invitation_accept", "secret": secret}).status_code == 401


@pytest.mark.parametrize("how", ["withdrawn", "used", "expired", "unknown"])
def test_an_invitation_that_is_over_says_how(
    application: Starlette, house: House, ana: Actor, ben: Actor, lab: str, perform: Perform, clock: Any, how: str
) -> None:
    invited = invite(perform, ana, lab)
    secret = invited["secret"]
    if how == "withdrawn":
        perform(ana, "grant_revoke", session_id=lab, participant=invited["invitation"])
    elif how == "used":
        perform(ben, "invitation_accept", secret=secret)
    elif how == "expired":
        clock.advance(15 * 24 * 3600)
    else:
        secret = "clgi_unknown"
    page = browser(application, house, None).get(f"/invitation/{secret}").text
    words = {"withdrawn": "took it back", "used": "somebody accepted it", "expired": "in time", "unknown": "unknown"}
    assert words[how] in page and "invitation_join" not in page


def test_who_proved_the_address_sees_the_invitation_on_their_home_page(
    application: Starlette, house: House, ben: Actor, lab: str, secret: str
) -> None:
    his = browser(application, house, ben)
    assert "invites you" not in his.get("/").text
    prove(house, ben, LEE)
    page = his.get("/").text
    assert "Ana invites you to “The &lt;lab&gt;”" in page
    invitation = re.search(r'name="invitation" value="(inv_[^"]+)"', page)
    assert invitation is not None
    fields = {"action": "invitation_accept", "invitation": invitation[1], "next": "/s/{name}"}
    assert his.post("/do", data=fields).headers["location"] == "/s/ana/lab"
    assert role_of(house, ben, lab) == "read"


def test_the_list_of_addresses_says_when_the_hub_sends_no_mail(
    application: Starlette, house: House, ana: Actor
) -> None:
    page = browser(application, house, ana).get("/me/email").text
    assert "ana@university.edu" in page and "not proved yet" in page.lower() and "email_add" not in page
