"""What must not get through Slack's door: forgeries, repetitions, strangers, bots, text that pretends to be more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from hub.core.house import House
from hub.jobs.tables import jobs
from hub.notebook.tables import entries
from hub.people.tables import persons
from tests.bot.slack_world import SlackWorld, slack_world
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

SCRIPT = "#!/bin/sh\ntrue"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
def world(house: House, tmp_path: Path) -> Iterator[SlackWorld]:
    with slack_world(house, tmp_path) as made:
        yield made


def command_body(world: SlackWorld, text: str) -> bytes:
    return urlencode(
        {
            "team_id": world.slack.team, "channel_id": world.lab, "user_id": world.ana, "command": "/collegium",
            "text": text, "trigger_id": world.slack.state.trigger(), "response_url": world.slack.origin + "/hook/x",
        }
    ).encode()  # fmt: skip


def test_forged_stale_and_malformed_signatures_are_refused_without_a_word(world: SlackWorld) -> None:
    body, slack = command_body(world, f'job submit "{SCRIPT}"'), world.slack
    good, now = slack.signed(body), int(time.time())
    wrong = [
        {},
        {"X-Slack-Signature": good["X-Slack-Signature"]},
        {**good, "X-Slack-Signature": "v0=" + "0" * 64},
        {**good, "X-Slack-Signature": b"v0=\xff"},
        slack.signed(body, secret="another"),
        slack.signed(body + b"x"),
        slack.signed(body, at=now - 330),
        slack.signed(body, at=now + 330),
        *(slack.signed(body, at=stamp) for stamp in ("soon", "", "1e9", f"{now}.0", f"-{now}", "9" * 40)),
        slack.signed(body, at="1_700_000_000"),
    ]
    for headers in wrong:
        answer = slack.post(body, {**FORM, **headers})
        assert (answer.status_code, answer.content) == (401, b""), headers
    assert world.rows(jobs) == [] and slack.messages == []
    assert slack.post(body, {**FORM, **good}).status_code == 200
    assert len(world.rows(jobs)) == 1


def command_body_of(world: SlackWorld, text: str, user: str) -> bytes:
    return command_body(world, text).replace(f"user_id={world.ana}".encode(), f"user_id={user}".encode())


@pytest.mark.parametrize(
    "text", ["note post a --text b", "whoami", "note show 99", "help", "job lst", "note post --key", "stranger"]
)
def test_the_same_signed_request_is_taken_once_also_by_a_bot_that_was_started_since(
    world: SlackWorld, text: str
) -> None:
    body = command_body_of(world, "whoami", world.cleo) if text == "stranger" else command_body(world, text)
    headers = {**FORM, **world.slack.signed(body)}
    assert [world.slack.post(body, headers).status_code for _ in range(3)] == [200, 401, 401]
    assert world.bot is not None
    world.bot.stop()
    world.start_bot()
    again = world.slack.post(body, headers)
    assert (again.status_code, again.content) == (401, b"")
    assert len(world.rows(entries)) == (1 if text.startswith("note post a") else 0)


def test_an_event_that_comes_again_is_acknowledged_and_has_one_effect(world: SlackWorld) -> None:
    text = f"<@{world.slack.bot_user}> note post a --text b"
    event = {
        "type": "app_mention", "user": world.ana, "text": text, "ts": world.slack.state.ts(), "channel": world.lab,
        "team": world.slack.team,
    }  # fmt: skip
    first = world.slack.event(event, event_id="Ev1", event_time=1700000000)
    again = world.slack.event(event, event_id="Ev1", event_time=1700000000)
    assert (first.status, again.status) == (200, 200)
    world.slack.wait_for(lambda: world.slack.messages)
    assert world.bot is not None
    world.bot.stop()
    world.start_bot()
    assert world.slack.event(event, event_id="Ev1", event_time=1700000000).status == 200
    assert len(world.rows(entries)) == 1


def test_more_than_slack_ever_sends_is_not_read(world: SlackWorld) -> None:
    body = b"x" * (1_048_576 + 1)
    assert world.slack.post(body, {**FORM, **world.slack.signed(body)}).status_code == 413


def test_signed_nonsense_is_refused_and_nothing_breaks(world: SlackWorld) -> None:
    for body, kind in (
        (b"", FORM), (b"\xff\xfe", FORM), (b"payload=%7B", FORM), (b"payload=[]", FORM), (b"a=b", FORM),
        (b"{", {"Content-Type": "application/json"}), (b"[]", {"Content-Type": "application/json"}),
        (b"[" * 5000, {"Content-Type": "application/json"}),
        (b'{"type": "event_callback"}', {"Content-Type": "application/json"}),
    ):  # fmt: skip
        answer = world.slack.post(body, {**kind, **world.slack.signed(body)})
        assert answer.status_code < 500 or answer.status_code == 503, (body[:20], answer.status_code)
    world.slack.command(world.ana, "/collegium", "whoami")
    assert "ana" in world.slack.seen_by(world.ana)[-1].text


def test_a_message_of_40_000_characters_is_answered_within_slacks_lengths(world: SlackWorld) -> None:
    long = "x" * 39_000
    world.slack.say(world.ana, f"note post long --text {long}")
    world.slack.wait_for(lambda: [m for m in world.slack.messages if m.user == world.slack.bot_user])
    world.slack.command(world.ana, "/collegium", "note show 1")
    world.slack.command(world.ana, "/collegium", f"note show {long}")
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}" --name {long}')
    world.slack.command(world.ana, "/collegium", long)
    answers = [m for m in world.slack.seen_by(world.ana) if m.user == world.slack.bot_user]
    assert len(answers) == 5 and [m.text[:5] for m in answers[2:]] == ["Error"] * 3
    assert not [call for call in world.slack.calls if call.error]


def test_names_that_pretend_to_be_more_are_shown_as_what_they_are(world: SlackWorld) -> None:
    name = "<!channel> @here <@U0BOT> *bold* \u202egnp.exe\u200b <https://evil.test|bank>"
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    world.slack.command(world.ana, "/collegium", f'note post "{escaped}" --text "{escaped}"', channel=world.lab)
    world.slack.command(world.ana, "/collegium", "note show 1", channel=world.lab)
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}" --name "{escaped}"', channel=world.lab)
    world.slack.command(world.ana, "/collegium", "job list", channel=world.lab)
    world.slack.command(world.ana, "/collegium", f"job show {escaped}", channel=world.lab)
    answers = world.slack.seen_by(world.ana)
    assert len(answers) == 5
    for answer in answers:
        assert answer.pings == [], answer.text
        assert "\u202e" not in answer.words and "\u200b" not in answer.words
    assert "without marks that turn the reading direction" in answers[0].text
    assert "[U+202E]" in answers[2].words and "&lt;!channel&gt;" in answers[2].text


def test_a_bot_does_not_talk_to_itself_nor_to_other_bots(world: SlackWorld) -> None:
    direct = world.slack.direct(world.ana)
    said = f'job submit "{SCRIPT}"'
    base = {"text": said, "channel": direct, "channel_type": "im", "team": world.slack.team}
    for facts in (
        {"type": "message", "user": world.slack.bot_user},
        {"type": "message", "user": world.slack.bot_user, "bot_id": "B0COLLEGIUM"},
        {"type": "message", "bot_id": "B0OTHER", "subtype": "bot_message"},
        {"type": "message", "user": world.ana, "bot_id": "B0OTHER"},
        {"type": "message", "user": world.ana, "app_id": "A0OTHER"},
        {"type": "message", "subtype": "message_changed", "message": {"user": world.ana, "text": said}},
        {"type": "message", "user": world.ana, "subtype": "channel_join"},
        {"type": "message", "user": world.ana, "channel_type": "channel", "channel": world.lab},
        {"type": "app_mention", "user": world.slack.bot_user, "channel": world.lab},
        {"type": "app_mention", "user": world.ana, "bot_profile": {"id": "B1"}, "channel": world.lab},
        {"type": "reaction_added", "user": world.ana},
    ):
        assert world.slack.event({**base, "ts": world.slack.state.ts(), **facts}).status == 200, facts
    world.slack.command(world.ana, "/collegium", "whoami")
    assert world.rows(jobs) == [] and len(world.slack.messages) == 1


def test_strangers_of_a_shared_channel_are_refused_in_words(world: SlackWorld) -> None:
    stranger = world.slack.person("Ana", is_stranger=True, team_id="T0OTHER")
    said = world.slack.mention(stranger, f"job submit ```{SCRIPT}```", channel=world.lab, team="T0OTHER")
    assert said.status == 200
    world.slack.wait_for(lambda: [m for m in world.slack.messages if m.to == stranger])
    world.slack.command(stranger, "/collegium", "whoami", channel=world.lab)
    answers = [m for m in world.slack.messages if m.to == stranger]
    assert ["belong to another workspace" in m.text for m in answers] == [True, True]
    assert not any(m.buttons for m in answers) and world.rows(jobs) == []


def test_guests_get_no_account_and_are_told_so(world: SlackWorld) -> None:
    guest = world.slack.person("Gil", is_restricted=True)
    world.slack.command(guest, "/collegium", "whoami", channel=world.lab)
    [answer] = world.slack.seen_by(guest)
    assert "Guests of this workspace get no account" in answer.text
    assert list(answer.buttons) == ["link my account"]


def test_two_people_of_one_name_are_told_apart_by_their_ids(world: SlackWorld) -> None:
    other = world.slack.person("Ana")
    world.slack.command(other, "/collegium", "whoami", channel=world.lab)
    assert "does not know you" in world.slack.seen_by(other)[-1].text
    assert other != world.ana


def test_somebody_removed_a_moment_ago_is_refused_at_once(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", "whoami")
    world.house.db.write(
        lambda tx: tx.execute(
            sa.update(persons).where(persons.c.id == world.ana_here.id).values(disabled_at=world.house.clock.now())
        )
    )
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}"')
    refused = world.slack.seen_by(world.ana)[-1]
    assert world.rows(jobs) == [] and "job 1" not in refused.text
    assert "--token-file" not in refused.words


def test_a_join_button_makes_the_account_and_goes_on_with_the_command(house: House, tmp_path: Path) -> None:
    import msgspec

    house.settings = msgspec.structs.replace(house.settings, join="workspace")
    with slack_world(house, tmp_path) as world:
        world.slack.command(world.cleo, "/collegium", f'job submit "{SCRIPT}" --name first', channel=world.lab)
        offer = world.slack.seen_by(world.cleo)[-1]
        forged = json.dumps(["job", "submit", SCRIPT])
        guest = world.slack.person("Gil", is_ultra_restricted=True)
        world.slack.click(guest, offer, "make my account")
        world.slack.wait_for(lambda: [m for m in world.slack.messages if m.to == guest])
        assert "guests" in world.slack.seen_by(guest)[-1].text and world.rows(jobs) == [] and forged
        world.slack.click(world.cleo, offer, "make my account")
        world.slack.wait_for(lambda: any("first" in m.text for m in world.slack.seen_by(world.cleo)))
        assert [row.name for row in world.rows(jobs)] == ["first"]
        assert any("Welcome: you are cleo" in m.text for m in world.slack.seen_by(world.cleo))


def test_before_a_workspace_is_connected_only_slacks_own_question_is_answered(house: House, tmp_path: Path) -> None:
    with slack_world(house, tmp_path, starts=False) as world:
        world.start_bot()
        asked = json.dumps({"type": "url_verification", "challenge": "abc", "token": "x"}).encode()
        answer = world.slack.post(asked, {"Content-Type": "application/json"})
        assert (answer.status_code, answer.text) == (200, "abc")
        assert world.slack.command(world.ana, "/collegium", "whoami").status == 503
        world.install()
        wait_for(lambda: world.slack.command(world.ana, "/collegium", "whoami").status == 200, 10, "an answer")
        assert world.slack.post(asked, {"Content-Type": "application/json"}).status_code == 401
        signed = world.slack.signed(asked)
        assert world.slack.post(asked, {"Content-Type": "application/json", **signed}).text == "abc"
