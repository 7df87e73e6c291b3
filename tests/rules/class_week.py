"""A week of a class in a computer: seeded arrivals before deadlines, three places to run, one of them down for a while.

The same week is lived through twice. FIFO is one queue in the order of submission, whose head takes the first place
with room for it, the cheapest asked first. OURS is `planning.assign`, anew after each event, by estimates which know
only the time limits and never how long a job will really run.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hub.jobs import economy, planning
from hub.jobs.economy import HOUR, Held, Prices, Wish
from hub.jobs.planning import Room, Waits

DAY = 24 * HOUR
Policy = Literal["fifo", "ours"]


@dataclass(frozen=True)
class Task:
    """A job of the week: `runs` is known to nobody before it ended."""

    number: int
    person: str
    at: float
    cores: int
    wall: float
    runs: float
    deadline: float


@dataclass
class Place:
    """Somewhere jobs run, with its own queue."""

    name: str
    cores: int
    price: float
    down: tuple[float, float] = (0.0, 0.0)
    running: dict[int, tuple[Task, float]] = field(default_factory=dict)  # and when it started

    @property
    def free(self) -> int:
        return self.cores - sum(task.cores for task, _ in self.running.values())

    def is_down(self, now: float) -> bool:
        return self.down[0] <= now < self.down[1]


@dataclass
class Told:
    """What a week came to."""

    jobs: int
    cost: float
    missed: int
    waited: float


def places(seed: int) -> list[Place]:
    """A free machine, a cheap cluster that is down for some hours, and a dear one; the cheapest first."""
    chance = random.Random(f"places {seed}")
    down = chance.uniform(1 * DAY, 5 * DAY)
    return [
        Place("local", 8, 0.0),
        Place("campus", 48, 0.01, (down, down + chance.uniform(2, 8) * HOUR)),
        Place("cloud", 64, 0.05),
    ]


def week(seed: int, people: int = 30, each: int = 20) -> list[Task]:
    """Jobs of a class whose hand-ins are on Wednesday and on Friday at six, most of them sent in the last day."""
    chance = random.Random(f"week {seed}")
    hand_ins = [2 * DAY + 18 * HOUR, 4 * DAY + 18 * HOUR]
    tasks = []
    for person in range(people):
        for _ in range(each):
            hand_in = chance.choice(hand_ins)
            if chance.random() < 0.2:  # played around with; a day is soon enough
                at = chance.uniform(0, 6 * DAY)
                deadline = at + DAY
            else:
                at = max(0.0, hand_in - chance.expovariate(1 / (10 * HOUR)) - HOUR / 2)
                deadline = hand_in
            wall = chance.choice([0.25, 0.5, 1, 2, 4]) * HOUR
            cores = chance.choice([1, 1, 2, 4, 8, 16])
            tasks.append((at, f"student{person}", cores, wall, wall * chance.uniform(0.05, 1), deadline))
    return [
        Task(number, person, at, cores, wall, runs, deadline)
        for number, (at, person, cores, wall, runs, deadline) in enumerate(sorted(tasks))
    ]


def replay(seed: int, policy: Policy) -> Told:
    """Live through the week until its last job ended."""
    return _Week(week(seed), places(seed), policy).live()


class _Week:
    def __init__(self, tasks: list[Task], somewhere: list[Place], policy: Policy) -> None:
        self.tasks, self.places, self.policy = tasks, somewhere, policy
        self.now, self.events = 0.0, [(task.at, task.number, "comes", "") for task in tasks]
        for place in somewhere:
            self.events += [(place.down[1], -1, "up", place.name)]
        heapq.heapify(self.events)
        self.line: list[Task] = []
        self.told = Told(len(tasks), 0.0, 0, 0.0)

    def live(self) -> Told:
        step: Callable[[], None] = self._fifo if self.policy == "fifo" else self._ours
        while self.events:
            self.now, number, what, where = heapq.heappop(self.events)
            if what == "comes":
                self.line.append(self.tasks[number])
            elif what == "ends":
                self._ends(next(each for each in self.places if each.name == where), number)
            step()
        assert not self.line
        assert not any(place.running for place in self.places)
        return self.told

    def _start(self, place: Place, task: Task) -> None:
        place.running[task.number] = (task, self.now)
        self.told.waited += (self.now - task.at) / len(self.tasks)
        heapq.heappush(self.events, (self.now + task.runs, task.number, "ends", place.name))

    def _ends(self, place: Place, number: int) -> None:
        task, began = place.running.pop(number)
        self.told.cost += economy.cost(Held(task.cores), self.now - began, Prices(place.price)).money or 0.0
        self.told.missed += self.now > task.deadline

    def _fifo(self) -> None:
        while self.line:
            able = (p for p in self.places if not p.is_down(self.now) and self.line[0].cores <= p.free)
            place = next(able, None)
            if place is None:
                return
            self._start(place, self.line.pop(0))

    def _ours(self) -> None:
        rooms = [
            Room(
                backend=place.name,
                prices=Prices(place.price),
                cores=place.cores,
                busy=tuple((began + task.wall - self.now, task.cores) for task, began in place.running.values()),
                reached=not place.is_down(self.now),
            )
            for place in self.places
        ]
        for given in planning.assign([self._waits(task) for task in self.line], rooms):
            chosen = given.plan.chosen
            assert chosen is not None
            if chosen.starts_in == 0:
                task = self.tasks[int(given.job)]
                self.line.remove(task)
                self._start(next(each for each in self.places if each.name == chosen.backend), task)

    def _waits(self, task: Task) -> Waits:
        wish = Wish(held=Held(task.cores), wall_seconds=task.wall, ends_within=task.deadline - self.now)
        return Waits(str(task.number), wish, task.number)
