"""The page of a private chat link: both sides are named, opening it spends nothing, only a button does."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.house import House
from tests.actions.test_chat_identities import U1, begin, speaks_as
from tests.conftest import Perform
from tests.web.conftest import ORIGIN
from tests.web.page_world import sign_in

HTML = {"accept": "text/html", "origin": ORIGIN}


def browser(application: Starlette, house: House, person: Actor | None) -> TestClient:
    cookies = {} if person is None else {"collegium": sign_in(house, person)}
    return TestClient(application, base_url=ORIGIN, headers=HTML, cookies=cookies, follow_redirects=False)


def test_the_page_names_both_sides_and_opening_it_spends_nothing(
    application: Starlette, house: House, ana: Actor, perform: Perform
) -> None:
    secret = begin(perform, name="Ana <b>in Slack</b>")
    hers = browser(application, house, ana)
    for _ in range(3):
        page = hers.get(f"/chat-link/{secret}").text
        assert "Ana &lt;b&gt;in Slack&lt;/b&gt;" in page and "T1 U1" in page and "Ana (@ana)" in page
    assert speaks_as(house, U1) is None
    done = hers.post("/do", data={"action": "chat_link", "secret": secret, "next": "/me/chats"})
    assert (done.status_code, done.headers["location"]) == (303, "/me/chats")
    listed = hers.get("/me/chats").text
    assert "One chat account acts as you here" in listed
    gone = hers.post("/do", data={"action": "chat_unlink", **U1, "next": "/me/chats"})
    assert gone.status_code == 303 and speaks_as(house, U1) is None
    assert "opens nothing" in hers.get(f"/chat-link/{secret}").text


def test_who_is_not_signed_in_is_shown_the_way_and_comes_back(
    application: Starlette, house: House, perform: Perform
) -> None:
    secret = begin(perform)
    nobody = browser(application, house, None)
    page = nobody.get(f"/chat-link/{secret}").text
    assert f"/signin?next=%2Fchat-link%2F{secret}" in page and 'name="action"' not in page
    assert nobody.post("/do", data={"action": "chat_link", "secret": secret}).status_code == 401


def test_the_wrong_person_may_refuse_and_is_told_when_it_is_anothers(
    application: Starlette, house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    first, second, third = (begin(perform) for _ in range(3))
    his = browser(application, house, ben)
    assert his.post("/do", data={"action": "chat_link_refuse", "secret": first, "next": "/"}).status_code == 303
    assert "opens nothing" in his.get(f"/chat-link/{first}").text
    perform(ana, "chat_link", secret=second)
    page = his.get(f"/chat-link/{third}").text
    assert "somebody else&#39;s" in page and "chat_link_refuse" in page and 'value="chat_link"' not in page
    assert "opens nothing" in his.get("/chat-link/clgh_unknown").text
