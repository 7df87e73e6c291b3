"""Questions that come while one is under way, asked together as the next one.

One at a time costs nothing when little happens, and little when much does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class Together(Generic[Q, A]):
    """`ask` one thing; `many` is asked for what has gathered, at most `most` at once, and answers in order."""

    def __init__(self, many: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int) -> None:
        self._many, self._most = many, most
        self._waiting: list[tuple[Q, asyncio.Future[A]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer to this question. Raises what `many` raises, to everybody who was asked for with it."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return await answer

    async def _ask(self) -> None:
        now: list[tuple[Q, asyncio.Future[A]]] = []
        try:
            while self._waiting:
                now, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    answers = await self._many([question for question, _ in now])
                except asyncio.CancelledError:
                    raise
                except BaseException as error:
                    for _, future in now:
                        if not future.done():
                            future.set_exception(error)
                else:
                    for (_, future), answer in zip(now, answers, strict=True):
                        if not future.done():
                            future.set_result(answer)
        finally:
            self._asking = None
            for _, future in (*now, *self._waiting):  # left only where this itself was cancelled
                future.cancel()
            self._waiting = []
