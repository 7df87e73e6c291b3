"""What many ask for one at a time, done for all of those who wait in one go."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Together(Generic[T, R]):
    """Calls that wait while others are being done are done together next; nobody waits for company.

    `work` answers each of what it is given in its place, with an exception for whoever is to be told one; what it
    raises itself is told to all. By the function that it is given it may answer somebody before the others. `fits`
    says how many of those who wait go at once, at least one, and `at_once` how often `work` may be under way, which may
    change: `look` begins what may be begun by now.
    """

    def __init__(
        self,
        work: Callable[[list[T], Callable[[int, R], None]], Awaitable[Sequence[R | Exception]]],
        *,
        fits: Callable[[Sequence[T]], int] = len,
        at_once: int | Callable[[], int] = 1,
    ) -> None:
        self._work, self._fits = work, fits
        self._at_once = at_once if callable(at_once) else lambda: at_once
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def __call__(self, one: T) -> R:
        told: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, told))
        self.look()
        return await told

    def look(self) -> None:
        """Begin with those who wait, if more may be under way."""
        if self._waiting and len(self._tasks) < self._at_once():
            task = asyncio.create_task(self._go_on(), name="together")
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._closing:
            self.look()

    async def close(self) -> None:
        """Break off what is under way; whoever still waits is told so."""
        self._closing = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft()[1].cancel()

    async def _go_on(self) -> None:
        await asyncio.sleep(0)  # who calls in the same breath comes along
        # Of too many some end; whoever ends looks whether the others were enough.
        while len(self._tasks) <= max(1, self._at_once()) and (group := self._next()):
            try:
                answers = await self._work([one for one, _ in group], functools.partial(_tell, group))
            except asyncio.CancelledError:
                for _, told in group:
                    told.cancel()
                raise
            except Exception as error:
                answers = [error] * len(group)
            for (_, told), answer in zip(group, answers, strict=True):
                if told.done():
                    continue  # who asked was answered before, or broken off meanwhile
                if isinstance(answer, Exception):
                    told.set_exception(answer)
                else:
                    told.set_result(answer)

    def _next(self) -> list[tuple[T, asyncio.Future[R]]]:
        # Who was broken off while waiting wants nothing any more.
        self._waiting = deque(each for each in self._waiting if not each[1].done())
        count = self._fits([one for one, _ in self._waiting]) if self._waiting else 0
        return [self._waiting.popleft() for _ in range(min(max(1, count), len(self._waiting)))]


def _tell(group: Sequence[tuple[T, asyncio.Future[R]]], at: int, answer: R) -> None:
    told = group[at][1]
    if not told.done():
        told.set_result(answer)
