"""A cluster's own scheduler in a computer: first come, first served, with backfill by time limits, as Slurm's does it.

It knows nothing of the hub, nor of deadlines. Who asks is told when a job would start behind all that wait by now.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """A job as a scheduler knows it."""

    name: str
    cores: int
    wall: float


class Free:
    """How many cores are free from when on: times in order, and as many numbers."""

    def __init__(self, cores: int, busy: Iterable[tuple[float, int]], now: float) -> None:
        self.times, self.free = [now], [cores]
        for until, many in busy:
            self.take(now, many, max(until - now, 0.0))

    def _cut(self, at: float) -> int:
        i = bisect_right(self.times, at) - 1
        if self.times[i] == at:
            return i
        insort(self.times, at)
        self.free.insert(i + 1, self.free[i])
        return i + 1

    def earliest(self, cores: int, seconds: float) -> float:
        """From when on so many cores stay free for so long; there are as many in all."""
        start = 0
        for i, free in enumerate(self.free):
            if free < cores:
                start = i + 1
            elif i + 1 == len(self.free) or self.times[i + 1] - self.times[start] >= seconds:
                return self.times[start]
        raise AssertionError("in the end all of it is free")

    def take(self, at: float, cores: int, seconds: float) -> None:
        first, last = self._cut(at), self._cut(at + seconds)
        for i in range(first, last):
            self.free[i] -= cores


@dataclass
class Queue:
    """What waits and what runs on a cluster of so many cores. While it is `down` nothing starts, and nobody is told."""

    cores: int
    down: bool = False
    waiting: dict[str, Entry] = field(default_factory=dict)
    running: dict[str, tuple[Entry, float]] = field(default_factory=dict)  # and until when at most
    starts: dict[str, float] = field(default_factory=dict)  # when what waits is expected to start

    def turn(self, now: float) -> list[Entry]:
        """Plan what waits, in the order it came, and start what can start now."""
        self.free = Free(self.cores, ((until, each.cores) for each, until in self.running.values()), now)
        self.starts = {}
        started = []
        for each in self.waiting.values():
            at = self.free.earliest(each.cores, each.wall)
            self.free.take(at, each.cores, each.wall)
            if at > now or self.down:
                self.starts[each.name] = at
                continue
            self.running[each.name] = (each, now + each.wall)
            started.append(each)
        for each in started:
            del self.waiting[each.name]
        return started

    def would_start(self, cores: int, wall: float, now: float) -> float:
        """When one more would start, behind all that wait."""
        return max(now, self.free.earliest(cores, wall))
