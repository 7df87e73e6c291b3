"""Where a job may run, and who is next: what this machine cannot honour is named, and who used least lately starts.

Nobody starves: a job's person who had no start for a day has the next one, whatever they used, and one's own jobs start
as they were queued.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import msgspec

from hub.jobs import asked
from hub.jobs.requests import Environment, Resources
from hub.jobs.shares import Account, Claim, fair_order

# Who has had no start for so long has the next one, whatever they used.
LONGEST_SECONDS = 86400.0


class Machine(msgspec.Struct, frozen=True):
    """What the local backend has and allows."""

    cpus: int
    memory_bytes: int
    wall_seconds: int


class Refusal(msgspec.Struct, frozen=True):
    """A field a backend cannot honour, and why, in words that follow the field's name."""

    path: str
    reason: str


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A job in the queue: `order` grows with the time it was queued, `since` is that time in seconds.

    `cores` for `seconds` at most is what it takes when it starts.
    """

    job: str
    person: str
    order: int
    session: str = ""
    since: float = 0.0
    cores: int = 1
    seconds: float = 1.0

    @property
    def takes(self) -> float:
        """Core-seconds at its worst."""
        return self.cores * self.seconds


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """The jobs that wait for one place, as they will start, and by what: core-seconds used there lately.

    `overdue` are jobs that go first because their people had no start for too long.
    """

    order: Sequence[Waiting]
    people: Mapping[str, float] = {}
    overdue: frozenset[str] = frozenset()

    def before(self, job: str) -> list[Waiting]:
        """What starts before this job."""
        return list(itertools.takewhile(lambda each: each.job != job, self.order))

    def sentence(self, job: str) -> str:
        """This job's place, and why others go first, in words."""
        own = next(each for each in self.order if each.job == job)
        before = self.before(job)
        if not before:
            return "Next in the queue."
        others = {each.person: each.job for each in reversed(before) if each.person != own.person}
        late = {person for person, first in others.items() if first in self.overdue}
        less = {each for each in others if self.people.get(each, 0.0) < self.people.get(own.person, 0.0)} - late
        mine = sum(each.person == own.person for each in before)
        told = [
            *_said(len(less), "who used less lately {go} first"),
            *_said(len(late), "without a start for a day {go} first"),
            *_said(len(others) - len(late) - len(less), "{take} turns with its owner"),
            *_own(mine),
        ]
        return f"{_ordinal(len(before) + 1)} in the queue: {', and '.join(told)}."


def refusals(resources: Resources, environment: Environment, machine: Machine) -> list[Refusal]:
    """Everything that was asked for and cannot be honoured on this machine."""
    found: list[Refusal] = []
    wanted = resources.amounts()
    one = "is more than one, and there is one machine here"
    if resources.nodes > 1:
        found.append(Refusal("resources.nodes", one))
    if resources.tasks_per_node > 1:
        found.append(Refusal("resources.tasks_per_node", "is more than one; a local job is one task"))
    if resources.cpus_per_node > machine.cpus:
        found.append(Refusal("resources.cpus_per_node", f"is more than the {machine.cpus} of this machine"))
    if (wanted.memory_bytes or 0) > machine.memory_bytes:
        found.append(Refusal("resources.memory", f"is more than the {machine.memory_bytes >> 20} MiB a job may have"))
    if (wanted.wall_seconds or 0) > machine.wall_seconds:
        found.append(Refusal("resources.time", f"is more than the {machine.wall_seconds // 60} minutes a job may have"))
    if resources.gpus:
        found.append(Refusal("resources.gpus", "are not given to local jobs"))
    for name in ("gpu_type", "partition", "account", "qos", "constraint", "array", "licenses"):
        if getattr(resources, name) is not None:
            found.append(Refusal(f"resources.{name}", "means nothing without a scheduler"))
    if environment.modules:
        found.append(Refusal("environment.modules", "are not there outside a cluster"))
    if environment.container is not None:
        found.append(Refusal("environment.container", "cannot be run by the local backend"))
    return found


def line(
    waiting: Sequence[Waiting],
    people: Mapping[str, float],
    *,
    sessions: Mapping[str, float] | None = None,
    last_started: Mapping[str, float] | None = None,
    now: float = 0.0,
) -> Line:
    """The jobs in the order in which they will start: each turn goes to the person who used least lately.

    `people` and `sessions` say what they used, in core-seconds; between people who used the same it is the session of
    their first job that used least, then who waited first. What a job may take at its worst is counted at once, so
    that turns go round. Within a person, first come first served.
    """
    of_job = {each.job: each for each in waiting}
    used = {Account("person", person): amount for person, amount in people.items()}
    used |= {Account("group", session): amount for session, amount in (sessions or {}).items()}
    late = _overdue(waiting, last_started or {}, now)
    for each in late:
        for account in (Account("person", each.person), Account("group", each.session)):
            used[account] = used.get(account, 0.0) + each.takes
    overdue = frozenset(each.job for each in late)
    claims = [
        Claim(each.job, Account("person", each.person), each.order, Account("group", each.session))
        for each in waiting
        if each.job not in overdue
    ]
    ordered = fair_order(claims, used, takes={each.job: each.takes for each in waiting})
    return Line(order=[*late, *(of_job[job] for job in ordered)], people=people, overdue=overdue)


def _overdue(waiting: Sequence[Waiting], last_started: Mapping[str, float], now: float) -> list[Waiting]:
    """The first job of everybody who has waited too long since it was queued and since their last start."""
    first: dict[str, Waiting] = {}
    for each in sorted(waiting, key=lambda one: one.order):
        first.setdefault(each.person, each)

    def since(one: Waiting) -> float:
        return max(one.since, last_started.get(one.person, one.since))

    return sorted((each for each in first.values() if now - since(each) > LONGEST_SECONDS), key=since)


def startable(order: Sequence[Waiting], running: Mapping[str, int], *, per_person: int, in_all: int) -> list[str]:
    """The jobs that may start now, within what a person and the machine may have running."""
    taken = dict(running)
    chosen: list[str] = []
    for each in order:
        if sum(taken.values()) >= in_all:
            break
        if taken.get(each.person, 0) < per_person:
            taken[each.person] = taken.get(each.person, 0) + 1
            chosen.append(each.job)
    return chosen


def starts_in(
    running: Sequence[tuple[str, float]], before: Sequence[Waiting], person: str, *, per_person: int, in_all: int
) -> float:
    """When a job of this person starts on this machine at the latest: by time limits, of what runs and goes before it.

    `running` is (whose, seconds that it still may take).
    """

    def after(places: int, who: str | None = None) -> float:
        left = [seconds for each, seconds in running if who in (None, each)]
        return asked.starts_after(places, left, [each.seconds for each in before if who in (None, each.person)])

    return max(after(in_all), after(per_person, person))


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def _number(many: int) -> str:
    return _NUMBERS[many] if many < len(_NUMBERS) else str(many)


def _said(many: int, does: str) -> list[str]:
    if not many:
        return []
    verbs = {"go": "goes", "take": "takes"} if many == 1 else {"go": "go", "take": "take"}
    return [f"{_number(many)} {'person' if many == 1 else 'people'} {does.format(**verbs)}"]


def _own(many: int) -> list[str]:
    earlier = "earlier job of its owner goes first" if many == 1 else "earlier jobs of its owner go first"
    return [f"{_number(many)} {earlier}"] if many else []


def _ordinal(number: int) -> str:
    teens = 10 <= number % 100 <= 20
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
