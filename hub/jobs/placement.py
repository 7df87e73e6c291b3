"""Where a job may run, and who is next: what this machine cannot honour is named, and starts go round over people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hub.jobs.requests import Environment, Resources


class Machine(msgspec.Struct, frozen=True):
    """What the local backend has and allows."""

    cpus: int
    memory_bytes: int
    wall_seconds: int


class Refusal(msgspec.Struct, frozen=True):
    """A field a backend cannot honour, and why, in words that follow the field's name."""

    path: str
    reason: str


class Waiting(msgspec.Struct, frozen=True):
    """A job in the queue: `order` grows with the time it was queued."""

    job: str
    person: str
    order: int


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


def start_order(
    waiting: Sequence[Waiting], running: Mapping[str, int], last_started: Mapping[str, int] | None = None
) -> list[str]:
    """The jobs in the order in which they will start: each turn goes to the person with the fewest running.

    Among equals it is whose last start lies longest ago, then who waited first; within a person, first come first
    served. `last_started` grows with time.
    """
    last_started = last_started or {}
    of_person: dict[str, list[Waiting]] = {}
    for each in sorted(waiting, key=lambda w: w.order, reverse=True):
        of_person.setdefault(each.person, []).append(each)
    taken = {person: running.get(person, 0) for person in of_person}
    order: list[str] = []
    while of_person:
        person = min(of_person, key=lambda p: (taken[p], last_started.get(p, -1), of_person[p][-1].order))
        order.append(of_person[person].pop().job)
        taken[person] += 1
        if not of_person[person]:
            del of_person[person]
    return order


def startable(
    waiting: Sequence[Waiting],
    running: Mapping[str, int],
    *,
    per_person: int,
    in_all: int,
    last_started: Mapping[str, int] | None = None,
) -> list[str]:
    """The jobs that may start now, within what a person and the machine may have running."""
    person_of = {each.job: each.person for each in waiting}
    taken = dict(running)
    chosen: list[str] = []
    for job in start_order(waiting, running, last_started):
        person = person_of[job]
        if sum(taken.values()) >= in_all:
            break
        if taken.get(person, 0) < per_person:
            taken[person] = taken.get(person, 0) + 1
            chosen.append(job)
    return chosen
