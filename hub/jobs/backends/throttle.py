"""What comes from a cluster is held to its timetable: whoever has read some bytes waits here before the next."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Sequence

from hub.jobs.backends import timetable
from hub.jobs.backends.timetable import Bucket, Period

# A pause is broken off so often, because the hour may change meanwhile.
LOOK_SECONDS = 20.0
# Less than this is not waited for: it is rounding, and what is owed stays in the bucket.
LEAST_SECONDS = 1e-3


def _minute_of_day() -> int:
    now = dt.datetime.now().astimezone()  # the hub's own time zone, which its operator thinks in
    return now.hour * 60 + now.minute


class Throttle:
    """One for a cluster, shared by all who bring something from it."""

    def __init__(
        self,
        periods: Sequence[Period] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        minute: Callable[[], int] = _minute_of_day,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.periods = tuple(periods)
        self._clock, self._minute, self._sleep = clock, minute, sleep
        self._bucket = Bucket()

    async def came(self, size_bytes: int) -> None:
        """So much has come: return when more may."""
        while (rate := timetable.limit(self.periods, self._minute())) is not None:
            if rate == 0:
                await self._sleep(LOOK_SECONDS)
                continue
            self._bucket, wait = self._bucket.take(self._clock(), size_bytes, rate)
            size_bytes = 0
            if wait < LEAST_SECONDS:
                return
            await self._sleep(min(wait, LOOK_SECONDS))
