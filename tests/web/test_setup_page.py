"""The set-up page: who sees it, that its forms do what they say without a script, and the link a fresh hub prints."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hub.core import steps
from hub.core.context import Actor
from hub.core.house import House
from hub.setup import stored
from hub.setup.instance import instance
from hub.work.entry import carry_out
from tests.conftest import Perform
from tests.web.conftest import ORIGIN, Client
from tests.web.page_world import sign_in


@pytest.fixture
def house(house: House) -> House:
    """A hub whose address came from nowhere; it is reached at the one it was built for all the same."""
    house.given_settings = msgspec.structs.replace(house.settings, public_url="")
    return house


@pytest.fixture
def browser(application: Starlette, client: Client, house: House, operator: Actor) -> TestClient:
    """The operator's browser, signed in a moment ago."""
    made = client()
    made.cookies.set("collegium", sign_in(house, operator))
    made.headers.update({"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"})
    return made


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def run_tests(house: House) -> None:
    with house.db.read() as conn:
        waiting = conn.execute(
            sa.select(steps.steps.c.id).where(steps.steps.c.kind == "setup_test", steps.steps.c.done_at.is_(None))
        )
        for each in waiting.scalars().all():
            carry_out(house, each)


def test_only_operators_see_it(client: Client, ana: Actor, house: House, browser: TestClient) -> None:
    member = client()
    member.cookies.set("collegium", sign_in(house, ana))
    assert member.get("/setup").status_code == 403
    assert client(ana).get("/api/setup").status_code == 403
    assert client().get("/setup").status_code == 401
    assert browser.get("/setup").status_code == 200
    assert 'href="/setup"' in browser.get("/me").text
    assert 'href="/setup"' not in member.get("/me").text


def test_a_step_is_saved_tested_and_shown_without_a_script(browser: TestClient, house: House, tmp_path: Path) -> None:
    before = text_of(browser.get("/setup").text)
    assert "None of six steps are done" in before
    folder = str(tmp_path / "backups")
    fields = {"action": "setup_change", "next": "/setup#backup", "backup.folder": folder}
    saved = browser.post("/do", data=fields)
    assert (saved.status_code, saved.headers["location"]) == (303, "/setup#backup")
    assert "The test runs" in text_of(browser.get("/setup").text)
    run_tests(house)
    after = text_of(browser.get("/setup").text)
    assert f"{folder} keeps what is written there, sealed." in after
    assert "One of six steps is done" in after


def test_a_step_can_be_skipped_and_tested_by_its_buttons(browser: TestClient, house: House) -> None:
    browser.post("/do", data={"action": "setup_skip", "step": "slack", "next": "/setup"})
    assert "one is skipped" in text_of(browser.get("/setup").text)
    browser.post("/do", data={"action": "setup_test", "step": "backup", "next": "/setup"})
    run_tests(house)
    assert "Backup place failed" in text_of(browser.get("/setup").text)


def test_a_secret_is_never_in_the_page(browser: TestClient, house: House) -> None:
    given = {"mail.host": "mail.lab.org", "mail.user": "hub", "mail.password": "p@ss word", "mail.security": "tls"}
    assert browser.post("/do", data={"action": "setup_change", "next": "/setup", **given}).status_code == 303
    house.settings = msgspec.structs.replace(stored.overlaid(house), public_url=ORIGIN)
    page = browser.get("/setup").text
    assert "p@ss" not in page and "p%40ss" not in page
    assert "One is stored; empty leaves it." in page
    assert 'value="mail.lab.org"' in page


def test_what_the_environment_sets_is_shown_and_not_asked_for(browser: TestClient, house: House) -> None:
    house.given_settings = msgspec.structs.replace(house.given_settings, backup_to="/mnt/backups", join="workspace")
    page = text_of(browser.get("/setup").text)
    assert "/mnt/backups, set by COLLEGIUM_BACKUP_TO in the environment" in page
    assert 'name="backup.folder"' not in browser.get("/setup").text


def test_a_new_address_says_where_to_go_on(browser: TestClient, house: House) -> None:
    fields = {"action": "setup_change", "next": "/setup", "public_url.url": "https://hub.lab.org"}
    browser.post("/do", data=fields)
    page = text_of(browser.get("/setup").text)
    assert "https://hub.lab.org/setup" in page
    assert "collegium setup --step public_url --set url=" in page


def test_what_is_typed_wrong_is_told_and_nothing_is_stored(browser: TestClient, house: House) -> None:
    refused = browser.post("/do", data={"action": "setup_change", "public_url.url": "http://hub.lab.org"})
    assert refused.status_code == 400
    assert "in the clear" in text_of(refused.text)
    assert stored.overlaid(house).public_url == ""


def test_saving_after_a_while_asks_for_a_fresh_proof(browser: TestClient, house: House, clock: Any) -> None:
    clock.advance(3600)
    assert "You signed in a while ago" in text_of(browser.get("/setup").text)
    assert browser.post("/do", data={"action": "setup_change", "backup.folder": "/mnt/b"}).status_code == 403
    assert browser.post("/do", data={"action": "setup_skip", "step": "mail", "next": "/setup"}).status_code == 303


def test_the_link_a_fresh_hub_prints_works_once_and_only_by_its_button(
    client: Client, perform: Perform, operator: Actor
) -> None:
    secret = perform(operator, "signin_link")["secret"]
    somebody = client()
    for _ in range(2):  # a preview opens it, too
        page = somebody.get(f"/setup/{secret}")
        assert page.status_code == 200 and f'action="/setup/{secret}"' in page.text
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    used = somebody.post(f"/setup/{secret}", headers=headers)
    assert (used.status_code, used.headers["location"]) == (303, "/setup")
    assert somebody.get("/setup").status_code == 200
    assert client().post(f"/setup/{secret}", headers=headers).status_code == 404


def test_every_process_of_a_hub_says_which_hub_it_is(client: Client, house: House) -> None:
    assert client().get("/healthz").json() == {"ok": True, "instance": instance(house)}


def test_a_program_learns_whether_links_open_elsewhere(client: Client, ana: Actor, house: House) -> None:
    assert client(ana).get("/api/me").json()["public_url_is_loopback"] is False
    house.settings = msgspec.structs.replace(house.settings, public_url="http://127.0.0.1:8400")
    assert client(ana).get("/api/me").json()["public_url_is_loopback"] is True


def test_a_link_says_that_it_opens_on_the_hubs_machine_only_until_there_is_a_public_address(
    browser: TestClient, house: House
) -> None:
    made = {"action": "signin_link", "next": "/"}
    assert "own machine only" not in text_of(browser.post("/do", data=made).text)
    house.settings = msgspec.structs.replace(house.settings, public_url="http://127.0.0.1:8400")
    assert "it opens on the hub's own machine only" in text_of(browser.post("/do", data=made).text)
