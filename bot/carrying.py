"""Commands carried to the hub from an event loop: in bounded threads, in bounded time, once.

A platform waits three seconds. What the hub has not answered by then may or may not have been done, so it is repeated
under the same idempotency keys, in the background, until the hub says which; and then the person is told.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

from bot.chat_hub import ChatHub
from bot.delivery import HEADER, REPEATED, Delivery, Repeated
from bot.hub_client import TOOL, NoAnswer, Unanswered, Unreachable
from bot.problems import UNAVAILABLE, Problem

T = TypeVar("T")

NOT_RECORDED = "Not recorded: the hub does not answer, and nothing was sent to it. Try again in a moment."
THREADS = 10
MOST_WAITING = 400
FIRST_SECONDS = 2.0
LEAST_SECONDS = 0.1
REPEAT_DEADLINE_SECONDS = 30.0
REPEAT_FOR_SECONDS = 900.0
_LONGEST_PAUSE_SECONDS = 20.0


_NOBODY_KNOWS = (502, 504)  # what a proxy says when the hub broke off behind it


class NotSent(Problem):
    """The hub was not asked at all."""


class ErrandHub(ChatHub):
    """The hub for one errand: knows whether something was recorded on the way, and what delivery made it ask."""

    has_acted = False
    delivery: Delivery | None = None
    detail: tuple[str, str] = ("", "")  # the session of the last action, and how much of it may leave

    def act(self, action: str, answer: type[T], *, idempotency_key: str = "", tool: str = TOOL, **params: Any) -> T:
        done = super().act(action, answer, idempotency_key=idempotency_key, tool=tool, **params)
        self.has_acted = True
        return done

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """As ever, and with the first question the delivery is named. Raises Repeated when the hub knows it."""
        delivery = self.delivery
        if delivery is None or not delivery.name:
            return super().send(method, path, **request)
        request["headers"] = {**(request.get("headers") or {}), HEADER: delivery.name}
        try:
            return super().send(method, path, **request)
        except Unreachable:
            raise
        except Unanswered:
            delivery.is_unsure = True
            raise
        except Problem as problem:
            if problem.code == REPEATED:
                delivery.is_repeated = True
                raise Repeated from problem
            raise

    def _heard(self, response: httpx.Response) -> None:
        if self.delivery is not None and HEADER in response.headers:
            self.delivery.is_recorded = True
        session, _, detail = response.headers.get("Collegium-Chat-Detail", "").partition("=")
        self.detail = (session, detail) if detail else self.detail


Work = Callable[[ErrandHub], T]


class Carrier:
    """Threads that speak to the hub on the connections of one client."""

    def __init__(self, hub: ErrandHub, *, threads: int = THREADS, first_seconds: float = FIRST_SECONDS) -> None:
        self.hub = hub
        self.first_seconds = first_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="carry")
        self._waiting = 0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def ask(self, work: Callable[[], T]) -> T:
        """Something the bot asks for itself."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def first(
        self,
        claim: str,
        came_by: str,
        work: Work[T],
        *,
        since: float | None = None,
        seconds: float | None = None,
        delivery: Delivery | None = None,
    ) -> T:
        """What `work` answers within the first seconds after `since`.

        Raises Problem for a refusal, NotSent or Unreachable when nothing was sent, Unanswered when nobody knows, and
        Repeated when the hub knows the delivery that made it ask.
        """
        if self._waiting >= MOST_WAITING:
            raise _busy()
        ends_at = (time.monotonic() if since is None else since) + (seconds or self.first_seconds)
        self._waiting += 1
        try:
            return await self._carry(claim, came_by, work, ends_at, delivery)
        finally:
            self._waiting -= 1

    async def until_known(self, claim: str, came_by: str, work: Work[T], delivery: Delivery | None = None) -> T:
        """What `work` answers when it is repeated until the hub says something. Raises Problem."""
        gives_up_at = time.monotonic() + REPEAT_FOR_SECONDS
        pause = 0.5
        while True:
            try:
                return await self._carry(claim, came_by, work, time.monotonic() + REPEAT_DEADLINE_SECONDS, delivery)
            except (NoAnswer, NotSent):
                if time.monotonic() + pause > gives_up_at:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _carry(self, claim: str, came_by: str, work: Work[T], ends_at: float, delivery: Delivery | None) -> T:
        def carry() -> T:
            left = ends_at - time.monotonic()
            if left < LEAST_SECONDS:
                raise _busy()
            hub = self.hub.as_(claim, came_by, deadline_seconds=left)
            hub.delivery = delivery
            try:
                return work(hub)
            except Unanswered:
                raise
            except Problem as problem:
                if problem.status in _NOBODY_KNOWS or (hub.has_acted and _is_silence(problem)):
                    raise Unanswered(
                        problem.code, problem.detail, hint=problem.hint, exit_code=UNAVAILABLE
                    ) from problem
                raise

        return await asyncio.get_running_loop().run_in_executor(self._pool, carry)


def _is_silence(problem: Problem) -> bool:
    """Whether the hub went away in the middle: what was recorded before must not be called not recorded."""
    return isinstance(problem, Unreachable) or problem.status >= 500


def _busy() -> NotSent:
    return NotSent(
        "bot_busy",
        "Too much is asked at this moment; the hub was not asked.",
        status=503,
        hint="Try again.",
        exit_code=UNAVAILABLE,
    )
