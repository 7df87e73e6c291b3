"""What is said, and what is done, when the hub or Slack does not do its part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import slack_client
from bot.slack_client import PLACE, SLACK, TOKENS, Trouble, trouble
from hub.chats.tables import chat_installations
from hub.core.house import House
from hub.jobs.tables import jobs
from hub.notebook.tables import entries
from tests.bot.fake_slack import Rate
from tests.bot.slack_world import SlackWorld, slack_world

SCRIPT = "#!/bin/sh\ntrue"

# The library leaves a Unix socket it could not connect to the garbage collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Exception ignored in.*socket:pytest.PytestUnraisableExceptionWarning"),
]

# What Slack's documentation names for the methods the bot calls, and one that does not exist yet.
EVERY_ERROR = sorted(
    TOKENS | PLACE | SLACK
    | {
        "no_text", "msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format",
        "invalid_arguments",
        "invalid_arg_name", "invalid_array_arg", "invalid_charset", "invalid_form_data", "invalid_post_type",
        "missing_post_type", "too_many_attachments", "attachment_payload_limit_exceeded", "metadata_too_large",
        "invalid_metadata_format", "metadata_must_be_sent_from_app", "duplicate_message_not_found", "team_added",
        "invalid_trigger_id", "expired_trigger_id", "exchanged_trigger_id", "view_too_large", "push_limit_reached",
        "deprecated_endpoint", "method_deprecated", "two_factor_setup_required", "a_new_error_nobody_knows",
    }
)  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for Slack takes no time."""

    async def at_once(seconds: float) -> None:
        waited.append(seconds)

    waited.clear()
    monkeypatch.setattr(slack_client, "pause_for", at_once)


waited: list[float] = []


@pytest.fixture
def world(house: House, tmp_path: Path) -> Iterator[SlackWorld]:
    with slack_world(house, tmp_path) as made:
        yield made


def answers(world: SlackWorld, user: str) -> list[str]:
    return [m.text for m in world.slack.seen_by(user) if m.user == world.slack.bot_user]


def test_with_the_hub_down_everything_is_answered_with_not_recorded_and_nothing_is_recorded(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", "job submit", channel=world.lab)
    [view] = world.slack.state.views.values()
    world.slack.command(world.ana, "/collegium", "job lst", channel=world.lab)
    button = world.slack.seen_by(world.ana)[-1]
    world.hub.stop()
    try:
        assert world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}"').status == 200
        assert answers(world, world.ana)[-1].startswith("Not recorded")
        assert world.slack.mention(world.ana, f"job submit ```{SCRIPT}```", channel=world.lab).status == 200
        assert world.slack.say(world.ana, f"job submit ```{SCRIPT}```").status == 200
        assert world.slack.click(world.ana, button, "/collegium job list").status == 200
        world.slack.wait_for(lambda: [a.startswith("Not recorded") for a in answers(world, world.ana)].count(True) == 4)
        told = world.slack.submit(world.ana, view, script=SCRIPT)
        assert told.body["errors"]["script"].startswith("Not recorded")
    finally:
        world.hub.start()
    assert world.rows(jobs) == []
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}"')
    assert len(world.rows(jobs)) == 1


def test_what_the_hub_does_too_late_is_not_confirmed_yet_and_then_told_and_done_once(world: SlackWorld) -> None:
    world.hub.late_seconds = [3.0]
    said = world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}" --name late', channel=world.lab)
    assert said.status == 200 and said.seconds < 3
    assert answers(world, world.ana)[-1].startswith("Not confirmed yet")
    world.slack.wait_for(lambda: "late" in answers(world, world.ana)[-1])
    assert world.slack.seen_by(world.ana)[-1].via == "response_url"
    assert [row.name for row in world.rows(jobs)] == ["late"]


def test_an_event_is_acknowledged_only_when_it_is_known_what_became_of_it(world: SlackWorld) -> None:
    world.hub.late_seconds = [3.0, 3.0]
    said = world.slack.mention(world.ana, "note post late --text x", channel=world.lab)
    assert [attempt.status for attempt in said.attempts][:1] == [503] and said.status == 200
    world.slack.wait_for(lambda: any("late" in answer for answer in answers(world, world.ana)))
    assert len(world.rows(entries)) == 1
    assert [answer.startswith("Not confirmed yet") for answer in answers(world, world.ana)] == [True, False]


def test_a_hub_that_goes_away_after_it_recorded_is_not_called_not_recorded(world: SlackWorld) -> None:
    """The reply's last question meets nobody; the action before it stands."""
    from bot.carrying import ErrandHub
    from bot.hub_client import Unreachable

    asked = ErrandHub.sessions
    gone = [True]

    def away(hub: ErrandHub) -> object:
        if gone and hub.has_acted:
            gone.clear()
            raise Unreachable("hub_unreachable", "No hub answers.")
        return asked(hub)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ErrandHub, "sessions", away)
        world.slack.say(world.ana, "artifact list")
        world.slack.mention(world.ana, "", channel=world.lab, files=(world.slack.file("a.csv", b"1"),))
        world.slack.wait_for(lambda: any("a.csv" in answer for answer in answers(world, world.ana)))
    assert not any(answer.startswith("Not recorded") for answer in answers(world, world.ana))


@pytest.mark.parametrize("kind", list(Trouble))
def test_every_error_slack_has_leaves_the_record_alone_and_the_bot_alive(world: SlackWorld, kind: Trouble) -> None:
    errors = [error for error in EVERY_ERROR if trouble(error) is kind]
    for number, error in enumerate(errors):
        world.slack.fault("chat.postEphemeral", error)
        assert world.slack.mention(world.ana, f"note post e{number} --text x", channel=world.lab).status == 200
    world.slack.wait_for(lambda: not world.slack.state.faults["chat.postEphemeral"])
    assert len(world.rows(entries)) == len(errors)
    said = world.slack.mention(world.ana, "whoami", channel=world.lab)
    assert said.status == 200
    world.slack.wait_for(lambda: any("ana" in answer for answer in answers(world, world.ana)))
    if kind is Trouble.TOKENS:
        world.slack.wait_for(lambda: world.rows(chat_installations)[0].broken_why)
    if kind is Trouble.PLACE:  # said in their direct messages instead
        assert world.slack.called("conversations.open")
    if kind is Trouble.CONTENT:  # said as one sentence instead
        assert any(not m.blocks for m in world.slack.messages if m.to == world.ana)


def test_slack_is_left_alone_for_as_long_as_it_says(world: SlackWorld) -> None:
    world.slack.rate("chat.postEphemeral", Rate(1, 60))
    world.slack.fault("chat.postEphemeral", status=429, retry_after=7, times=2)
    world.slack.mention(world.ana, "whoami", channel=world.lab)
    world.slack.wait_for(lambda: answers(world, world.ana))
    assert waited[:2] == [7.0, 7.0]


def test_a_response_url_that_is_spent_is_not_the_only_way(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", "job lst", channel=world.lab)
    button = world.slack.seen_by(world.ana)[-1]
    real = world.slack._hook

    def spent(user: str, channel: str) -> str:
        address = real(user, channel)
        world.slack.state.hooks[address.rpartition("/")[2]]["uses"] = 5
        return address

    world.slack._hook = spent  # type: ignore[method-assign]
    world.slack.click(world.ana, button, "/collegium job list")
    shown = world.slack.wait_for(lambda: [m for m in world.slack.messages if "0 jobs" in m.text])[-1]
    assert (shown.via, shown.to) == ("chat.postEphemeral", world.ana)


@pytest.mark.parametrize("error", ["expired_trigger_id", "exchanged_trigger_id", "view_too_large", "internal_error"])
def test_a_form_slack_does_not_open_is_said_in_words(world: SlackWorld, error: str) -> None:
    world.slack.fault("views.open", error, times=4)
    said = world.slack.command(world.ana, "/collegium", "note post")
    assert said.status == 200 and world.slack.state.views == {}
    assert "form" in answers(world, world.ana)[-1]


def test_files_that_cannot_be_fetched_are_told_by_their_reason(world: SlackWorld) -> None:
    world.slack.tokens[world.slack.bot_token] -= {"files:read"}
    world.slack.mention(world.ana, "", channel=world.lab, files=(world.slack.file("a.csv", b"1" * 500),))
    world.slack.wait_for(lambda: answers(world, world.ana))
    assert "files:read" in answers(world, world.ana)[-1]


def test_a_token_is_sent_to_slacks_own_hosts_only(world: SlackWorld) -> None:
    event = {
        "type": "app_mention", "user": world.ana, "text": f"<@{world.slack.bot_user}>", "channel": world.lab,
        "ts": world.slack.state.ts(), "team": world.slack.team,
        "files": [{"id": "F1", "name": "a.csv", "size": 1, "url_private_download": "https://slack.com.evil.test/a"}],
    }  # fmt: skip
    assert world.slack.event(event).status == 200
    world.slack.wait_for(lambda: answers(world, world.ana))
    assert "not kept by Slack" in answers(world, world.ana)[-1]


def test_socket_mode_is_the_same_door_and_outlives_a_refresh(house: House, tmp_path: Path) -> None:
    with slack_world(house, tmp_path, starts=False) as world:
        world.install(app_token=world.slack.app_token)
        world.start_bot(by_http=False)
        assert world.slack.sockets.connected.wait(10)
        said = world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}"', channel=world.lab)
        assert said.status == 200 and said.body["response_type"] == "ephemeral"
        world.slack.sockets.refresh()
        assert world.slack.sockets.connected.wait(20)
        assert world.slack.mention(world.ana, "note post b --text c", channel=world.lab).status == 200
        assert len(world.rows(jobs)) == len(world.rows(entries)) == 1
        world.slack.command(world.ana, "/note", "post")
        [view] = world.slack.state.views.values()
        assert world.slack.submit(world.ana, view, title="d", text="e").status == 200
        assert len(world.rows(entries)) == 2
