"""A shell signed in from elsewhere: the code, the page, the two answers, the token handed over once, and haste."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import HubError
from hub.core.house import House
from hub.people import device_codes
from hub.people.tables import guesses, tokens
from tests.conftest import Perform
from tests.web.conftest import Client
from tests.web.test_api import is_problem
from tests.web.test_chat_link_pages import browser

pytestmark = pytest.mark.slow


def begun(client: Client, host: str = "raven") -> dict[str, Any]:
    answer = client().post("/api/device", json={"host": host})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def poll(client: Client, asked: dict[str, Any]) -> Any:
    return client().post("/api/device/token", json={"device_code": asked["device_code"]})


def answer(browser: TestClient, asked: dict[str, Any], what: str = "approve") -> Any:
    fields = {"action": f"device_{what}", "user_code": asked["user_code"], "next": f"/device?said={what}d"}
    return browser.post("/do", data=fields)


@pytest.fixture
def hers(application: Starlette, house: House, ana: Actor, client: Client) -> TestClient:
    return browser(application, house, ana)


def test_a_shell_is_confirmed_in_the_browser_and_gets_its_token_once(
    hers: TestClient, client: Client, clock: FrozenClock, ana: Actor
) -> None:
    asked = begun(client, "raven \u202e<b>")
    assert len(asked["user_code"].replace("-", "")) == 8 and asked["url"] == "http://hub.test/device"
    assert poll(client, asked).json()["state"] == "waiting"
    page = hers.post("/device", data={"code": asked["user_code"].lower().replace("-", " ")}).text
    assert "raven &lt;b&gt;" in page and "Ana (@ana)" in page and "device_approve" in page
    assert answer(hers, asked).headers["location"] == "/device?said=approved"
    assert "Your shell is signed in" in hers.get("/device?said=approved").text
    clock.advance(limits.DEVICE_POLL_SECONDS)
    got = poll(client, asked).json()
    assert got["state"] == "approved" and got["secret"].startswith("clg_")
    shell = client()
    shell.headers["Authorization"] = f"Bearer {got['secret']}"
    assert shell.get("/api/me").json()["id"] == ana.id
    assert [row["name"] for row in shell.get("/api/tokens").json()] == ["shell on raven <b>"]
    is_problem(poll(client, asked), 404, "device_code_over")


def test_a_refused_shell_is_told_and_gets_nothing(hers: TestClient, client: Client, house: House) -> None:
    asked = begun(client)
    assert answer(hers, asked, "refuse").status_code == 303
    is_problem(poll(client, asked), 403, "device_refused")
    with house.db.read() as conn:
        assert conn.execute(sa.select(tokens.c.id)).first() is None


def test_a_code_is_answered_once(hers: TestClient, client: Client, house: House) -> None:
    asked = begun(client)
    answer(hers, asked)
    assert answer(hers, asked).status_code == 409
    assert answer(hers, asked, "refuse").status_code == 409
    with house.db.read() as conn:
        assert len(conn.execute(sa.select(tokens.c.id)).all()) == 1


def test_two_who_confirm_one_code_give_it_one_owner(
    application: Starlette, house: House, hers: TestClient, ben: Actor, client: Client, ana: Actor
) -> None:
    asked, his = begun(client), browser(application, house, ben)
    assert his.post("/device", data={"code": asked["user_code"]}).status_code == 200
    answer(hers, asked)
    assert answer(his, asked).status_code == 409
    with house.db.read() as conn:
        assert conn.execute(sa.select(tokens.c.person)).scalars().all() == [ana.id]


def test_of_many_who_ask_for_the_token_at_once_one_gets_it(
    hers: TestClient, client: Client, house: House, clock: FrozenClock
) -> None:
    asked = begun(client)
    answer(hers, asked)

    def ask(_: int) -> bool:
        try:
            return device_codes.poll(house, asked["device_code"]).secret is not None
        except HubError:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(16))) == 1


def test_an_expired_code_is_good_for_nobody(hers: TestClient, client: Client, clock: FrozenClock) -> None:
    confirmed, late = begun(client), begun(client)
    answer(hers, confirmed)
    clock.advance(limits.DEVICE_CODE_SECONDS + 1)
    is_problem(poll(client, confirmed), 404, "device_code_over")
    is_problem(poll(client, late), 404, "device_code_over")
    assert answer(hers, late).status_code == 404
    assert hers.post("/device", data={"code": late["user_code"]}).status_code == 404


def test_who_asks_too_fast_is_slowed_down(client: Client, clock: FrozenClock) -> None:
    asked = begun(client)
    poll(client, asked)
    haste = poll(client, asked)
    is_problem(haste, 429, "slow_down")
    assert int(haste.headers["retry-after"]) == 2 * limits.DEVICE_POLL_SECONDS
    clock.advance(limits.DEVICE_POLL_SECONDS)
    is_problem(poll(client, asked), 429, "slow_down")
    clock.advance(60)
    assert poll(client, asked).json()["interval"] > limits.DEVICE_POLL_SECONDS


def test_a_code_that_is_guessed_is_rationed(
    application: Starlette, house: House, hers: TestClient, ben: Actor, client: Client, clock: FrozenClock
) -> None:
    asked = begun(client)
    for number in range(limits.GUESSES_PER_ACCOUNT):
        wrong = "BBBB-BBB" + device_codes.LETTERS[number]
        if number % 2:
            assert hers.post("/device", data={"code": wrong}).status_code == 404
        else:
            assert hers.post("/do", data={"action": "device_approve", "user_code": wrong}).status_code == 404
    assert hers.post("/device", data={"code": asked["user_code"]}).status_code == 429
    assert answer(hers, asked).status_code == 429
    his = browser(application, house, ben)  # somebody else's guesses cost nobody else theirs
    for _ in range(limits.GUESSES_PER_ACCOUNT + 2):
        assert his.post("/device", data={"code": asked["user_code"]}).status_code == 200
    clock.advance(limits.GUESS_SECONDS + 1)
    assert hers.post("/device", data={"code": "BBBBBBBB"}).status_code == 404


def test_beginning_is_rationed_for_one_address_and_for_all(client: Client, house: House, clock: FrozenClock) -> None:
    for _ in range(limits.DEVICE_CODES_PER_ADDRESS):
        begun(client)
    is_problem(client().post("/api/device", json={}), 429, "too_many_guesses")
    clock.advance(limits.GUESS_SECONDS + 1)
    begun(client)
    full = limits.DEVICE_CODES
    house.db.write(
        lambda tx: (
            tx.execute(sa.update(guesses).where(guesses.c.subject == "device:everybody").values(count=full)) and None
        )
    )
    is_problem(client().post("/api/device", json={}), 429, "too_many_guesses")


def test_only_a_browser_of_the_person_confirms(
    application: Starlette, house: House, client: Client, ana: Actor, perform: Perform
) -> None:
    asked = begun(client)
    nobody = browser(application, house, None)
    assert "Sign in here first" in nobody.get(f"/device?code={asked['user_code']}").text
    assert nobody.post("/device", data={"code": asked["user_code"]}).status_code == 401
    assert answer(nobody, asked).status_code == 401
    with_token = client(ana).post("/api/actions", json={"action": "device_approve", "user_code": asked["user_code"]})
    is_problem(with_token, 403, "browser_needed")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"x":1}', b'{"device_code":1}', b"\xff", b'{"host":null}'])
def test_what_cannot_be_read_is_refused(client: Client, body: bytes) -> None:
    for path in ("/api/device", "/api/device/token"):
        if (path, body) != ("/api/device", b"{}"):
            is_problem(client().post(path, content=body), 400)


def test_neither_code_is_stored(client: Client, house: House) -> None:
    asked = begun(client)
    with house.db.read() as conn:
        rows = str(conn.exec_driver_sql("select * from device_codes").all())
    assert asked["device_code"] not in rows and asked["user_code"].replace("-", "") not in rows
