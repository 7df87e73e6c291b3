"""How an agent of a cluster takes its turns: one after the other, sooner when it is woken, until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from hub.jobs.port import Away, Overtaken

log = structlog.get_logger()

IDLE_SECONDS = 1.0


class Turning:
    """Takes turns for the agent `name`; whatever a turn raises, the next one is taken."""

    def __init__(
        self, name: str, turn: Callable[[], Awaitable[bool]], overtaken: Callable[[], None],
        turn_seconds: float, rests: Callable[[], float] = lambda: 0.0,
    ) -> None:  # fmt: skip
        self._name, self._turn, self._overtaken = name, turn, overtaken
        self._turn_seconds = turn_seconds  # from one to the next, while there is anything to do
        self._rests = rests  # for so many seconds after a turn nobody wakes it
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Take the next turn now."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is away (the database, the hub, the cluster) is waited for."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                busy = await self._one()
                await asyncio.wait({stopping}, timeout=self._rests())
                woken = asyncio.create_task(self._wake.wait())
                await asyncio.wait(
                    {stopping, woken},
                    timeout=self._turn_seconds if busy else IDLE_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                woken.cancel()
        finally:
            stopping.cancel()

    async def _one(self) -> bool:
        try:
            return await self._turn()
        except Overtaken:
            log.info("agent.overtaken", agent=self._name)
            self._overtaken()
        except Away as error:
            log.info("agent.hub_away", agent=self._name, said=str(error)[:300])
        except Exception:
            log.warning("agent.failed", agent=self._name, exc_info=True)
        return False
