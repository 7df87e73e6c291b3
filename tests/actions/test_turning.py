"""An agent's turns go on whatever one of them raises, and one that is woken does not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from hub.jobs.port import Away, Overtaken
from hub.jobs.turning import Turning

MINUTES = 600.0


def test_whatever_a_turn_raises_the_next_one_is_taken_and_only_who_is_overtaken_begins_anew() -> None:
    troubles: Iterator[Exception] = iter((Away("the hub is away"), ValueError("a fault of its own"), Overtaken()))
    anew: list[str] = []

    async def scenario() -> None:
        stop = asyncio.Event()

        async def turn() -> bool:
            turning.wake()  # while it is taken: the next follows at once
            if (trouble := next(troubles, None)) is None:
                stop.set()
                return True
            assert anew == []
            raise trouble

        turning = Turning("agent-1", turn, lambda: anew.append("overtaken"), MINUTES)
        async with asyncio.timeout(20):
            await turning.run(stop)

    asyncio.run(scenario())
    assert anew == ["overtaken"]


def test_who_is_busy_is_woken_out_of_its_pause_and_told_to_stop_in_it() -> None:
    async def scenario() -> int:
        stop, taken = asyncio.Event(), asyncio.Semaphore(0)
        turns = 0

        async def turn() -> bool:
            nonlocal turns
            turns += 1
            taken.release()
            return True

        turning = Turning("agent-1", turn, lambda: None, MINUTES)
        async with asyncio.timeout(20):
            running = asyncio.create_task(turning.run(stop))
            await taken.acquire()
            turning.wake()
            await taken.acquire()
            stop.set()
            await running
        return turns

    assert asyncio.run(scenario()) == 2
