"""The agent: watches one backend for the hub, carries logs and ends home, and passes on wishes to cancel.

It knows its port and its backend and nothing else, so that it can run where a cluster's credential lives. It keeps no
state that matters: an agent that was killed is replaced by one that looks at the same places.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable

import structlog

from hub.jobs.port import AgentPort, Backend, Overtaken, Report, Watched

log = structlog.get_logger()

BUSY_SECONDS, IDLE_SECONDS = 0.1, 0.3
LEASE_AGAIN_SECONDS = 2.0
AT_ONCE = 8
# A run that was reported started and is nowhere to be seen is not given up at the first look.
PATIENCE_SECONDS = 20.0


class Agent:
    """Turns over everything that is watched, as often as something happens."""

    def __init__(self, port: AgentPort, backend: Backend, name: str) -> None:
        self.port, self.backend, self.name = port, backend, name
        self._epoch: int | None = None
        self._leased_at = -LEASE_AGAIN_SECONDS
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._unseen: dict[tuple[str, int], float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to stop; what is away (the database, a backend) is waited for."""
        while not stop.is_set():
            try:
                busy = await self.turn()
            except Overtaken:
                log.info("agent.overtaken", agent=self.name)
                self._epoch, busy = None, False
            except Exception:
                log.warning("agent.failed", exc_info=True)
                busy = False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BUSY_SECONDS if busy else IDLE_SECONDS)

    async def turn(self) -> bool:
        """One look at everything; says whether anything is running. Raises Overtaken."""
        if time.monotonic() - self._leased_at >= LEASE_AGAIN_SECONDS or self._epoch is None:
            self._epoch = await asyncio.to_thread(self.port.lease, self.name)
            self._leased_at = time.monotonic()
        epoch = self._epoch
        if epoch is None:
            return False  # Standing by, while another agent watches.
        watched = await asyncio.to_thread(self.port.watched, epoch)
        looks = await asyncio.gather(*(self._look(epoch, each) for each in watched))
        reports = [report for report in looks if report is not None]
        if reports:
            await asyncio.to_thread(self.port.report, epoch, reports)
        return bool(watched)

    async def _look(self, epoch: int, job: Watched) -> Report | None:
        async with self._slots:
            try:
                return await asyncio.to_thread(self._look_now, epoch, job)
            except Overtaken:
                raise
            except Exception:  # One that cannot be looked at now must not keep the others.
                log.warning("agent.not_looked", job=job.job, exc_info=True)
                return None

    def _look_now(self, epoch: int, job: Watched) -> Report | None:
        # First what became of it, then its log: after an end has been seen, no more can be written.
        if job.cancel_asked:
            self.backend.cancel(job.job, job.run)
        seen = self.backend.observe(job.job, job.run)
        size = job.log_size
        while piece := self.backend.read_log(job.job, job.run, size):
            size = self.port.append_log(epoch, job.job, size, piece)
        if seen.sight == "nothing" and job.state == "RUNNING":
            first = self._unseen.setdefault((job.job, job.run), time.monotonic())
            if time.monotonic() - first > PATIENCE_SECONDS:
                gone = type(seen)("lost", detail="its folder is gone")
                return Report(job.job, job.run, gone, size)
            return None
        self._unseen.pop((job.job, job.run), None)
        is_news = seen.sight in ("ended", "lost", "never_ran") or (seen.sight == "started" and job.state != "RUNNING")
        return Report(job.job, job.run, seen, size) if is_news else None


def serve(port: AgentPort, backend: Backend, name: str, beside: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run until SIGTERM or SIGINT, and `beside` it whatever else waits in this process."""

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await asyncio.gather(Agent(port, backend, name).run(stop), beside(stop))

    asyncio.run(main())
