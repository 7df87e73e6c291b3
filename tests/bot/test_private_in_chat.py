"""A private key, a token or a one-time code written to the bot: told to be replaced, and kept nowhere at all."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.requests import Request

from bot.room import RoomDesk
from hub.core.house import House
from hub.core.ids import derived_secret, new_secret
from hub.jobs.tables import jobs
from hub.notebook.tables import entries
from tests.bot.slack_world import SlackWorld, slack_world

pytestmark = pytest.mark.slow

KEY = (
    Ed25519PrivateKey.generate()
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    .decode()
)
TOKEN = new_secret("clg")
CODE = derived_secret(b"k", "", "step_up", "x")
SAID = [
    KEY, f"client-key-data: {base64.b64encode(KEY.encode()).decode()}", f"use {TOKEN}", "my code is 493817",
    f"account role ben operator --code {CODE}", f"account reset ben -c {CODE}",
]  # fmt: skip
WHAT = [
    "key",
    "kubeconfig",
    "token",
    "code",
    "code as an option",
    "code by its letter",
]  # the same in every worker, as keys and tokens are not


@pytest.fixture
def world(house: House, tmp_path: Path) -> Iterator[SlackWorld]:
    with slack_world(house, tmp_path) as made:
        yield made


def needle(secret: str) -> bytes:
    """The part by which a secret would be known again, however its lines were broken."""
    return max(secret.split(), key=len).strip("'\"").encode()


def kept(world: SlackWorld, secret: str) -> list[str]:
    """The files of the hub and the bot in which a part of it stands, the database and its log among them."""
    return [
        str(place)
        for folder in {world.house.settings.data, world.folder}
        for place in folder.rglob("*")
        if place.is_file() and needle(secret) in place.read_bytes()
    ]


def answered(world: SlackWorld) -> str:
    """All that the bot has said, once it has said something; what people wrote is Slack's to keep."""
    said = world.slack.wait_for(lambda: [one for one in world.slack.messages if one.user == world.slack.bot_user])
    return "".join(json.dumps(one.blocks, ensure_ascii=False) + one.text for one in said)


@pytest.mark.parametrize("secret", SAID, ids=WHAT)
@pytest.mark.parametrize("way", ["command", "quoted", "mention", "block", "direct"])
def test_it_is_not_kept_however_it_is_said_and_its_sender_is_told_to_replace_it(
    world: SlackWorld, capfd: pytest.CaptureFixture[str], secret: str, way: str
) -> None:
    slack = world.slack
    if way == "command":
        slack.command(world.ana, "/collegium", secret, channel=world.lab)
    elif way == "quoted":
        slack.command(world.ana, "/note", f"post 'My key' --text '{secret}'", channel=world.lab)
    elif way == "mention":
        slack.mention(world.ana, f"job submit '{secret}'", channel=world.lab)
    elif way == "block":
        slack.mention(world.ana, f"run this ```{secret}```", channel=world.lab)
    else:
        slack.say(world.ana, f"note post Codes --text {secret!r}")
    told = answered(world)
    assert "looks like" in told and "Nothing of it was kept" in told and "replace it: " in told
    assert "delete it there" in told
    assert needle(secret).decode() not in told
    assert world.rows(jobs) == [] and world.rows(entries) == []
    assert kept(world, secret) == []
    out = capfd.readouterr()
    assert needle(secret).decode() not in out.out + out.err


def test_somebody_who_is_not_linked_is_told_the_same_and_no_button_repeats_it(world: SlackWorld) -> None:
    world.slack.command(world.cleo, "/note", f"post Key --text '{KEY}'", channel=world.lab)
    assert "private key" in answered(world)
    assert kept(world, KEY) == []


def test_a_form_with_a_key_says_it_at_a_field_and_records_nothing(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/job", "submit", channel=world.lab)
    [view] = world.slack.state.views.values()
    wrong = world.slack.submit(world.ana, view, script=f"#!/bin/sh\ncat <<END >~/.ssh/id\n{KEY}END\n")
    assert isinstance(wrong.body, dict) and "private key" in json.dumps(wrong.body["errors"])
    assert world.rows(jobs) == [] and kept(world, KEY) == []


@pytest.mark.parametrize("name", ["id_ed25519", "run.sh"])
def test_a_file_with_a_key_is_not_taken(world: SlackWorld, name: str) -> None:
    one = world.slack.file(name, f"#!/bin/sh\n{KEY}".encode())
    world.slack.mention(world.ana, "" if name.startswith("id") else name, channel=world.lab, files=(one,))
    assert "private key" in answered(world)
    assert world.rows(jobs) == [] and kept(world, KEY) == []


def test_a_public_key_a_digest_and_a_number_are_said_as_ever(world: SlackWorld) -> None:
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy ana@laptop"
    world.slack.command(world.ana, "/note", f"post 'Slurm 123456' --text '{public} {'ab' * 32}'", channel=world.lab)
    assert len(world.rows(entries)) == 1


@pytest.mark.parametrize("secret", SAID, ids=WHAT)
def test_a_command_in_a_room_is_refused_before_anybody_is_asked(secret: str) -> None:
    """No carrier is there to be asked: a question would fail."""
    body = json.dumps({"ticket": "clgt_x", "text": f"note post Key --text '{secret}'", "key": "12345678"}).encode()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def ask() -> tuple[int, dict[str, object]]:
        scope = {"type": "http", "method": "POST", "path": "/bot/room", "headers": []}
        answer = await RoomDesk(None).receive(Request(scope, receive))  # type: ignore[arg-type]
        return answer.status_code, json.loads(bytes(answer.body))

    status, said = asyncio.run(ask())
    told = json.dumps(said)
    assert (status, said["done"]) == (400, False)
    assert "Nothing of it was kept" in told and "replace it: " in told
    assert needle(secret).decode() not in told
