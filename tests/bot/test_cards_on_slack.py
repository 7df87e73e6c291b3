"""Cards on a fake Slack, from a real hub: what is posted where, what an end says, who is mentioned."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot import notify
from bot.card_faces import is_loopback
from hub.core.context import Actor
from hub.core.house import House
from hub.ledger.sequencer import pass_once
from hub.notebook import dsse
from hub.perform import perform
from tests.actions.notebook_fixtures import detached, step_up_code
from tests.actions.test_orchestrator import carry_on
from tests.bot.card_lab import SCRIPT, TEAM, Lab, card_lab, give_channel
from tests.conftest import make_person
from tests.waiting import come

pytestmark = pytest.mark.slow


@pytest.fixture
def lab(house: House, ana: Actor, tmp_path: Path) -> Iterator[Lab]:
    with card_lab(house, ana, tmp_path) as made:
        yield made


def test_a_job_has_one_card_where_it_was_submitted_edited_in_place_and_one_reply(lab: Lab) -> None:
    job = lab.submit()
    lab.follow()
    [card] = lab.slack.messages
    assert card.channel == lab.channel
    assert card.text.startswith("job 1 “fit” queued")
    assert {"stop it", "read the log", "open the room", "open the page"} <= set(card.buttons)
    lab.end(job, "failed", "The program ended with exit code 3.")
    lab.follow()
    lab.follow()
    [edited] = lab.roots
    assert edited.ts == card.ts
    assert edited.text == "job 1 “fit” failed after 1 s, The program ended with exit code 3"
    [reply] = lab.replies
    assert (reply.thread, reply.pings) == (card.ts, [f"@{lab.user}", f"@{lab.user}"])
    assert "failed" in reply.text
    [row] = lab.cards()
    assert (row.state, row.message, row.reply, row.reply_message) == ("posted", card.ts, "posted", reply.ts)
    assert row.settled_at is not None


@pytest.mark.parametrize(
    ("notify", "event", "seconds", "pings"),
    [
        (None, "succeeded", 10, False), (None, "succeeded", 301, True), (None, "failed", 1, True),
        ("ends", "succeeded", 1, True), ("none", "failed", 1, False), ("failures", "succeeded", 301, False),
    ],
)  # fmt: skip
def test_the_submitter_is_mentioned_as_they_wish(
    lab: Lab, notify: str | None, event: str, seconds: float, pings: bool
) -> None:
    lab.act("notify_set", notify=notify)
    lab.end(lab.submit(), event, seconds=seconds)
    lab.follow()
    [reply] = lab.replies
    assert bool(reply.pings) == pings


def test_a_channel_of_the_session_shows_what_is_submitted_elsewhere(lab: Lab) -> None:
    lab.act("session_create", name="hcl")
    give_channel(lab, lab.channel, "full")
    lab.submit(channel=None, session_id="hcl")
    lab.submit(channel=None)
    lab.follow()
    [card] = lab.slack.messages
    assert card.channel == lab.channel


def test_channels_show_as_much_as_they_are_set_to(lab: Lab) -> None:
    lab.act("session_create", name="hcl")
    places = {cards: lab.slack.channel(cards) for cards in ("full", "ends", "digest", "off")}
    for cards, channel in places.items():
        give_channel(lab, channel, cards)
    first, second = (lab.submit(channel=None, session_id="hcl", name=name) for name in ("fit", "plot"))
    lab.follow()
    assert [one.channel for one in lab.slack.messages] == [places["full"]] * 2
    lab.end(first)
    lab.follow()
    in_ends = [one for one in lab.roots if one.channel == places["ends"]]
    assert [one.text for one in in_ends] == ["job 1 “fit” succeeded after 1 s"]
    in_digest = [one for one in lab.slack.messages if one.channel == places["digest"]]
    assert [one.text for one in in_digest] == ["1 thing ended this hour, 1 thing not over"]
    assert "✓ job 1 “fit” succeeded after 1 s" in in_digest[0].words
    assert not [one for one in lab.slack.messages if one.channel == places["off"]]
    lab.end(second)
    lab.follow()
    [digest] = [one for one in lab.slack.messages if one.channel == places["digest"]]
    assert digest.ts == in_digest[0].ts and digest.text == "2 things ended this hour"


def test_a_workflow_is_one_card(lab: Lab) -> None:
    made = lab.act(
        "job_submit",
        name="spectra",
        workflow=[{"step": n, "script": SCRIPT, "dependencies": []} for n in "ab"],
    )
    lab.follow()
    [card] = lab.slack.messages
    assert card.text == "workflow “spectra” waiting, 0 of 2 steps over"
    assert "a (job 1) queued" in card.words
    first, second = made["jobs"]
    lab.end(first)
    lab.follow()
    assert [one.text for one in lab.slack.messages] == ["workflow “spectra” running, 1 of 2 steps over"]
    lab.end(second, "failed")
    lab.follow()
    [root] = lab.roots
    assert root.text == "workflow “spectra” failed, 2 of 2 steps over"
    assert len(lab.replies) == 1


def test_an_experiment_is_one_card_with_a_line_a_node_and_can_be_stopped_and_resumed_from_it(lab: Lab) -> None:
    job = {"tool": "distributed_collaboration", "action": "job_submit", "script": SCRIPT}
    note = {"tool": "distributed_collaboration", "action": "lab_notebook", "entry": {"title": "T", "content": "C"}}
    made = lab.act("run", tool="experiment_orchestrator", dag=[job, note])
    lab.follow()
    [card] = lab.slack.messages
    assert card.text == "experiment “job_submit to lab_notebook” running, 0 of 2 nodes over"
    assert "○ 1 job_submit waiting" in card.words and "stop it" in card.buttons
    carry_on(lab.house, lab.house.clock)  # type: ignore[arg-type]
    lab.follow()
    shown = next(each for each in lab.roots if each.ts == card.ts)
    assert "● 1 job_submit running" in shown.words
    lab.act("experiment_cancel", experiment=made["experiment"])
    lab.follow()
    shown = next(each for each in lab.roots if each.ts == card.ts)
    assert shown.text.startswith("experiment “job_submit to lab_notebook” cancelled, 2 of 2 nodes over")
    assert "resume it" in shown.buttons and "stop it" not in shown.buttons
    assert [reply.thread for reply in lab.replies].count(card.ts) == 1


def test_a_workflow_that_is_resumed_has_a_card_of_its_own(lab: Lab) -> None:
    made = lab.act("job_submit", name="W", workflow=[{"step": n, "script": SCRIPT} for n in "ab"])
    lab.end(made["jobs"][0], "failed")
    lab.end(made["jobs"][1])
    lab.follow()
    assert "resume it" in lab.roots[0].buttons
    lab.act("workflow_resume", workflow=made["workflow"])
    lab.follow()
    assert [one.text for one in lab.roots] == [
        "workflow “W” failed, 2 of 2 steps over", "workflow “W” waiting, 0 of 1 step over",
    ]  # fmt: skip


def test_an_entry_waits_for_a_signature_in_its_channel(lab: Lab) -> None:
    lab.act("lab_notebook", entry={"title": "The HCl band", "content": "Twelve lines."})
    lab.follow()
    [card] = lab.slack.messages
    assert card.text == "entry 1 “The HCl band”, version 1, not signed"
    assert "Twelve lines" not in card.words


def test_the_card_of_an_entry_says_signed_when_it_is(lab: Lab) -> None:
    entry = lab.act("lab_notebook", entry={"title": "The HCl band", "content": "Twelve lines."})["entry"]
    lab.follow()
    pair = dsse.make_key()
    key = lab.act("key_create", name="laptop", public=pair.public.hex(), code=step_up_code(lab.house, lab.ana))["key"]
    lab.act("note_sign", entry=entry, signature=detached(lab.house, lab.ana, entry, key, pair.private))
    lab.follow()
    [card] = lab.roots
    assert card.text.startswith("entry 1 “The HCl band”, version 1, signed by Ana (author, client-held key)")
    assert "✓ entry 1" in card.words and "sign it" not in card.words


def test_a_link_has_a_card_without_its_secret_that_says_when_it_is_revoked(lab: Lab) -> None:
    lab.act("session_create", name="hcl")
    made = lab.act("link_create", session_id="hcl", role="read")
    lab.follow()
    [card] = lab.slack.messages
    assert "open" in card.text and made["secret"] not in card.words
    lab.act("link_revoke", link=made["link"])
    lab.follow()
    [card] = lab.slack.messages
    assert "revoked" in card.text and "revoke it" not in card.buttons


@pytest.mark.parametrize(("detail", "text"), [("names", "job 1 “fit” queued"), ("ids", "job 1 queued")])
def test_a_card_says_no_more_than_its_session_lets_out(lab: Lab, detail: str, text: str) -> None:
    lab.act("session_create", name="secret-place")
    lab.act("session_change", session_id="secret-place", chat_detail=detail)
    job = lab.submit(session_id="secret-place")
    lab.follow()
    [card] = lab.slack.messages
    assert card.text == text
    lab.end(job, "failed", "canary of a log")
    lab.follow()
    words = "".join(one.words + str(one.blocks) for one in lab.slack.messages)
    assert "canary" not in words
    assert ("secret-place" in words) == (detail == "names")


def test_while_the_hub_is_on_this_machine_only_a_card_says_so(lab: Lab, house: House) -> None:
    assert is_loopback("http://127.0.0.1:8400/jobs/1") and is_loopback("http://localhost:8400/")
    assert not is_loopback("https://hub.university.edu/")
    object.__setattr__(house, "settings", type(house.settings)(data=house.settings.data, port=8400))
    lab.submit()
    lab.follow()
    assert "Links open on the hub's own machine only." in lab.slack.messages[0].words


def test_what_was_posted_is_deleted_on_request(lab: Lab) -> None:
    job = lab.submit()
    lab.end(job)
    lab.follow()
    assert lab.slack.messages == [*lab.roots, *lab.replies] and len(lab.roots) == len(lab.replies) == 1
    lab.act("chat_forget", object=job)
    lab.follow()
    assert lab.slack.messages == []
    [row] = lab.cards()
    assert (row.state, row.message, row.reply_message) == ("forgotten", None, None)


# --- the running process ----------------------------------------------------------------------------------------------


@pytest.mark.real
def test_one_process_follows_and_the_next_goes_on_with_its_cards(lab: Lab) -> None:
    """Two processes: one follows, and when it is stopped the other goes on with the same cards."""
    perform(
        lab.house,
        {
            "action": "chat_install", "platform": "slack", "workspace": TEAM, "bot_token": lab.slack.bot_token,
            "signing_secret": lab.slack.signing_secret,
        },
        make_person(lab.house, "olga", hub_role="operator"),
    )  # fmt: skip

    async def day() -> list[float]:
        lab.house.clock.advance(20)  # type: ignore[attr-defined]
        stops = [asyncio.Event(), asyncio.Event()]
        running = [
            asyncio.create_task(notify.serve(lab.hub, holder=f"p{n}", api_url=lab.slack.url, stop=stop))
            for n, stop in enumerate(stops)
        ]
        waits: list[float] = []
        job = await asyncio.to_thread(lab.submit)
        for turn, event in enumerate(("placed", "started", "ended")):
            edits = len(lab.slack.called("chat.update"))
            begun = time.monotonic()
            await asyncio.to_thread(lab.happen, job, event)
            await asyncio.to_thread(pass_once, lab.house.db, "test", lab.house.clock.now())
            seen = "chat.postMessage" if turn == 0 else "chat.update"
            await come(lambda: len(lab.slack.called(seen)) > (0 if turn == 0 else edits), 20, "the card")  # noqa: B023
            waits.append(time.monotonic() - begun)
        stops[0].set()
        await running[0]
        lab.house.clock.advance(20)  # type: ignore[attr-defined]
        await asyncio.to_thread(lab.happen, job, "succeeded")
        await asyncio.to_thread(pass_once, lab.house.db, "test", lab.house.clock.now())
        await come(lambda: bool(lab.replies), 20, "the reply")
        stops[1].set()
        await running[1]
        return waits

    waits = asyncio.run(day())
    assert len(lab.roots) == len(lab.replies) == 1
    assert "succeeded" in lab.roots[0].text
    assert max(waits) < 10  # how quick it is, the benchmark says
