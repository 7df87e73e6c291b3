"""The life of a job: its states, the one table of its transitions, and what a program's end means.

    WAITING -> QUEUED -> SUBMITTING -> PENDING -> RUNNING -> COLLECTING -> one of the seven ends
                 HELD beside QUEUED

Nothing is guessed: an event that the table does not know for a state is refused, and an end that nobody saw is
`UNKNOWN_OUTCOME`, never a success and never a failure.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

State = Literal[
    "WAITING",
    "QUEUED",
    "HELD",
    "SUBMITTING",
    "PENDING",
    "RUNNING",
    "COLLECTING",
    "SUCCEEDED",
    "FAILED",
    "TIMED_OUT",
    "OUT_OF_MEMORY",
    "CANCELLED",
    "NODE_FAILED",
    "UNKNOWN_OUTCOME",
]
Event = Literal[
    "inputs_arrived",  # every input of a workflow step exists
    "inputs_impossible",  # a producer ended without one of them
    "held",
    "released",
    "placed",  # a backend was chosen and is being asked
    "refused",  # the backend would not take it
    "put_back",  # it is certain that nothing ran: it may be placed again
    "taken_off",  # as was asked, its program was ended and will not run again: the job starts again as its next run
    "accepted",  # the backend has it and will start it
    "started",
    "requeued",  # the scheduler took it off its node and will start it again
    "ended",  # its program ended, outputs are fetched
    "cancelled",  # it was cancelled before anything ran
    "lost",  # it was there and now nobody can account for it
    # what COLLECTING ends with: the outcome found when the program ended
    "succeeded",
    "failed",
    "timed_out",
    "ran_out_of_memory",
    "was_cancelled",
    "node_failed",
]

STATES: tuple[State, ...] = get_args(State)
EVENTS: tuple[Event, ...] = get_args(Event)

TRANSITIONS: dict[State, dict[Event, State]] = {
    "WAITING": {"inputs_arrived": "QUEUED", "inputs_impossible": "FAILED", "cancelled": "CANCELLED"},
    "QUEUED": {"placed": "SUBMITTING", "held": "HELD", "refused": "FAILED", "cancelled": "CANCELLED"},
    "HELD": {"released": "QUEUED", "cancelled": "CANCELLED"},
    "SUBMITTING": {
        "accepted": "PENDING",
        "started": "RUNNING",
        "ended": "COLLECTING",
        "put_back": "QUEUED",
        "refused": "FAILED",
        "cancelled": "CANCELLED",
        "lost": "UNKNOWN_OUTCOME",
    },
    "PENDING": {
        "started": "RUNNING",
        "ended": "COLLECTING",
        "put_back": "QUEUED",
        "taken_off": "QUEUED",
        "cancelled": "CANCELLED",
        "lost": "UNKNOWN_OUTCOME",
    },
    "RUNNING": {"requeued": "PENDING", "taken_off": "QUEUED", "ended": "COLLECTING", "lost": "UNKNOWN_OUTCOME"},
    "COLLECTING": {
        "succeeded": "SUCCEEDED",
        "failed": "FAILED",
        "timed_out": "TIMED_OUT",
        "ran_out_of_memory": "OUT_OF_MEMORY",
        "was_cancelled": "CANCELLED",
        "node_failed": "NODE_FAILED",
        "lost": "UNKNOWN_OUTCOME",
    },
    "SUCCEEDED": {},
    "FAILED": {},
    "TIMED_OUT": {},
    "OUT_OF_MEMORY": {},
    "CANCELLED": {},
    "NODE_FAILED": {},
    "UNKNOWN_OUTCOME": {},
}
TERMINAL: frozenset[State] = frozenset(state for state, moves in TRANSITIONS.items() if not moves)
# A job that takes up one of the places its person and the machine have.
OCCUPYING: frozenset[State] = frozenset({"SUBMITTING", "PENDING", "RUNNING"})


class ImpossibleTransition(Exception):
    """The table knows no such move; whoever tried it has seen something out of date."""


def move(state: State, event: Event) -> State:
    """The state after an event. Raises ImpossibleTransition."""
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise ImpossibleTransition(f"{state} knows no {event}") from None


# What people wish of a job that has not ended, beside its end.
Wish = Literal["hold", "release", "requeue"]
WISHES: tuple[Wish, ...] = get_args(Wish)

# Where a wish is granted in which state: by the hub, whose queue the job is in (the event that then happens), by the
# scheduler that has the job, or nowhere, since it is so already. Where nothing stands, it is refused.
Granted = Literal["held", "released", "there", "already"]
GRANTED: dict[Wish, dict[State, Granted]] = {
    "hold": {"QUEUED": "held", "HELD": "already", "SUBMITTING": "there", "PENDING": "there"},
    "release": {"HELD": "released", "SUBMITTING": "there", "PENDING": "there"},
    "requeue": {"RUNNING": "there"},
}
# What the kinds of clusters can be asked for a job that they have.
ASKED_THERE: dict[str, frozenset[Wish]] = {
    "slurm": frozenset(WISHES),
    "kubernetes": frozenset(WISHES),
}


class Refusal(msgspec.Struct, frozen=True):
    """Why a wish cannot be granted, and what can be done instead; `code` is the error's."""

    code: str
    said: str
    hint: str = ""


def refusal(wish: Wish, state: State) -> Refusal | None:
    """Why this cannot be wished of a job in this state; None where it can."""
    if state in GRANTED[wish]:
        return None
    if state in TERMINAL or state == "COLLECTING":
        return Refusal("job_is_over", "it has ended already", "submit it again to have it run again")
    if wish == "requeue":
        return Refusal("job_not_running", "it has not started, so there is nothing to start again")
    if wish == "release":
        return Refusal("job_not_held", "nobody holds it back")
    if state == "WAITING":
        return Refusal("job_waits", "it waits for other steps of its workflow", "hold the step it waits for")
    return Refusal("job_is_running", "it runs already", "`job requeue` starts it again, `job cancel` ends it")


class Exit(msgspec.Struct, frozen=True):
    """What a runner wrote when its program ended (`exit.json`)."""

    reason: str
    detail: str = ""
    code: int | None = None
    signal: int | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_processes: int = 0
    peak_disk_bytes: int = 0
    log_bytes: int = 0
    log_kept_bytes: int = 0
    sandboxed: bool = False
    tasks: int = 0  # of an array: how many of them wrote down their ends, and what those ran all together
    task_seconds: float = 0.0
    by: str = "the hub"  # who ended it, when somebody did


class Outcome(msgspec.Struct, frozen=True):
    """The event that ends COLLECTING, and the sentence that tells a person why."""

    event: Event
    sentence: str


_ENDED_BY: dict[str, Event] = {
    "cancelled": "was_cancelled",
    "timed_out": "timed_out",
    "memory": "ran_out_of_memory",
    "processes": "failed",
    "disk": "failed",
    "not_started": "failed",
    "failed": "failed",  # a scheduler knows that, and not with which exit code
    "interrupted": "node_failed",
}
_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
}


def outcome(end: Exit) -> Outcome:
    """What a program's end means. A reason nobody knows is an outcome nobody knows."""
    if end.reason == "exited" and end.code == 0:
        return Outcome("succeeded", "Finished.")
    if end.reason == "exited" and end.code is not None:
        return Outcome("failed", f"The program ended with exit code {end.code}.")
    if end.reason == "signalled" and end.signal:
        if end.signal == 25:
            return Outcome("failed", "A file grew beyond the disk limit.")
        return Outcome("failed", f"The program was killed by {_SIGNALS.get(end.signal, f'signal {end.signal}')}.")
    if end.reason in _ENDED_BY:
        return Outcome(_ENDED_BY[end.reason], _because(end))
    return Outcome("lost", f"The job's runner wrote an end that is not known here: {end.reason[:60]}.")


def _because(end: Exit) -> str:
    detail = end.detail.rstrip(".")
    match end.reason:
        case "cancelled":
            return "Cancelled."
        case "not_started":
            return f"The program could not be started: {detail}."
        case "failed":
            return f"Failed: {detail}."
        case "interrupted":
            return f"Ended with the machine it ran on: {detail}."
        case _:
            return f"Ended by {end.by}, because {detail}."


HELD_BACK = "Held back until somebody releases it."
_SENTENCES: dict[State, str] = {
    "WAITING": "Waiting for its inputs.",
    "QUEUED": "In the queue.",
    "HELD": HELD_BACK,
    "SUBMITTING": "Being handed to the machine that runs it.",
    "PENDING": "Accepted; it starts when the machine is ready.",
    "RUNNING": "Running.",
    "COLLECTING": "Ended; its outputs are being fetched.",
    "SUCCEEDED": "Finished.",
    "FAILED": "Failed.",
    "TIMED_OUT": "Ended, because its time ran out.",
    "OUT_OF_MEMORY": "Ended, because it used more memory than it asked for.",
    "CANCELLED": "Cancelled.",
    "NODE_FAILED": "Ended with the machine it ran on.",
    "UNKNOWN_OUTCOME": "Nobody can account for this job: it may have run, wholly or in part.",
}


_WISHED: dict[Wish, str] = {
    "hold": "Being held back.",
    "release": "Being released.",
    "requeue": "Being taken off its node, to start again.",
}


def sentence(
    state: State,
    reason: str = "",
    *,
    turn: str | None = None,
    cancel_asked: bool = False,
    waits_for: str | None = None,
    wish: Wish | None = None,
) -> str:
    """The state in words, for a page, a card and a shell."""
    if wish and not cancel_asked and GRANTED[wish].get(state) == "there":
        return _WISHED[wish]
    if state in OCCUPYING and waits_for and not cancel_asked:
        return waits_for
    if cancel_asked and state in OCCUPYING:
        return "Being cancelled."
    if state == "QUEUED" and turn is not None:
        return turn
    return reason or _SENTENCES[state]
