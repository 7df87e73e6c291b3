"""Which events make cards, where, how urgent, who is mentioned; and the paces: pure, cell by cell."""

from __future__ import annotations

import bisect
import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.door import Place
from bot.hub_views import ENDED, Event, Job, Workflow, WorkflowStep
from bot.notify_rules import (
    LONG_SECONDS,
    TERMINAL,
    Happening,
    Standing,
    Thing,
    Urgency,
    first_state,
    happening,
    may_mention,
    of_job,
    of_workflow,
    place_of,
    urgency,
    wants_reply,
)
from bot.paces import Allowance, Breath

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HERE = Place("slack", "T1", "C1")


def event(action: str, kind: str, **facts: Any) -> Event:
    return Event(
        sequence=1, at=NOW, actor="per_1", action=action, object_kind=kind, object="x_1", session="ses_1", facts=facts,
        came_by="slack:T1:C1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "found"),
    [
        (event("job_submit", "job", workflow=None), Happening(Thing("job", "x_1"), "ses_1", "per_1", HERE)),
        (event("job_submit", "job", workflow="wfl_1"), Happening(Thing("workflow", "wfl_1"), "ses_1", "per_1", HERE)),
        (
            event("workflow_resume", "job", workflow="wfl_1"),
            Happening(Thing("workflow", "wfl_1"), "ses_1", "per_1", HERE),
        ),
        (event("run", "experiment"), Happening(Thing("experiment", "x_1"), "ses_1", "per_1", HERE)),
        (event("experiment_observed", "experiment"), Happening(Thing("experiment", "x_1"), "ses_1")),
        (event("experiment_cancel", "experiment"), Happening(Thing("experiment", "x_1"), "ses_1")),
        (event("job_observed", "job", state="RUNNING"), Happening(Thing("job", "x_1"), "ses_1")),
        (event("job_observed", "job", state="FAILED"), Happening(Thing("job", "x_1"), "ses_1", is_over=True)),
        (event("job_cancel", "job"), Happening(Thing("job", "x_1"), "ses_1")),
        (event("lab_notebook", "entry"), Happening(Thing("entry", "x_1"), "ses_1", "per_1", HERE)),
        (event("lab_notebook", "signature"), None),
        (event("note_sign", "signature", entry="ent_1"), Happening(Thing("entry", "ent_1"), "ses_1")),
        (event("note_sign", "signature"), None),
        (event("link_create", "link"), Happening(Thing("link", "x_1"), "ses_1", "per_1", HERE)),
        (event("link_revoke", "link"), Happening(Thing("link", "x_1"), "ses_1")),
        (event("session_create", "session"), None),
    ],
)
def test_what_an_event_means_for_cards(one: Event, found: Happening | None) -> None:
    assert happening(one) == found


def test_the_terminal_states_are_those_the_views_know() -> None:
    assert set(ENDED) == TERMINAL


@pytest.mark.parametrize(
    ("came_by", "place"),
    [
        ("slack:T1:C1", HERE),
        ("slack:T1:C1:17.5", Place("slack", "T1", "C1", "17.5")),
        (None, None), ("", None), ("slack:T1", None), ("slack::C1", None),
    ],
)  # fmt: skip
def test_where_somebody_was_heard(came_by: str | None, place: Place | None) -> None:
    assert place_of(came_by) == place


# cards of the channel -> (a job, an entry, a link made here, a link made elsewhere)
FIRST: dict[str, tuple[str | None, str | None, str | None, str | None]] = {
    "full": ("wanted", "wanted", "wanted", None),
    "ends": ("held", "held", "held", None),
    "digest": ("digest", None, None, None),
    "off": (None, None, None, None),
}


@pytest.mark.parametrize("cards", FIRST)
def test_in_which_state_a_card_begins(cards: str) -> None:
    found = (
        first_state("job", cards, is_from_here=False),
        first_state("entry", cards, is_from_here=True),
        first_state("link", cards, is_from_here=True),
        first_state("link", cards, is_from_here=False),
    )
    assert found == FIRST[cards]


# how it ended -> who is mentioned by each preference: default, all, ends, failures, none
MENTIONS: dict[Standing, str] = {
    Standing("well", ran_seconds=1): "- all ends - -",
    Standing("well", ran_seconds=LONG_SECONDS): "default all ends - -",
    Standing("badly", ran_seconds=1): "default all ends failures -",
    Standing("stopped", ran_seconds=1): "- all ends - -",
    Standing("badly", needs_a_person=True): "default all ends failures -",
    Standing("", needs_a_person=True): "default all - failures -",
    Standing(""): "- - - - -",
}


def test_who_is_mentioned_by_how_it_ended_and_what_they_wish() -> None:
    for (standing, expected), (column, notify) in itertools.product(
        MENTIONS.items(), enumerate((None, "all", "ends", "failures", "none"))
    ):
        assert may_mention(notify, standing) == (expected.split()[column] != "-"), (standing, notify)


def test_the_order_of_edits_is_ended_then_needs_somebody_then_changed_then_progress() -> None:
    running, later = Standing(word="RUNNING"), Standing(word="COLLECTING")
    assert urgency(running, Standing("well", word="SUCCEEDED")) is Urgency.ENDED
    assert urgency(running, Standing(needs_a_person=True, word="HELD")) is Urgency.NEEDS_A_PERSON
    assert urgency(running, later) is Urgency.CHANGED
    assert urgency(None, running) is Urgency.CHANGED
    assert urgency(running, running) is Urgency.PROGRESS


@pytest.mark.parametrize("state", ["QUEUED", "RUNNING", "HELD", *ENDED])
def test_how_a_job_stands(state: str) -> None:
    job = Job(id="job_1", number=1, ref="1", state=state, started_at=NOW, ended_at=NOW + timedelta(seconds=9))
    standing = of_job(job)
    assert standing.is_over == (state in ENDED)
    assert standing.needs_a_person == (state in ("HELD", "UNKNOWN_OUTCOME"))
    assert standing.ran_seconds == 9
    assert wants_reply("job", standing) == (state in ENDED or state == "HELD")
    assert not wants_reply("link", standing)


@pytest.mark.parametrize(
    ("states", "ending"),
    [
        ("SUCCEEDED RUNNING", ""), ("", ""), ("SUCCEEDED SUCCEEDED", "well"), ("SUCCEEDED CANCELLED", "stopped"),
        ("FAILED CANCELLED", "badly"), ("SUCCEEDED UNKNOWN_OUTCOME", "badly"),
    ],
)  # fmt: skip
def test_a_workflow_ends_when_every_step_has_as_its_worst_did(states: str, ending: str) -> None:
    steps = tuple(WorkflowStep(step=s, job=s, number=n, state=s) for n, s in enumerate(states.split()))
    assert of_workflow(Workflow(workflow="wfl_1", steps=steps), 1.0).ending == ending


@pytest.mark.parametrize("seed", range(20))
def test_an_allowance_is_never_passed_in_any_minute_and_waits_no_longer_than_it_says(seed: int) -> None:
    chance, edits, now = random.Random(seed), Allowance(49, 60.0), 1000.0
    taken: list[float] = []
    for _ in range(2000):
        now += chance.choice([0.0, 0.01, 0.5, 3.0])
        keep = chance.choice([0, 26])
        wait = edits.ready_in(now, keep=keep)
        if wait > 0 and chance.random() < 0.2:
            assert edits.ready_in(now + wait - 0.001, keep=keep) > 0
            now += wait
            assert edits.ready_in(now, keep=keep) < 1e-6
        if edits.take(now + 1e-6, keep=keep):
            taken.append(now + 1e-6)
    assert taken
    assert taken == sorted(taken)
    assert max(bisect.bisect_left(taken, start + 60) - i for i, start in enumerate(taken)) <= 49


def test_what_is_allowed_in_a_minute_may_come_at_once_and_progress_leaves_a_part_of_it() -> None:
    edits = Allowance(49, 60.0)
    edits.ready_in(0.0)
    assert sum(edits.take(100.0, keep=26) for _ in range(60)) == 23
    assert sum(edits.take(100.0) for _ in range(60)) == 26
    assert edits.ready_in(100.0) == pytest.approx(60.0)


def test_who_begins_supposes_that_another_took_half_of_it_just_before() -> None:
    edits = Allowance(49, 60.0)
    assert sum(edits.take(100.0) for _ in range(60)) == 25


def test_after_a_refusal_nothing_is_taken_before_the_moment_that_was_named() -> None:
    edits = Allowance(50, 60.0)
    assert edits.take(100.0)
    edits.close(100.0, 30)
    assert edits.ready_in(100.0) == pytest.approx(31.2)
    assert not edits.take(131.0)
    assert edits.take(131.3)
    # Progress leaves a reserve, and waits until there is more than that.
    assert not edits.take(134.0, keep=8)
    assert edits.ready_in(134.0, keep=8) > 5


def test_a_channel_draws_breath_between_two_posts() -> None:
    breath = Breath(1.0)
    assert breath.take("C1", 10.0)
    assert not breath.take("C1", 10.5)
    assert breath.take("C2", 10.5)
    breath.close("C1", 10.5, 30)
    assert breath.ready_in("C1", 11.0) == pytest.approx(29.5)
