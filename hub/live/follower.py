"""Follows the ledger, so that a right taken away anywhere is taken away here: woken by the bus, asking regardless."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from hub.live.record import Event, OutOfReachError, Record, Refusal
from hub.live.rules import LEDGER_GATHER_SECONDS, LEDGER_POLL_SECONDS, LEDGER_SILENCE_SECONDS

log = structlog.get_logger()
MANY = 100  # Whoever reads so many lines at once is behind, and goes on.


class Follower:
    """One reader of the ledger for the whole node. A batch that could not be applied is read again."""

    def __init__(
        self, record: Record, apply: Callable[[list[Event]], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._record = record
        self._apply = apply
        self._now = now
        self._woken = asyncio.Event()
        self._failing = False
        self.at: int | None = None
        self.read_at = float("-inf")

    def wake(self) -> None:
        """New lines were numbered."""
        self._woken.set()

    def silent_seconds(self) -> float:
        """How long the ledger has not been read and applied."""
        return self._now() - self.read_at

    @property
    def current(self) -> bool:
        """Whether what we deliver is within what members may see now."""
        return self.silent_seconds() <= LEDGER_SILENCE_SECONDS

    async def run(self) -> None:
        """Read for ever."""
        while True:
            lines = await self._read()
            if lines:
                if lines < MANY:
                    # What follows closely is read together: a question costs web more than the lines in its answer.
                    await asyncio.sleep(LEDGER_GATHER_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEDGER_POLL_SECONDS):
                    await self._woken.wait()
            self._woken.clear()

    async def _read(self) -> int:
        asked_at = self._now()
        try:
            async with asyncio.timeout(LEDGER_SILENCE_SECONDS * 2):
                if self.at is None:
                    events, following = list[Event](), await self._record.head()
                else:
                    events, following = await self._record.events(self.at)
                if events:
                    await self._apply(events)
        except (Refusal, OutOfReachError, TimeoutError) as error:
            if not self._failing and self.at is not None:
                log.warning("live.ledger_out_of_reach", error=repr(error))
            self._failing = True
            return 0
        if self._failing:
            log.info("live.ledger_in_reach", at=following)
        self._failing = False
        self.at = following
        # What web told us was true when we asked, not when its answer came.
        self.read_at = asked_at
        return len(events)
