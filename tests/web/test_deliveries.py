"""What a chat platform delivered is recorded with what it leads to, and done once."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from hub.chats.tables import chat_seen
from hub.core.context import Actor
from hub.core.house import House
from hub.notebook.tables import entries
from tests.conftest import Perform
from tests.web.conftest import Client, act
from tests.web.test_chats import link_chat, service_token


class Bot:
    """The bot, speaking for Ana, with the delivery that made it ask."""

    def __init__(self, house: House, client: TestClient, claim: str) -> None:
        self.house, self.client = house, client
        client.headers.update(
            {"Authorization": f"Bearer {service_token(house)}", "Collegium-Act-As": claim, "Collegium-Came-By": "C1"}
        )

    def post(self, delivery: str, title: str, key: str = "") -> Any:
        self.client.headers["Collegium-Delivery"] = delivery
        return act(self.client, "lab_notebook", key=key, entry={"title": title, "content": "x"})

    def look(self, delivery: str, path: str = "/api/me") -> Any:
        return self.client.get(path, headers={"Collegium-Delivery": delivery})

    def titles(self) -> int:
        with self.house.db.read() as conn:
            return conn.execute(sa.select(sa.func.count()).select_from(entries)).scalar_one()

    def deliveries(self) -> list[str]:
        with self.house.db.read() as conn:
            return sorted(conn.execute(sa.select(chat_seen.c.key)).scalars())


@pytest.fixture
def bot(house: House, client: Client, ana: Actor) -> Bot:
    return Bot(house, client(), link_chat(house, ana))


def test_a_delivery_is_recorded_with_its_action_and_refused_when_it_comes_again(bot: Bot) -> None:
    first = bot.post("slack:a", "one")
    assert (first.status_code, first.headers["Collegium-Delivery"]) == (200, "recorded")
    again = bot.post("slack:a", "two")
    assert (again.status_code, again.json()["code"]) == (409, "delivery_repeated")
    assert again.headers["Collegium-Delivery"] == "recorded"
    assert (bot.titles(), bot.deliveries()) == (1, ["a"])


def test_the_same_bot_that_heard_nothing_asks_again_and_is_answered(bot: Bot) -> None:
    first = bot.post("slack:a", "one", key="k")
    again = bot.post("slack:a again", "one", key="k")
    assert (again.status_code, again.json()) == (200, first.json())
    assert bot.titles() == 1


def test_a_delivery_that_leads_to_a_refusal_is_recorded_all_the_same(bot: Bot) -> None:
    refused = bot.post("slack:a", "x" * 10_000)
    assert (refused.status_code, refused.headers["Collegium-Delivery"]) == (400, "recorded")
    assert bot.post("slack:a", "one").json()["code"] == "delivery_repeated"
    assert (bot.titles(), bot.deliveries()) == (0, ["a"])


def test_a_delivery_that_only_looks_is_done_once_too(bot: Bot) -> None:
    assert bot.look("slack:a").status_code == 200
    assert bot.look("slack:a").json()["code"] == "delivery_repeated"
    missing = bot.look("slack:b", "/api/entries/none")
    assert (missing.status_code, missing.headers["Collegium-Delivery"]) == (404, "recorded")


def test_what_is_refused_before_anything_was_asked_leaves_the_delivery_to_be_named_again(bot: Bot) -> None:
    unknown = act(bot.client, "no_such_action")
    assert "Collegium-Delivery" not in unknown.headers
    bot.client.headers["Collegium-Act-As"] = "chat:slack:T1:U404"
    stranger = bot.post("slack:a", "one")
    assert stranger.json()["code"] == "chat_not_linked" and "Collegium-Delivery" not in stranger.headers
    assert bot.deliveries() == []


@pytest.mark.parametrize("named", ["a", "slack:", ":a", "slack:a later", "slack:" + "a" * 201, "s" * 17 + ":a"])
def test_a_delivery_without_a_platform_or_a_name_is_refused(bot: Bot, named: str) -> None:
    assert (bot.post(named, "one").status_code, bot.titles()) == (400, 0)


def test_only_what_a_service_says_is_believed(client: Client, ana: Actor, house: House) -> None:
    mine = client(ana)
    mine.headers["Collegium-Delivery"] = "slack:a"
    for _ in range(2):
        assert act(mine, "session_create", name="hcl").headers.get("Collegium-Delivery") is None
    with house.db.read() as conn:
        assert conn.execute(sa.select(chat_seen)).all() == []


def test_an_action_from_a_chat_is_told_how_much_of_its_session_may_leave(
    bot: Bot, ana: Actor, perform: Perform
) -> None:
    assert bot.post("slack:a", "one").headers["Collegium-Chat-Detail"] == "ana/personal=full"
    session = perform(ana, "session_create", name="hcl")["session"]
    perform(ana, "session_change", session_id=session, chat_detail="ids")
    bot.client.headers["Collegium-Delivery"] = "slack:b"
    told = act(bot.client, "lab_notebook", session_id=session, entry={"title": "t", "content": "x"})
    assert told.headers["Collegium-Chat-Detail"] == "ana/hcl=ids"
