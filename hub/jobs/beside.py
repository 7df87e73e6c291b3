"""What an agent does beside its turns: each thing once at a time, and again after a pause when it failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

import structlog

from hub.jobs.port import Away, Overtaken

log = structlog.get_logger()

Run = tuple[str, int]
Key = tuple[str, Run]


class Tried(NamedTuple):
    """What became of a piece of work so far: how often in a row it failed, how often that was its own fault."""

    failed: int = 0
    faults: int = 0
    again_at: float = 0.0


class Beside:
    """Named pieces of work about runs, in tasks of their own.

    `pauses` are the seconds after the first failure in a row, the second, and so on. `is_away` is asked of what a piece
    raised whether somebody is out of reach, which is no bug of ours, and `is_fault` whether it says anything of this
    piece of work: an outage, however long, does not. `overtaken` is called when another agent has the lease.
    """

    def __init__(
        self,
        agent: str,
        pauses: Sequence[float],
        *,
        is_away: Callable[[Exception], bool],
        overtaken: Callable[[], None],
        done: Callable[[], None] = lambda: None,
        is_fault: Callable[[Exception], bool] = lambda _: True,
    ) -> None:
        self._agent, self._pauses = agent, pauses
        self._is_away, self._overtaken, self._done, self._is_fault = is_away, overtaken, done, is_fault
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._tries: dict[Key, Tried] = {}

    def start(self, key: Key, work: Callable[..., Coroutine[Any, Any, None]], *given: Any) -> None:
        """Have it done, unless it is being done or failed a moment ago."""
        if (task := self._tasks.get(key)) is not None and not task.done():
            return
        if self._tries.get(key, Tried()).again_at > time.monotonic():
            return
        self._tasks[key] = asyncio.create_task(self._guarded(key, work(*given)), name=f"{key[0]} {key[1][0]}")

    def end(self, key: Key) -> None:
        """Break it off."""
        if (task := self._tasks.pop(key, None)) is not None:
            task.cancel()

    def under_way(self, what: str) -> set[Run]:
        """The runs for which this is being done."""
        return {run for (name, run), task in self._tasks.items() if name == what and not task.done()}

    def failed(self, key: Key) -> int:
        """How often it has failed since it last went well, not counting what was no fault of it."""
        return self._tries.get(key, Tried()).faults

    def forget(self, alive: Iterable[Run]) -> None:
        """Only these runs are still worked at."""
        kept = set(alive)
        self._tries = {key: tried for key, tried in self._tries.items() if key[1] in kept}

    def retry(self) -> None:
        """What failed is worth trying at once."""
        self._tries = {key: tried._replace(again_at=0.0) for key, tried in self._tries.items()}

    async def drain(self, what: str, seconds: float) -> None:
        """Let what was begun of this come to its end, for so long."""
        if begun := [task for key, task in self._tasks.items() if key[0] == what]:
            await asyncio.wait(begun, timeout=seconds)

    async def close(self) -> None:
        """Break all of it off."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _guarded(self, key: Key, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Overtaken:
            self._overtaken()
        except Away as error:  # which says nothing of this piece of work
            before = self._tries.get(key, Tried())
            self._tries[key] = before._replace(again_at=time.monotonic() + self._pauses[0])
            log.info("agent.hub_away", agent=self._agent, doing=key[0], said=str(error)[:300])
        except Exception as error:
            self._again_later(key, fault=self._is_fault(error))
            if self._is_away(error):
                log.info("agent.away", agent=self._agent, doing=key[0], said=str(error)[:300])
            else:
                log.warning("agent.failed", agent=self._agent, doing=key[0], exc_info=True)
        else:
            self._tries.pop(key, None)
            self._done()
        finally:
            if self._tasks.get(key) is asyncio.current_task():
                del self._tasks[key]

    def _again_later(self, key: Key, *, fault: bool) -> None:
        before = self._tries.get(key, Tried())
        failed = before.failed + 1
        pause = self._pauses[min(failed, len(self._pauses)) - 1]
        self._tries[key] = Tried(failed, before.faults + fault, time.monotonic() + pause)
