"""Results come as fast as a cluster's timetable allows at that hour, on the average and never much more at once."""

from __future__ import annotations

import asyncio

import pytest

from hub.jobs.backends import timetable
from hub.jobs.backends.throttle import LOOK_SECONDS, Throttle
from hub.jobs.backends.timetable import Bucket, Period

OFFICE, NIGHT = Period("08:00", "18:00", 50), Period("22:00", "06:00", 0)


def at(hour: int, minute: int = 0) -> int:
    return hour * 60 + minute


@pytest.mark.parametrize(
    ("minute", "allowed"),
    [
        (at(7, 59), None),
        (at(8), 50e6 / 8),
        (at(17, 59), 50e6 / 8),
        (at(18), None),
        (at(22), 0),
        (at(0), 0),
        (at(5, 59), 0),
        (at(6), None),
    ],
)
def test_the_hour_decides_also_over_midnight(minute: int, allowed: float | None) -> None:
    assert timetable.limit([OFFICE, NIGHT], minute) == allowed


def test_where_periods_overlap_the_lower_limit_holds() -> None:
    assert timetable.limit([OFFICE, Period("12:00", "13:00", 8)], at(12, 30)) == 1e6
    assert timetable.limit([], at(12)) is None


@pytest.mark.parametrize(
    ("periods", "said"),
    [
        ([Period("8:00", "18:00", 1)], "no time of day"),
        ([Period("08:00", "24:00", 1)], "no time of day"),
        ([Period("08:00", "08:00", 1)], "no length"),
        ([Period("00:00", "12:00", 0), Period("12:00", "00:00", 0)], "nothing would ever come back"),
        ([OFFICE, NIGHT], ""),
        ([], ""),
    ],
)
def test_a_timetable_that_cannot_be_meant_is_told(periods: list[Period], said: str) -> None:
    assert said in timetable.fault(periods) and bool(said) == bool(timetable.fault(periods))


def test_a_bucket_lets_through_its_rate_whatever_the_pieces() -> None:
    for piece in (20_000, 262_144, 5_000_000):
        bucket, now, came = Bucket(), 0.0, 0
        while now < 100:
            bucket, wait = bucket.take(now, piece, 1e6)
            came, now = came + piece, now + wait
        assert 0.99e8 <= came <= 1.01e8 + piece


class Day:
    """A clock and a sleep that moves it."""

    def __init__(self, minute: int) -> None:
        self.seconds, self.slept = minute * 60.0, 0.0

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        self.slept += seconds

    def throttle(self, *periods: Period) -> Throttle:
        return Throttle(
            periods, clock=lambda: self.seconds, minute=lambda: int(self.seconds // 60) % 1440, sleep=self.sleep
        )


async def bring(throttle: Throttle, size: int, piece: int = 1 << 18) -> None:
    for _ in range(size // piece):
        await throttle.came(piece)


def test_what_comes_in_office_hours_takes_its_time_and_by_night_waits_for_the_morning() -> None:
    day = Day(at(9))
    asyncio.run(bring(day.throttle(OFFICE), 100 << 20))
    assert day.slept == pytest.approx((100 << 20) * 8 / 50e6, rel=0.1)
    free = Day(at(19))
    asyncio.run(bring(free.throttle(OFFICE), 1 << 30))
    assert free.slept == 0
    night = Day(at(23))
    asyncio.run(bring(night.throttle(NIGHT), 1 << 20))
    assert 7 * 3600 <= night.slept <= 7 * 3600 + LOOK_SECONDS


def test_a_limit_that_ends_meanwhile_ends_the_pause() -> None:
    day = Day(at(17, 59))
    asyncio.run(bring(day.throttle(Period("08:00", "18:00", 0.001)), 10 << 20))
    assert day.slept <= 60 + LOOK_SECONDS
