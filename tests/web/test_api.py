"""The JSON door: one error shape everywhere, credentials, idempotency, views, events."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from hub.core.context import Actor
from hub.core.house import House
from hub.core.ids import new_id, new_secret, secret_digest
from hub.people.tables import tokens
from hub.web import routes
from hub.work.dispatcher import number_all
from tests.conftest import Perform
from tests.web.conftest import Client, act

SHAPE = {"type", "title", "status", "code", "detail", "hint", "request_id"}


def is_problem(response: object, status: int, code: str | None = None) -> None:
    assert response.status_code == status, response.text  # type: ignore[attr-defined]
    assert response.headers["content-type"] == "application/problem+json"  # type: ignore[attr-defined]
    body = response.json()  # type: ignore[attr-defined]
    assert set(body) >= SHAPE and body["status"] == status and body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]  # type: ignore[attr-defined]
    if code is not None:
        assert body["code"] == code


def test_an_action_is_answered_with_its_line_and_result(client: Client, ana: Actor) -> None:
    response = act(client(ana), "session_create", name="hcl")
    assert response.status_code == 200
    assert response.json()["line"] > 0 and response.json()["result"]["name"] == "ana/hcl"


def test_the_same_key_twice_is_one_effect(client: Client, ana: Actor) -> None:
    program = client(ana)
    first = act(program, "session_create", key="k", name="hcl")
    assert act(program, "session_create", key="k", name="hcl").json() == first.json()
    is_problem(act(program, "session_create", key="k", name="other"), 409, "idempotency_key_reused")


def test_every_wrong_body_has_the_one_shape(client: Client, ana: Actor) -> None:
    program = client(ana)
    for body in (b"", b"{", b"\xff", b"[" * 100_000, b"null", b'{"tool":"x"}', b'{"tool":1}'):
        is_problem(program.post("/api/actions", content=body), 400)
    is_problem(program.post("/api/actions", content=b" " * (5 << 20)), 413)


def as_live(client: Client, house: House) -> TestClient:
    """The live process, as web sees it."""
    secret = new_secret("clg")
    values = {"id": new_id("tok"), "kind": "service", "name": "live", "digest": secret_digest(secret)}
    house.db.write(lambda tx: tx.execute(tokens.insert().values(created_at=house.clock.now(), **values)) and None)
    live = client()
    live.headers["Authorization"] = f"Bearer {secret}"
    return live


LIVE_ROUTES = ("redeem", "recheck", "knock", "messages", "call", "drafts/open", "drafts/edits", "drafts/updates")


@pytest.mark.parametrize("route", LIVE_ROUTES)
def test_what_a_service_sends_wrong_is_told_too(client: Client, house: House, route: str) -> None:
    live = as_live(client, house)
    for body in (b"", b"{", b"\xff", b'{"session":"\xff"}', b"[" * 100_000, b"null", b'{"session":1}'):
        is_problem(live.post(f"/api/live/{route}", content=body), 400)


def test_nobody_gets_anything_without_a_credential(client: Client) -> None:
    nobody = client()
    for view in routes.VIEWS:
        path = view.path.replace("{ref:path}", "x").replace("{owner}", "a").replace("{name}", "b")
        is_problem(nobody.get(path.replace("{id}", "s").replace("{ref}", "x")), 401)
    for path in ("/api/actions", "/api/tickets", "/api/live/redeem", "/api/live/recheck", "/api/uploads"):
        is_problem(nobody.post(path, json={}), 401)
    is_problem(nobody.get("/api/events"), 401)
    is_problem(nobody.get("/api/jobs/x/log"), 401)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic eDp5", "Bearer clg_wrong", "x", "Bearer \u00e9"])
def test_a_credential_that_fails_is_401_in_the_same_words(client: Client, header: str) -> None:
    response = client().get("/api/me", headers={"Authorization": header.encode("latin-1")})  # type: ignore[dict-item]
    is_problem(response, 401, "not_signed_in")


def test_a_revoked_token_stops_working_at_once(client: Client, ana: Actor, perform: Perform) -> None:
    program = client(ana)
    tokens = program.get("/api/tokens").json()
    perform(ana, "token_revoke", token=tokens[0]["token"])
    is_problem(program.get("/api/me"), 401)


def test_a_token_with_scopes_does_only_that(client: Client, ana: Actor) -> None:
    program = client(ana, scopes=["session:read"])
    assert program.get("/api/sessions").status_code == 200
    is_problem(act(program, "session_create", name="x"), 403)


def test_unknown_addresses_methods_and_parameters_have_the_one_shape(client: Client, ana: Actor) -> None:
    program = client(ana)
    is_problem(program.get("/api/nothing"), 404)
    is_problem(program.delete("/api/actions"), 405)
    is_problem(program.get("/api/sessions?color=red"), 400)
    is_problem(program.get("/api/events?after=x"), 400)
    is_problem(program.get("/api/sessions/ana/none"), 404)
    is_problem(program.get("/api/jobs/%00"), 404)
    is_problem(program.get("/api/jobs/%ff"), 404)
    is_problem(program.get("/api/entries/" + "x" * 5000), 404)


def test_what_is_another_tenants_is_404_everywhere(client: Client, ana: Actor, ben: Actor, perform: Perform) -> None:
    session = perform(ana, "session_create", name="secret")["session"]
    stranger = client(ben)
    for view in routes.VIEWS:
        if "{owner}" in view.path:
            is_problem(stranger.get(view.path.replace("{owner}", "ana").replace("{name}", "secret")), 404)
        if "{id}" in view.path:
            is_problem(stranger.get(view.path.replace("{id}", session).replace("{number}", "1")), 404)
    is_problem(stranger.post("/api/tickets", json={"session": session}), 404)
    is_problem(stranger.get(f"/api/events?session={session}"), 404)


def test_only_a_service_may_act_as_somebody(client: Client, ana: Actor, ben: Actor) -> None:
    response = client(ana).get("/api/me", headers={"Collegium-Act-As": ben.id})
    is_problem(response, 403, "act_as_refused")
    is_problem(client(ana).post("/api/live/redeem", json={"ticket": "x"}), 403, "service_only")


def test_events_come_in_order_and_only_of_ones_own_sessions(
    house: House, client: Client, ana: Actor, ben: Actor, perform: Perform
) -> None:
    perform(ana, "session_create", name="hers")
    perform(ben, "session_create", name="his")
    number_all(house, "t")
    page = client(ana).get("/api/events").json()
    assert [e["action"] for e in page["events"]] == ["session_create"]
    assert [e["actor"] for e in page["events"]] == [ana.id]
    number_all(house, "t")
    after = client(ana).get(f"/api/events?after={page['next']}").json()
    assert all(e["sequence"] > page["next"] for e in after["events"])


def test_security_headers_stand_on_every_answer(client: Client, ana: Actor) -> None:
    for path in ("/api/me", "/api/nothing", "/healthz", "/signin", "/static/style.css"):
        headers = client(ana).get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"], path
        assert "unsafe-inline" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_another_host_is_refused(client: Client) -> None:
    is_problem(client().get("/api/me", headers={"Host": "evil.example"}), 400, "unknown_host")


def signed_in(client: Client, perform: Perform, operator: Actor, person: Actor) -> TestClient:
    """A browser with a cookie."""
    browser = client()
    secret = perform(operator, "signin_link", person=person.handle)["secret"]
    response = browser.post("/do", data={"action": "sign_in", "secret": secret}, headers={"Origin": "http://hub.test"})
    assert response.status_code == 303 and response.headers["location"] == "/"
    assert (
        "httponly" in response.headers["set-cookie"].lower()
        and "samesite=lax" in response.headers["set-cookie"].lower()
    )
    return browser


CROSS = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://hub.test.evil.example"},
    {"Origin": "https://hub.test"},
    {"Origin": "http://hub.test:8080"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {},
]


@pytest.mark.parametrize("headers", CROSS, ids=lambda h: "-".join(h.values()) or "nothing")
def test_a_form_from_elsewhere_changes_nothing(
    client: Client, perform: Perform, operator: Actor, ana: Actor, headers: dict[str, str]
) -> None:
    browser = signed_in(client, perform, operator, ana)
    before = len(browser.get("/api/sessions").json())
    response = browser.post("/do", data={"action": "session_create", "name": "x"}, headers=headers)
    assert response.status_code == 403
    assert len(browser.get("/api/sessions").json()) == before
    ours = browser.post(
        "/do", data={"action": "session_create", "name": "x", "next": "/me"}, headers={"Origin": "http://hub.test"}
    )
    assert (ours.status_code, ours.headers["location"]) == (303, "/me")


@pytest.mark.parametrize(
    "onward",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil",
        "javascript:alert(1)",
        "/a\nb",
        "evil",
        "/\t/e",
    ],
)
def test_a_form_never_leads_away_from_the_hub(
    client: Client, perform: Perform, operator: Actor, ana: Actor, onward: str
) -> None:
    browser = signed_in(client, perform, operator, ana)
    response = browser.post(
        "/do", data={"action": "session_create", "name": "x", "next": onward}, headers={"Origin": "http://hub.test"}
    )
    assert response.headers["location"] == "/"


def test_signing_out_ends_the_cookie(client: Client, perform: Perform, operator: Actor, ana: Actor) -> None:
    browser = signed_in(client, perform, operator, ana)
    assert browser.get("/api/me").status_code == 200
    browser.post("/do", data={"action": "sign_out"}, headers={"Origin": "http://hub.test"})
    is_problem(browser.get("/api/me"), 401)


def test_a_ticket_opens_one_socket_once(client: Client, house: House, ana: Actor, perform: Perform) -> None:
    session = perform(ana, "session_create", name="hers")["session"]
    live = as_live(client, house)
    ticket = client(ana).post("/api/tickets", json={"session": session}).json()["ticket"]
    redeemed = live.post("/api/live/redeem", json={"ticket": ticket})
    assert redeemed.json()["session"] == session and redeemed.json()["member"]["role"] == "owner"
    is_problem(live.post("/api/live/redeem", json={"ticket": ticket}), 404)
    claim = {"session": session, "claim": redeemed.json()["member"]["claim"]}
    checked = live.post("/api/live/recheck", json={"members": [claim]}).json()
    assert checked[0]["member"]["name"] == "Ana"
    for token in client(ana).get("/api/tokens").json():
        perform(ana, "token_revoke", token=token["token"])
    assert live.post("/api/live/recheck", json={"members": [claim]}).json()[0]["member"] is None
