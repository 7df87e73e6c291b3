"""Many waiting jobs and few places: who goes where, and when, by prices and deadlines together. Pure.

The most urgent is given room first, on the cheapest place that then meets its deadline, and nobody after it may take
that room. It is worked out anew whenever something changed, by time limits only: a job that ends early makes the next
plan better and never worse.

Deadlines are planned for with a margin of some hours. Without one all their slack is spent on waiting for the cheapest
place, and in the last hours there is no room left for those who come late: a replayed class then missed more of them
than first come, first served. With it, it misses fewer and still costs less (tests/rules/test_job_week.py).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

import msgspec

from hub.jobs import economy
from hub.jobs.economy import Offer, Plan, Prices, Wish

MARGIN_SECONDS = 6 * economy.HOUR


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """A place as it stands: cores in all, and (seconds from now, cores) of what running jobs give back at the latest.

    A place that is not `reached` is promised to nobody.
    """

    backend: str
    prices: Prices
    cores: int
    busy: tuple[tuple[float, int], ...] = ()
    reached: bool = True


class Waits(msgspec.Struct, frozen=True):
    """A job that has not started: `order` grows with the time it was queued."""

    job: str
    wish: Wish
    order: int


class Given(msgspec.Struct, frozen=True):
    """What a job was given: its table, whose chosen candidate tells where and when. `in_time` is with the margin."""

    job: str
    plan: Plan


class _Free:
    """How many cores are free from when on: times in order, and as many numbers."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.times = [0.0]
        self.free = [room.cores - sum(cores for _, cores in room.busy)]
        for at, cores in sorted(room.busy):
            self._add(max(at, 0.0), cores)

    def _add(self, at: float, cores: int) -> None:
        """From `at` on, so many more."""
        start = self._cut(at)
        for i in range(start, len(self.free)):
            self.free[i] += cores

    def _cut(self, at: float) -> int:
        i = bisect_right(self.times, at) - 1
        if self.times[i] == at:
            return i
        insort(self.times, at)
        self.free.insert(i + 1, self.free[i])
        return i + 1

    def earliest(self, cores: int, seconds: float) -> float:
        """From when on so many cores stay free for so long; there are as many in all."""
        start = 0
        for i, free in enumerate(self.free):
            if free < cores:
                start = i + 1
            elif i + 1 == len(self.free) or self.times[i + 1] - self.times[start] >= seconds:
                return self.times[start]
        raise AssertionError("in the end all of it is free")

    def take(self, at: float, cores: int, seconds: float) -> None:
        first, last = self._cut(at), self._cut(at + seconds)
        for i in range(first, last):
            self.free[i] -= cores


def assign(waiting: Sequence[Waits], rooms: Sequence[Room], *, margin: float = MARGIN_SECONDS) -> list[Given]:
    """A place and a start for every job that can have one, the most urgent first.

    A job that nobody can tell a start for is given no room. It may start at once when its start is now (0).
    """
    free = {room.backend: _Free(room) for room in rooms}
    given = []
    for each in sorted((_early(one, margin) for one in waiting), key=_urgency):
        made = economy.plan(each.wish, [_offer(each.wish, one) for one in free.values()])
        if (best := made.chosen) is not None and best.starts_in is not None:
            free[best.backend].take(best.starts_in, each.wish.held.cores, each.wish.wall_seconds)
        given.append(Given(each.job, made))
    return given


def _early(one: Waits, margin: float) -> Waits:
    if one.wish.ends_within is None:
        return one
    wish = msgspec.structs.replace(one.wish, ends_within=one.wish.ends_within - margin)
    return msgspec.structs.replace(one, wish=wish)


def _urgency(one: Waits) -> tuple[int, float, int]:
    """By the last moment at which it may start; what is too late for that, in the order it came, behind the others."""
    wish = one.wish
    if wish.ends_within is None:
        return (1, 0.0, one.order)
    if wish.ends_within <= 0:
        return (2, 0.0, one.order)
    return (0, wish.ends_within - wish.wall_seconds, one.order)


def _offer(wish: Wish, free: _Free) -> Offer:
    room, cores = free.room, wish.held.cores
    if cores > room.cores:
        return Offer(backend=room.backend, refusals=(f"it has {room.cores} cores, and {cores} are asked for",))
    starts = free.earliest(cores, wish.wall_seconds) if room.reached else None
    return Offer(backend=room.backend, prices=room.prices, starts_in=starts)
