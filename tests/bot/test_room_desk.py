"""Commands written in a room, through the bot's own process to a real hub: a question has a button."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.artifacts import leases
from hub.artifacts.versions import add
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.tables import jobs
from hub.perform import record
from tests.actions.cluster_fixtures import account_on
from tests.bot.slack_world import SlackWorld, slack_world

pytestmark = pytest.mark.slow


@pytest.fixture
def world(house: House, tmp_path: Path) -> Iterator[SlackWorld]:
    with slack_world(house, tmp_path) as made:
        yield made


class Room:
    """The room of a session as its page: a ticket for each command, and a key."""

    def __init__(self, world: SlackWorld, session: str, who: Actor) -> None:
        self.session = session
        self.token = world.act(who, "token_create", name="page")["secret"]
        through = httpx.HTTPTransport(uds=str(world.hub.place))
        self.hub = httpx.Client(transport=through, base_url=world.house.settings.origin)
        self.bot = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(world.folder / "bot.sock")), base_url="http://bot"
        )
        self.number = 0

    def command(self, text: str = "", **more: Any) -> httpx.Response:
        self.number += 1
        bearer = {"Authorization": f"Bearer {self.token}"}
        ticket = self.hub.post("/api/tickets", json={"session": self.session}, headers=bearer, timeout=20)
        assert ticket.status_code == 200, ticket.text
        body = {"ticket": ticket.json()["ticket"], "text": text, "key": f"command-{self.number:03}", **more}
        return self.bot.post("/bot/room", json=body, timeout=30)

    def close(self) -> None:
        self.hub.close()
        self.bot.close()


@pytest.fixture
def room(world: SlackWorld) -> Iterator[Room]:
    made = Room(world, world.give_channel("fits"), world.ana_here)
    yield made
    made.close()


def written(world: SlackWorld, session: str, who: Actor, content: bytes) -> None:
    with world.house.scope(world.ana_here) as scope:
        found = scope.access.session(session, "job:submit")
    blob = leases.keep(world.house, found, [content], owner=who.id, filename="fit.py")
    record(world.house, "artifact_versioning", lambda ctx: add(ctx, found, "fit.py", blob.digest), who)


def test_a_script_that_somebody_else_changed_is_asked_about_and_the_button_runs_it(
    world: SlackWorld, room: Room
) -> None:
    written(world, room.session, world.ana_here, b"print(1)\n")
    written(world, room.session, world.ben_here, b"print(2)\n")
    asked = room.command("job submit fit.py --name 'the fit' -- \"it's\n$(x)\"")
    told = asked.json()
    assert asked.status_code == 409 and not told["done"]
    assert "changed fit.py since you last saw it" in told["lines"][0] and "+print(2)" in "\n".join(told["lines"])
    [button] = told["buttons"]
    assert button["label"] == "run it as it is now"
    assert world.rows(jobs) == []
    done = room.command(words=button["words"])
    assert done.status_code == 200 and done.json()["done"] and done.json()["buttons"] == []
    [row] = world.rows(jobs)
    assert row.name == "the fit" and list(row.args) == ["it's\n$(x)"]


def test_where_there_is_a_choice_the_table_is_shown_first_and_the_button_submits_to_what_was_shown(
    world: SlackWorld, room: Room
) -> None:
    account_on(world.house, world.ana_here, "raven", price_per_core_hour=0.5)
    asked = room.command('job submit "#!/bin/sh\ntrue" --name chosen --time 60')
    told = asked.json()
    assert asked.status_code == 409 and "Nothing is submitted yet." in told["lines"][0]
    assert "raven" in "\n".join(told["lines"]) and "0.50 EUR" in "\n".join(told["lines"])
    assert world.rows(jobs) == []
    submits, again = told["buttons"]
    assert (submits["label"], again["label"]) == ("submit it to local", "look again")
    assert room.command(words=again["words"]).json()["buttons"] == told["buttons"]
    assert room.command(words=submits["words"]).status_code == 200
    assert [(row.name, row.backend) for row in world.rows(jobs)] == [("chosen", "local")]
    assert room.command(words=[*submits["words"][:3], "raven", *submits["words"][4:]]).status_code == 409
    for said in ("--yes", "--type local", "--cluster raven"):
        assert room.command(f'job submit "#!/bin/sh\ntrue" {said}').status_code == 200
    assert len(world.rows(jobs)) == 4


def test_what_asks_nothing_has_no_button(room: Room) -> None:
    assert room.command("whoami").json()["buttons"] == []
    refused = room.command("job status 77")
    assert refused.status_code == 404 and refused.json()["buttons"] == []
    assert room.command(words=["job", "nonsense"]).status_code == 400
