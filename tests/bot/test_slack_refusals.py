"""Every kind of Slack's refusals has its own consequence for a card; each named here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.notify_rules import Urgency
from bot.posts import Refused, Why, why_of
from hub.chats.tables import chat_installations
from hub.core.context import Actor
from hub.core.house import House
from tests.bot.card_lab import TEAM, Lab, card_lab, give_channel
from tests.conftest import NOW

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(house: House, ana: Actor, tmp_path: Path) -> Iterator[Lab]:
    with card_lab(house, ana, tmp_path) as made:
        yield made


@pytest.mark.parametrize("error", ["channel_not_found", "not_in_channel", "is_archived", "restricted_action"])
def test_a_card_that_may_not_be_posted_where_it_was_asked_for_goes_to_who_asked(lab: Lab, error: str) -> None:
    lab.slack.fault("chat.postMessage", error)
    job = lab.submit()
    lab.follow()
    lab.end(job, "failed")
    lab.follow()
    assert {one.channel for one in lab.slack.messages} == {lab.slack.direct(lab.user)}
    assert [one.thread is None for one in lab.slack.messages] == [True, False]
    assert [row.state for row in lab.cards()] == ["lost", "posted"]


@pytest.mark.parametrize("error", ["channel_not_found", "not_in_channel", "is_archived", "restricted_action"])
def test_a_channel_of_the_session_that_cannot_be_reached_gets_no_card_and_no_second_try(lab: Lab, error: str) -> None:
    lab.act("session_create", name="hcl")
    give_channel(lab, lab.channel, "full")
    lab.slack.fault("chat.postMessage", error)
    job = lab.submit(channel=None, session_id="hcl")
    lab.follow()
    lab.end(job)
    lab.follow()
    assert lab.slack.messages == [] and len(lab.slack.called("chat.postMessage")) == 1
    assert [row.state for row in lab.cards()] == ["lost"]


def test_a_channel_archived_meanwhile_ends_its_card_quietly(lab: Lab) -> None:
    job = lab.submit()
    lab.follow()
    lab.slack.fault("chat.update", "is_archived")
    lab.end(job)
    lab.follow()
    assert [(row.state, row.settled_at is not None) for row in lab.cards()] == [("lost", True)]


def test_message_not_found_a_card_somebody_deleted_is_posted_anew_once(lab: Lab) -> None:
    job = lab.submit()
    lab.follow()
    lab.slack.messages[0].is_deleted = True
    lab.happen(job, "placed", started_at=NOW)
    lab.follow()
    [again] = lab.slack.messages
    again.is_deleted = True
    lab.happen(job, "started")
    lab.follow()
    assert lab.slack.messages == []
    assert [row.state for row in lab.cards()] == ["lost"]


@pytest.mark.parametrize("error", ["msg_too_long", "msg_blocks_too_long", "blocks_too_long"])
def test_a_card_that_is_too_long_is_shortened(lab: Lab, error: str) -> None:
    lab.slack.fault("chat.postMessage", error, times=2)
    lab.submit()
    lab.follow()
    [card] = lab.slack.messages
    assert card.text.startswith("job 1 “fit” queued")


def test_a_card_that_is_too_long_whatever_is_left_out_is_given_up(lab: Lab) -> None:
    lab.slack.fault("chat.postMessage", "msg_too_long", times=20)
    lab.submit()
    lab.follow()
    assert len(lab.slack.called("chat.postMessage")) <= 6
    assert [row.state for row in lab.cards()] == ["lost"]


def test_blocks_that_are_refused_leave_the_sentence(lab: Lab) -> None:
    lab.slack.fault("chat.postMessage", "invalid_blocks")
    lab.submit()
    lab.follow()
    [card] = lab.slack.messages
    assert card.text.startswith("job 1 “fit” queued") and card.blocks == []


def test_ratelimited_is_waited_for_as_long_as_slack_says(lab: Lab) -> None:
    job = lab.submit()
    lab.follow()
    lab.slack.fault("chat.update", "ratelimited", status=429, retry_after=1)
    lab.end(job)
    begun = time.monotonic()
    lab.follow(seconds=6)
    updates = lab.slack.called("chat.update")
    assert [one.error for one in updates] == ["ratelimited", ""]
    assert updates[1].at - updates[0].at >= 1.0 and time.monotonic() - begun < 6
    assert "succeeded" in lab.roots[0].text


@pytest.mark.parametrize("error", ["invalid_auth", "token_revoked", "account_inactive"])
def test_tokens_that_are_not_taken_mark_the_installation_broken(lab: Lab, error: str) -> None:
    values = {"platform": "slack", "workspace": TEAM, "sealed": b"", "installed_by": "per", "installed_at": NOW}
    lab.house.db.write(lambda tx: tx.execute(sa.insert(chat_installations).values(**values)))
    lab.slack.fault("chat.postMessage", error)
    lab.submit()
    lab.follow(seconds=0.3)
    with lab.house.db.read() as conn:
        assert conn.execute(sa.select(chat_installations.c.broken_why)).scalar_one() == error
    # The card is not lost: it is posted when the tokens are good again.
    lab.follow()
    assert len(lab.slack.messages) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "internal_error"},
        {"status": 503},
        {"error": "fatal_error", "is_late": True},
        {"status": 500, "is_late": True},
        {"seconds": 1.5, "is_late": True},
    ],
)
def test_trouble_at_slack_makes_one_card_whether_it_was_posted_or_not(lab: Lab, fault: dict[str, Any]) -> None:
    lab.slack.fault("chat.postMessage", **fault)
    lab.submit()
    lab.follow(seconds=8)
    assert len(lab.slack.messages) == 1
    assert [row.state for row in lab.cards()] == ["posted"]


def test_a_reply_that_was_posted_without_an_answer_is_found_and_not_doubled(lab: Lab) -> None:
    job = lab.submit()
    lab.follow()
    lab.end(job)
    lab.slack.fault("chat.postMessage", status=500, is_late=True)
    lab.follow(seconds=8)
    assert len(lab.replies) == 1
    assert [row.reply for row in lab.cards()] == ["posted"]


def test_every_error_name_has_a_class_and_an_unknown_one_is_about_what_was_sent() -> None:
    named = {
        "channel_not_found": Why.PLACE, "message_not_found": Why.MESSAGE, "msg_too_long": Why.LENGTH,
        "ratelimited": Why.RATE, "invalid_auth": Why.TOKENS, "internal_error": Why.TROUBLE, "missing_scope": Why.SCOPE,
        "something_new": Why.CONTENT,
    }  # fmt: skip
    assert {error: why_of(error) for error in named} == named
    assert "nobody can be reached" in str(Refused(Why.PLACE, "is_archived"))
    assert Urgency.ENDED < Urgency.NEEDS_A_PERSON < Urgency.CHANGED < Urgency.PROGRESS
