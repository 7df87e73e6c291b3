"""Whether a waiting job keeps the place that was planned for it: what it was promised, and what follows from a slip.

Pure; hub/jobs/moving.py does what is decided here, and a replayed week of a class is lived by it
(tests/rules/test_job_week.py).

Every job is sent to its place when it is submitted, and moves only when its promise slips. The hub does not keep jobs
back to plan all of them together. A cluster's queue holds jobs of people that the hub knows nothing of, and who stands
in it first is served first: a job that waits here for the best moment loses its place there, and what it was planned
by would be a guess.
"""

from __future__ import annotations

import msgspec

from hub.jobs.economy import Offer, Plan, is_sure

# An estimate has slipped when the end moves by more than this, and by this share of what was left to it.
SLIP_SECONDS, SLIP_SHARE = 600, 0.2
MOST_MOVES = 3
# So long after a thought that left it where it is, its place is thought over again.
AGAIN_SECONDS = 1800.0
# A scheduler's word that comes at every poll leads to no more thoughts than this.
SOONEST_SECONDS = 120.0
ON_TIME = "It ends about when it was promised."


class Promise(msgspec.Struct, frozen=True):
    """What was told about a job when it was placed: where, and when it ends. `moves` counts its earlier places."""

    backend: str
    ends_in: float
    moves: int = 0


class Again(msgspec.Struct, frozen=True):
    """Whether a waiting job is to go elsewhere: `to` is the backend, None when it stays; and why."""

    to: str | None
    why: str


class Word(msgspec.Struct, frozen=True):
    """What follows from a scheduler's word: `ends_in` is what is promised by now, and whether to think it over."""

    ends_in: float
    thinks: bool


def slipped(promise: Promise, ends_in: float | None) -> bool:
    """Whether a job ends so much later than was promised that its place is to be thought over."""
    if ends_in is None:
        return True
    return ends_in - promise.ends_in > max(SLIP_SECONDS, SLIP_SHARE * max(0.0, promise.ends_in))


def first_thought(made: Plan) -> float | None:
    """When a job that was placed by this table is thought over, should it still wait; None where it can go nowhere."""
    chosen = made.chosen
    if chosen is None or sum(each.possible for each in made.candidates) < 2:
        return None
    return (chosen.starts_in or 0.0) + SLIP_SECONDS


def heard(promised: float | None, starts_in: float, runs: float, thought_ago: float | None) -> Word:
    """A scheduler says when a waiting job starts; `promised` is its end in seconds from now, None: nobody could tell.

    The first that anybody could tell is what is promised. `thought_ago` is how long it was last thought over, if ever.
    """
    ends_in = starts_in + runs
    if promised is None:
        return Word(ends_in, thinks=False)
    late = slipped(Promise("", promised), ends_in)
    return Word(promised, thinks=late and (thought_ago is None or thought_ago > SOONEST_SECONDS))


def as_it_waits(offer: Offer, starts_in: float | None) -> Offer:
    """The place where a job waits is judged by what its scheduler says of this very job, whatever it says of others."""
    return msgspec.structs.replace(offer, starts_in=starts_in, refusals=(), reached=True)


def reconsider(promise: Promise, table: Plan) -> Again:
    """Whether a job that still waits goes elsewhere, now that its estimate may have slipped.

    It moves only for a gain: to where its deadline is surely met, or where none is sure any more, to an end that is
    earlier by more than a slip. So two places with nearly equal queues never pass a job to and fro, and after
    MOST_MOVES it stays. `promise.ends_in` and the table are counted from now.
    """
    here = next((each for each in table.candidates if each.backend == promise.backend), None)
    best = table.chosen
    if here is None or not here.possible:
        if best is None or best.backend == promise.backend:
            return Again(None, "It cannot go on waiting where it is, and there is no other place for it.")
        return Again(best.backend, f"{promise.backend} cannot take it any more.")
    late = here.in_time is False
    if not late and not slipped(promise, here.ends_in):
        return Again(None, ON_TIME)
    if promise.moves >= MOST_MOVES:
        return Again(None, f"It was moved {promise.moves} times already and stays where it is.")
    if best is None or best.backend == here.backend:
        return Again(None, "It ends later than was promised, and no other place suits it better.")
    if late and best.in_time:
        return Again(best.backend, f"It would miss its deadline on {here.backend}, and meets it on {best.backend}.")
    if not is_sure(here, table.within) and is_sure(best, table.within):
        said = f"It would have too little time to spare on {here.backend}"
        return Again(best.backend, f"{said}, and meets its deadline on {best.backend}.")
    if best.ends_in is not None and (here.ends_in is None or slipped(Promise("", best.ends_in), here.ends_in)):
        return Again(best.backend, f"It ends earlier on {best.backend}, now that {here.backend} keeps it waiting.")
    return Again(None, "It ends later than was promised; elsewhere it would gain too little.")
