"""The table of a job's life is complete: every move is listed or refused, and every job can end, in words."""

from __future__ import annotations

import pytest

from hub.jobs import rules
from hub.jobs.rules import EVENTS, STATES, TERMINAL, TRANSITIONS, Event, Exit, ImpossibleTransition, State


@pytest.mark.parametrize("state", STATES)
def test_every_event_in_a_state_is_in_the_table_or_refused(state: State) -> None:
    for event in EVENTS:
        if event in TRANSITIONS[state]:
            assert rules.move(state, event) == TRANSITIONS[state][event]
        else:
            with pytest.raises(ImpossibleTransition, match=f"{state} knows no {event}"):
                rules.move(state, event)


def reachable(start: State) -> set[State]:
    found, waiting = {start}, [start]
    while waiting:
        for state in TRANSITIONS[waiting.pop()].values():
            if state not in found:
                found.add(state)
                waiting.append(state)
    return found


def test_the_table_names_every_state_and_every_event() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert {event for moves in TRANSITIONS.values() for event in moves} == set(EVENTS)


def test_every_state_can_be_reached_and_every_job_can_end() -> None:
    assert reachable("WAITING") == set(STATES)
    for state in STATES:
        assert reachable(state) & TERMINAL, state


def test_there_are_seven_ends_and_nothing_leaves_them() -> None:
    assert set(TERMINAL) == {
        "SUCCEEDED", "FAILED", "TIMED_OUT", "OUT_OF_MEMORY", "CANCELLED", "NODE_FAILED", "UNKNOWN_OUTCOME",
    }  # fmt: skip
    assert all(not TRANSITIONS[state] for state in TERMINAL)


def test_success_is_reached_only_by_collecting() -> None:
    assert [state for state in STATES if "SUCCEEDED" in TRANSITIONS[state].values()] == ["COLLECTING"]


def test_what_may_have_run_never_goes_back_to_the_queue() -> None:
    assert "QUEUED" not in reachable("COLLECTING")
    assert "put_back" not in TRANSITIONS["RUNNING"]
    # What was ended so that it starts again has run, and goes there by a word of its own.
    assert {event for event, state in TRANSITIONS["RUNNING"].items() if state == "QUEUED"} == {"taken_off"}


ENDS = [
    (Exit("exited", code=0), "succeeded", "Finished."),
    (Exit("exited", code=3), "failed", "The program ended with exit code 3."),
    (Exit("signalled", code=-9, signal=9), "failed", "The program was killed by SIGKILL."),
    (Exit("signalled", code=-40, signal=40), "failed", "The program was killed by signal 40."),
    (Exit("signalled", code=153, signal=25), "failed", "A file grew beyond the disk limit."),
    (Exit("cancelled", code=0), "was_cancelled", "Cancelled."),
    (Exit("timed_out", "it ran longer than 60 s"), "timed_out",
     "Ended by the hub, because it ran longer than 60 s."),
    (Exit("memory", "it used more than 5 bytes of memory"), "ran_out_of_memory",
     "Ended by the hub, because it used more than 5 bytes of memory."),
    (Exit("processes", "it had more than 512 processes at once"), "failed",
     "Ended by the hub, because it had more than 512 processes at once."),
    (Exit("disk", "the disk of this machine is nearly full"), "failed",
     "Ended by the hub, because the disk of this machine is nearly full."),
    (Exit("not_started", "nope: No such file or directory"), "failed",
     "The program could not be started: nope: No such file or directory."),
    (Exit("interrupted", "the hub was stopped"), "node_failed",
     "Ended with the machine it ran on: the hub was stopped."),
    (Exit("exited", code=None), "lost", "The job's runner wrote an end that is not known here: exited."),
    (Exit("moonlight"), "lost", "The job's runner wrote an end that is not known here: moonlight."),
]  # fmt: skip


@pytest.mark.parametrize(("end", "event", "sentence"), ENDS, ids=[f"{e[0].reason}-{e[0].code}" for e in ENDS])
def test_every_end_has_its_outcome_and_its_words(end: Exit, event: Event, sentence: str) -> None:
    found = rules.outcome(end)
    assert (found.event, found.sentence) == (event, sentence)
    assert rules.move("COLLECTING", found.event) in TERMINAL


def test_only_exit_code_zero_is_success() -> None:
    for code in range(-64, 256):
        for reason in ("exited", "signalled", "cancelled", "timed_out", "memory", "interrupted"):
            found = rules.outcome(Exit(reason, code=code, signal=abs(code) % 128 or None))
            assert (found.event == "succeeded") == (reason == "exited" and code == 0)


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_sentence(state: State) -> None:
    assert rules.sentence(state).endswith(".")
    assert rules.sentence(state, "Because of rain.") == "Because of rain."


def test_the_sentence_tells_the_place_and_a_pending_cancellation() -> None:
    assert rules.sentence("QUEUED") == "In the queue."
    assert rules.sentence("QUEUED", turn="Next in the queue.") == "Next in the queue."
    assert rules.sentence("RUNNING", cancel_asked=True) == "Being cancelled."
    assert rules.sentence("CANCELLED", cancel_asked=True) == "Cancelled."


@pytest.mark.parametrize("wish", rules.WISHES)
@pytest.mark.parametrize("state", STATES)
def test_a_wish_is_granted_somewhere_or_refused_with_a_reason(wish: rules.Wish, state: State) -> None:
    refused = rules.refusal(wish, state)
    assert (refused is None) == (state in rules.GRANTED[wish])
    if refused is None:
        event = rules.GRANTED[wish][state]
        # Whatever the hub does itself is a move of the table; the rest is asked where the job is.
        assert event in TRANSITIONS[state] if event in EVENTS else state in rules.OCCUPYING or event == "already"
    else:
        assert refused.code and refused.said
        assert (refused.code == "job_is_over") == (state in TERMINAL or state == "COLLECTING")


def test_a_wish_is_told_until_it_was_passed_on_and_gives_way_to_a_cancellation() -> None:
    assert rules.sentence("PENDING", wish="hold", waits_for="In Slurm's queue.") == "Being held back."
    assert rules.sentence("RUNNING", wish="requeue") == "Being taken off its node, to start again."
    assert rules.sentence("RUNNING", wish="hold") == "Running.", "it started before the wish was passed on"
    assert rules.sentence("RUNNING", wish="requeue", cancel_asked=True) == "Being cancelled."
    assert rules.sentence("SUCCEEDED", "Finished.", wish="requeue") == "Finished."
