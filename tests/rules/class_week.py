"""A week of a class in a computer: seeded arrivals before deadlines, three places to run, one of them down for a while.

The same week is lived through twice. FIFO is one queue in the order of submission, whose head takes the first place
with room for it now, the cheapest asked first. OURS is the hub: what decides here are the functions that decide there.
A job's place is chosen by `plans.plan`; it is thought over when `planning` says so, and moves if `planning` says so;
on the hub's own machine `placement` says who is next and when a job would start. Nobody knows how long a job will run
before it ended: all go by time limits, and a scheduler's answer counts for as long as it does in the hub.

The places are a machine of the hub's own, a campus cluster where others' jobs run too, and a dear cloud.
"""

from __future__ import annotations

import abc
import heapq
import random
from dataclasses import dataclass
from typing import Literal

from hub.core.limits import JOB_MEMORY_BYTES, JOB_WALLTIME_SECONDS
from hub.core.settings import Settings
from hub.jobs import economy, estimates, placement, planning, plans, shares
from hub.jobs.asked import Asked
from hub.jobs.clusters.rules import Target
from hub.jobs.economy import HOUR, Held, Offer, Plan, Prices
from hub.jobs.offers import Place
from hub.jobs.placement import Line, Machine, Waiting
from hub.jobs.planning import MOST_MOVES, Promise
from hub.jobs.plans import Terms
from hub.jobs.requests import Environment, Resources
from tests.rules.cluster_queue import Entry, Queue

__all__ = ["MOST_MOVES", "Fifo", "Ours", "Task", "Told", "replay", "week"]

DAY = 24 * HOUR
LOCAL = "local"
MACHINE = Machine(8, JOB_MEMORY_BYTES, JOB_WALLTIME_SECONDS)
PRICES = {LOCAL: Prices(0.0), "campus": Prices(0.01), "cloud": Prices(0.05)}
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

    @property
    def refused_here(self) -> bool:
        """Whether the hub's own machine is too small for it."""
        return bool(placement.refusals(Resources(cpus_per_node=self.cores), Environment(), MACHINE))


@dataclass
class Told:
    """What a week came to. `lost` of the missed deadlines nobody could have met: those jobs came too late."""

    jobs: int
    cost: float
    missed: int
    waited: float
    lost: int = 0
    moved: int = 0


@dataclass
class Kept:
    """What the hub keeps of a job that it placed, as `job_plans` does; times are moments."""

    where: str
    ends_at: float | None
    starts_at: float | None = None
    thought_at: float | None = None
    moves: int = 0
    leaves_for: tuple[str, float | None] | None = None


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


def others(seed: int, many: int = 150) -> list[tuple[float, Entry, float]]:
    """Jobs of people on the campus who know nothing of the class: (when, what, how long it runs)."""
    chance = random.Random(f"others {seed}")
    found = []
    for number in range(many):
        wall = chance.choice([1, 2, 4, 8]) * HOUR
        entry = Entry(f"other{number}", chance.choice([2, 4, 8, 16]), wall)
        found.append((chance.uniform(0, 6 * DAY), entry, wall * chance.uniform(0.2, 1)))
    return found


def replay(seed: int, policy: Policy) -> Told:
    """Live through the week until its last job ended."""
    return (Fifo if policy == "fifo" else Ours)(seed).live()


class _Week(abc.ABC):
    """Time, places and what happens in them; whoever places jobs has `comes` and `settle` of their own."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.tasks, self.others = week(seed), others(seed)
        chance = random.Random(f"places {seed}")
        down = chance.uniform(1 * DAY, 5 * DAY)
        self.queues = {"campus": Queue(48), "cloud": Queue(64)}
        self.here: dict[int, float] = {}  # what runs on the hub's own machine, and since when
        self.began: dict[int, float] = {}
        self.starts = [0] * len(self.tasks)
        self.changed = set(self.queues)
        self.events: list[tuple[float, int, str, int, str]] = []
        self.told = Told(
            len(self.tasks), 0.0, 0, 0.0, lost=sum(each.at + each.runs > each.deadline for each in self.tasks)
        )
        for task in self.tasks:
            self.at(task.at, "comes", task.number)
        for number, (at, _, _) in enumerate(self.others):
            self.at(at, "other", number)
        self.at(down, "down", 0, "campus")
        self.at(down + chance.uniform(2, 8) * HOUR, "up", 0, "campus")

    def at(self, moment: float, what: str, number: int = 0, where: str = "") -> None:
        heapq.heappush(self.events, (moment, len(self.events), what, number, where))

    def live(self) -> Told:
        while self.events:
            self.now, _, what, number, where = heapq.heappop(self.events)
            self.happens(what, number, where)
            self.settle()
        assert not any(queue.waiting or queue.running for queue in self.queues.values())
        assert not self.here
        return self.told

    def happens(self, what: str, number: int, where: str) -> None:
        if what == "comes":
            self.comes(self.tasks[number])
        elif what == "other":
            entry = self.others[number][1]
            self.queues["campus"].waiting[entry.name] = entry
            self.changed.add("campus")
        elif what == "other ends":
            del self.queues["campus"].running[self.others[number][1].name]
            self.changed.add("campus")
        elif what in ("down", "up"):
            self.queues[where].down = what == "down"
            self.changed.add(where)
        elif what == "ends":
            self.ends(where, self.tasks[number])

    @abc.abstractmethod
    def comes(self, task: Task) -> None:
        """A job is submitted."""

    @abc.abstractmethod
    def settle(self) -> None:
        """Something happened: who can start does."""

    def start(self, where: str, task: Task) -> None:
        if where == LOCAL:
            self.here[task.number] = self.now
        self.began[task.number] = self.now
        self.starts[task.number] += 1
        self.told.waited += (self.now - task.at) / len(self.tasks)
        self.at(self.now + task.runs, "ends", task.number, where)

    def ends(self, where: str, task: Task) -> None:
        ran = self.now - self.began[task.number]
        self.told.cost += economy.cost(Held(task.cores), ran, PRICES[where]).money or 0.0
        self.told.missed += self.now > task.deadline
        if where == LOCAL:
            del self.here[task.number]
        else:
            del self.queues[where].running[str(task.number)]
            self.changed.add(where)

    def turn(self) -> list[str]:
        """Let the schedulers look at what changed; says where something did."""
        told = sorted(self.changed)
        for name in told:
            for entry in self.queues[name].turn(self.now):
                if entry.name.startswith("other"):
                    number = int(entry.name.removeprefix("other"))
                    self.at(self.now + self.others[number][2], "other ends", number)
                else:
                    self.start(name, self.tasks[int(entry.name)])
        self.changed.clear()
        return told


class Fifo(_Week):
    """One queue; its head takes the first place that has room for it now."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.line: list[Task] = []

    def comes(self, task: Task) -> None:
        self.line.append(task)

    def settle(self) -> None:
        self.turn()
        while self.line and (where := self._room_for(self.line[0])):
            task = self.line.pop(0)
            if where == LOCAL:
                self.start(LOCAL, task)
            else:
                self.queues[where].waiting[str(task.number)] = Entry(str(task.number), task.cores, task.wall)
                self.changed.add(where)
                self.turn()

    def _room_for(self, task: Task) -> str:
        if not task.refused_here and len(self.here) < Settings().running_jobs:
            return LOCAL
        for name, queue in self.queues.items():
            if not queue.down and queue.would_start(task.cores, task.wall, self.now) == self.now:
                return name
        return ""


class Ours(_Week):
    """The hub: what it decides by is its own, what it knows is what schedulers say."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.kept: dict[int, Kept] = {}
        self.leaving: set[int] = set()
        self.line: dict[int, Task] = {}  # what waits on the hub's own machine
        self.used: dict[str, list[tuple[float, float]]] = {}
        self.last: dict[str, float] = {}
        self.answers: dict[tuple[str, str, int, float], tuple[float, float]] = {}

    def happens(self, what: str, number: int, where: str) -> None:
        if what == "think":
            self.think(self.tasks[number])
        super().happens(what, number, where)

    # --- what the hub knows

    def places(self, task: Task, waits: Kept | None = None) -> list[Place]:
        refused = ("too small",) if task.refused_here else ()
        offers = [Offer(backend=LOCAL, prices=PRICES[LOCAL], refusals=refused,
                        starts_in=None if refused else self.starts_here(task))]  # fmt: skip
        for name, queue in self.queues.items():
            starts = self.answer(name, task)
            offers.append(
                Offer(
                    backend=name,
                    prices=PRICES[name],
                    starts_in=None if starts is None else max(0.0, starts - self.now),
                    reached=not queue.down,
                )
            )
        if waits is not None:
            offers = [self.as_it_waits(each, waits) if each.backend == waits.where else each for each in offers]
        asked = Asked(Held(task.cores), int(task.wall))
        return [Place(offer=each, target=Target(each.backend), asked=asked) for each in offers]

    def as_it_waits(self, offer: Offer, waits: Kept) -> Offer:
        starts = offer.starts_in
        if waits.where != LOCAL:
            starts = None if waits.starts_at is None else max(0.0, waits.starts_at - self.now)
        return planning.as_it_waits(offer, starts)

    def answer(self, name: str, task: Task) -> float | None:
        """What the scheduler says of a job like this, or said a moment ago; nothing while it is away."""
        of = (task.person, name, task.cores, task.wall)
        said = self.answers.get(of)
        if said is not None and self.now - said[0] <= estimates.FRESH_SECONDS:
            return said[1]
        if self.queues[name].down:
            return said[1] if said is not None and self.now - said[0] <= estimates.STALE_SECONDS else None
        self.answers[of] = (self.now, self.queues[name].would_start(task.cores, task.wall, self.now))
        return self.answers[of][1]

    def starts_here(self, task: Task) -> float:
        running = [
            (self.tasks[number].person, self.tasks[number].wall - (self.now - since))
            for number, since in self.here.items()
        ]
        before = self.turns(None if task.number in self.line else task).before(str(task.number))
        return placement.starts_in(
            running, before, task.person,
            per_person=Settings().running_jobs_per_person, in_all=Settings().running_jobs,
        )  # fmt: skip

    def turns(self, also: Task | None = None) -> Line:
        waiting = [
            Waiting(
                job=str(task.number), person=task.person, order=task.number, session="class", since=task.at,
                cores=task.cores, seconds=task.wall,
            )
            for task in (*self.line.values(), *([] if also is None else [also]))
        ]  # fmt: skip
        held: dict[str, float] = {}
        for number in self.here:
            task = self.tasks[number]
            held[task.person] = held.get(task.person, 0.0) + task.cores * task.wall
        used = {
            person: shares.decayed(self.used.get(person, ()), self.now) + held.get(person, 0.0)
            for person in {each.person for each in waiting}
        }
        return placement.line(waiting, used, last_started=self.last, now=self.now)

    # --- what it does

    def comes(self, task: Task) -> None:
        self.turn()
        places = self.places(task)
        made = plans.plan(places, Terms(within=task.deadline - self.now))
        assert made.chosen is not None
        ends = made.chosen.ends_in
        self.kept[task.number] = Kept(made.chosen.backend, None if ends is None else self.now + ends)
        self.goes_to(made.chosen.backend, task)
        if (after := planning.first_thought(made)) is not None:
            self.at(self.now + after, "think", task.number)

    def goes_to(self, where: str, task: Task) -> None:
        if where == LOCAL:
            self.line[task.number] = task
        else:
            self.queues[where].waiting[str(task.number)] = Entry(str(task.number), task.cores, task.wall)
            self.changed.add(where)

    def settle(self) -> None:
        self._leave()
        chosen = placement.startable(
            self.turns().order if self.line and len(self.here) < Settings().running_jobs else [],
            self.running_by_person(),
            per_person=Settings().running_jobs_per_person,
            in_all=Settings().running_jobs,
        )
        for job in chosen:
            task = self.line.pop(int(job))
            self.last[task.person] = self.now
            self.start(LOCAL, task)
        for name in self.turn():
            if not self.queues[name].down:
                for job, starts in self.queues[name].starts.items():
                    if not job.startswith("other"):
                        self.hears(self.tasks[int(job)], starts)

    def running_by_person(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for number in self.here:
            found[self.tasks[number].person] = found.get(self.tasks[number].person, 0) + 1
        return found

    def ends(self, where: str, task: Task) -> None:
        if where == LOCAL:
            ran = self.now - self.began[task.number]
            self.used.setdefault(task.person, []).append((self.now, ran * task.cores))
        super().ends(where, task)

    def hears(self, task: Task, starts: float) -> None:
        kept = self.kept[task.number]
        if starts == kept.starts_at or kept.leaves_for is not None:
            return
        kept.starts_at = starts
        promised = None if kept.ends_at is None else kept.ends_at - self.now
        ago = None if kept.thought_at is None else self.now - kept.thought_at
        word = planning.heard(promised, starts - self.now, task.wall, ago)
        kept.ends_at = self.now + word.ends_in
        if word.thinks:
            kept.thought_at = self.now
            self.at(self.now, "think", task.number)

    def think(self, task: Task) -> None:
        kept = self.kept[task.number]
        if task.number in self.began or kept.leaves_for is not None:
            return
        made = plans.plan(self.places(task, kept), Terms(within=task.deadline - self.now))
        ends_in = task.at + task.wall - self.now if kept.ends_at is None else kept.ends_at - self.now
        again = planning.reconsider(Promise(kept.where, ends_in, kept.moves), made)
        kept.thought_at = self.now
        if again.to is None:
            self.at(self.now + planning.AGAIN_SECONDS, "think", task.number)
        else:
            kept.leaves_for = (again.to, self._ends(made, again.to))
            self.leaving.add(task.number)

    def _ends(self, made: Plan, where: str) -> float | None:
        ends = next(each for each in made.candidates if each.backend == where).ends_in
        return None if ends is None else self.now + ends

    def _leave(self) -> None:
        """What is to go elsewhere goes, if it has not started and its cluster can be reached: its run is barred."""
        for number in sorted(self.leaving):
            kept = self.kept[number]
            if number in self.began or kept.leaves_for is None:
                self.leaving.discard(number)
                continue
            if kept.where == LOCAL:
                del self.line[number]
            elif self.queues[kept.where].down:
                continue
            else:
                del self.queues[kept.where].waiting[str(number)]
                self.changed.add(kept.where)
            (kept.where, kept.ends_at), kept.leaves_for = kept.leaves_for, None
            self.leaving.discard(number)
            kept.starts_at, kept.moves = None, kept.moves + 1
            self.told.moved += 1
            self.goes_to(kept.where, self.tasks[number])
            self.at(self.now + planning.AGAIN_SECONDS, "think", number)
