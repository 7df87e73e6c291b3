"""Who waits while others are served is served together next, each with an answer for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from hub.jobs.together import Together


class Work:
    """Answers with what it was given, once it may; keeps what it was given together."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.may = asyncio.Event()

    async def __call__(self, group: list[int], tell: Callable[[int, int], None]) -> Sequence[int | Exception]:
        self.groups.append(group)
        await self.may.wait()
        return [KeyError(one) if one < 0 else one * 10 for one in group]


async def begun(*calls: asyncio.Task[int]) -> None:
    """Everything that can go on has."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_those_who_come_while_others_are_served_go_together_and_as_many_as_fit() -> None:
    async def story() -> None:
        work = Work()
        together: Together[int, int] = Together(work, fits=lambda waiting: min(3, len(waiting)))
        first = asyncio.create_task(together(1))
        await begun(first)
        rest = [asyncio.create_task(together(n)) for n in range(2, 7)]
        await begun(*rest)
        assert work.groups == [[1]]
        work.may.set()
        assert await asyncio.gather(first, *rest) == [10, 20, 30, 40, 50, 60]
        assert work.groups == [[1], [2, 3, 4], [5, 6]]

    asyncio.run(story())


def test_one_that_fails_is_told_so_alone_and_what_fails_as_a_whole_is_told_to_all() -> None:
    async def story() -> None:
        work = Work()
        work.may.set()
        together: Together[int, int] = Together(work)
        good, bad = await asyncio.gather(together(1), together(-1), return_exceptions=True)
        assert good == 10 and isinstance(bad, KeyError)

        async def broken(group: list[int], tell: object) -> Sequence[int]:
            raise OSError("away")

        away: Together[int, int] = Together(broken)
        assert [type(each) for each in await asyncio.gather(away(1), away(2), return_exceptions=True)] == [OSError] * 2

    asyncio.run(story())


def test_one_is_answered_before_the_others_and_not_again() -> None:
    async def story() -> None:
        told = asyncio.Event()

        async def work(group: list[int], tell: Callable[[int, int], None]) -> Sequence[int]:
            tell(1, 7)
            await told.wait()
            return [0] * len(group)

        together: Together[int, int] = Together(work)
        first, second = asyncio.create_task(together(1)), asyncio.create_task(together(2))
        assert await second == 7 and not first.done()
        told.set()
        assert await first == 0

    asyncio.run(story())


def test_who_is_broken_off_while_waiting_is_not_served_and_the_others_are() -> None:
    async def story() -> None:
        work = Work()
        together: Together[int, int] = Together(work)
        first = asyncio.create_task(together(1))
        await begun(first)
        second, third = asyncio.create_task(together(2)), asyncio.create_task(together(3))
        await begun(second, third)
        second.cancel()
        await begun(second)
        work.may.set()
        assert (await first, await third) == (10, 30)
        assert work.groups == [[1], [3]]

    asyncio.run(story())


def test_closing_ends_what_is_under_way_and_tells_who_waits() -> None:
    async def story() -> None:
        work = Work()
        together: Together[int, int] = Together(work)
        calls = [asyncio.create_task(together(n)) for n in (1, 2)]
        await begun(*calls)
        calls.append(asyncio.create_task(together(3)))
        await begun(*calls)
        await together.close()
        for call in calls:
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(story())


def test_more_may_be_under_way_later_and_who_waits_begins_when_somebody_looks() -> None:
    async def story() -> None:
        work, may = Work(), [1]
        together: Together[int, int] = Together(work, fits=lambda waiting: 1, at_once=lambda: may[0])
        calls = [asyncio.create_task(together(n)) for n in (1, 2, 3)]
        await begun(*calls)
        assert work.groups == [[1]]
        may[0] = 2
        together.look()
        await begun(*calls)
        assert work.groups == [[1], [2]]
        may[0] = 1  # of two that are under way one ends then, and the other serves whoever is left
        work.may.set()
        assert await asyncio.gather(*calls) == [10, 20, 30]
        assert work.groups == [[1], [2], [3]]

    asyncio.run(story())
