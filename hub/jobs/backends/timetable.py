"""How fast results may come from a cluster, by the hour: pure, so that a day can be tried in a moment.

A timetable has periods of the hub's own day, `08:00` to `18:00` or over midnight, each with a limit; outside them
there is none, and where two overlap the lower one holds. A bucket turns a limit into pauses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
DAY_MINUTES = 24 * 60
# What may come at once after a pause, in seconds of the limit.
BURST_SECONDS = 1.0


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"begin": "from", "end": "to"}):
    """From one time of day to another, at most so many megabits a second; none at all with 0."""

    begin: str
    end: str
    mbit: Annotated[float, Meta(ge=0, le=1e6)]


class Bucket(msgspec.Struct, frozen=True):
    """How much may come now (bytes; below zero: was taken in advance), as of a moment of the caller's clock."""

    left: float = 0.0
    at: float = float("-inf")

    def take(self, now: float, size_bytes: int, bytes_per_second: float) -> tuple[Bucket, float]:
        """After taking so much: the bucket, and how long to wait before the next."""
        burst = bytes_per_second * BURST_SECONDS
        filled = min(burst, self.left + (now - self.at) * bytes_per_second)
        left = filled - size_bytes
        return Bucket(left, now), max(0.0, -left / bytes_per_second)


def fault(periods: Sequence[Period]) -> str:
    """What is wrong with a timetable, in words; empty when nothing is."""
    for each in periods:
        for said in (each.begin, each.end):
            if not _TIME.fullmatch(said):
                return f"{said[:20]!r} is no time of day: write 08:00"
        if each.begin == each.end:
            return f"a period from {each.begin} to {each.end} has no length; for the whole day write two"
    if periods and all(_limit(periods, minute) == 0 for minute in range(DAY_MINUTES)):
        return "with no limit above 0 at any time of the day nothing would ever come back"
    return ""


def limit(periods: Sequence[Period], minute: int) -> float | None:
    """Bytes a second that may come at this minute of the day; None: no limit."""
    found = _limit(periods, minute)
    return None if found is None else found * 1e6 / 8


def _limit(periods: Sequence[Period], minute: int) -> float | None:
    return min((each.mbit for each in periods if _holds(each, minute)), default=None)


def _holds(period: Period, minute: int) -> bool:
    begin, end = _minute(period.begin), _minute(period.end)
    return begin <= minute < end if begin < end else minute >= begin or minute < end


def _minute(said: str) -> int:
    return int(said[:2]) * 60 + int(said[3:])
