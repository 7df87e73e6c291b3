"""Every place that a submission of this person could go to, with what can be told of it now.

A kind of place is a function in `SOURCES`: this machine, the person's own accounts on Slurm clusters, and the
Kubernetes clusters that serve the session. Another kind adds its own there and is then placed and shown like these.
"""

from __future__ import annotations

import datetime as dt
import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Scope
from hub.jobs import asked, estimates, placement, prices, rules, turns
from hub.jobs.asked import Asked
from hub.jobs.backends.slurm_wish import Directive, wish
from hub.jobs.clusters import choosing, kubernetes_choosing
from hub.jobs.clusters.rules import Account, Target, environment_faults
from hub.jobs.economy import Offer, Prices
from hub.jobs.estimates import Known
from hub.jobs.placement import Waiting
from hub.jobs.port import Question
from hub.jobs.requests import Environment, Resources
from hub.jobs.tables import jobs
from hub.jobs.transitions import LOCAL

# Runs that are older than this tell nothing of the next.
LOOK_BACK = dt.timedelta(days=90)
# What was idle so long ago is not idle any more.
IDLE_SECONDS = 600
MOST_LOOKED_AT = 2000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be placed, for whom; `said` are the options that stand in the script."""

    person: str
    session: str
    resources: Resources
    environment: Environment
    said: tuple[Directive, ...] = ()
    script: str = ""  # its digest
    job: str = ""  # when it waits on this machine already
    only: Target | None = None  # the place that was chosen: no other is looked at, nor when it would start there


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A place: what it offers, the way there, and what the job would hold; `question` when more could be learned."""

    offer: Offer
    target: Target
    asked: Asked
    question: Question | None = None


Source = Callable[[Scope, Wanted], list[Place]]


def machine() -> placement.Machine:
    """What a local job may ask of this machine."""
    return placement.Machine(os.cpu_count() or 1, limits.JOB_MEMORY_BYTES, limits.JOB_WALLTIME_SECONDS)


def all_of(scope: Scope, wanted: Wanted) -> list[Place]:
    """The places in the order in which they are named to people. Raises ValueError for what nobody can read."""
    if wanted.only is not None:
        found = (each for source in SOURCES for each in source(scope, wanted) if each.target == wanted.only)
        return list(itertools.islice(found, 1))
    places = [each for source in SOURCES for each in source(scope, wanted)]
    ran = _ran(scope, wanted)
    return [
        msgspec.structs.replace(
            each, offer=msgspec.structs.replace(each.offer, run_seconds=ran.get(each.offer.backend))
        )
        for each in places
    ]


def wall_seconds(of: Asked) -> int:
    """How long it may take; where nobody said, as long as the hub lets a job take."""
    return of.wall_seconds or limits.JOB_WALLTIME_SECONDS


def _here(scope: Scope, wanted: Wanted) -> list[Place]:
    if wanted.only not in (None, Target(LOCAL)):
        return []
    refused = placement.refusals(wanted.resources, wanted.environment, machine())
    offer = Offer(
        backend=LOCAL,
        prices=prices.here(scope),
        starts_in=None if refused or wanted.only else _starts_here(scope, wanted),
        refusals=tuple(f"{each.path} {each.reason}" for each in refused),
    )
    return [Place(offer=offer, target=Target(LOCAL), asked=asked.here(wanted.resources))]


def _starts_here(scope: Scope, wanted: Wanted) -> float:
    """By the time limits of what runs and of what will start before it, within what may be running at once."""
    rows = scope.execute(
        sa.select(jobs.c.submitted_by, jobs.c.started_at, jobs.c.resources)
        .where(jobs.c.backend == LOCAL, jobs.c.state.in_(rules.OCCUPYING))
        .limit(MOST_LOOKED_AT)
    ).all()

    def left(row: sa.Row[Any]) -> float:
        limit = float(wall_seconds(asked.here(msgspec.convert(row.resources, Resources))))
        return limit if row.started_at is None else limit - (scope.now - row.started_at).total_seconds()

    return placement.starts_in(
        [(row.submitted_by, left(row)) for row in rows],
        _before(scope, wanted),
        wanted.person,
        per_person=scope.settings.running_jobs_per_person,
        in_all=scope.settings.running_jobs,
    )


def _before(scope: Scope, wanted: Wanted) -> list[Waiting]:
    """What will start on this machine before it, as things are."""
    if wanted.job:
        return turns.line(scope).before(wanted.job)
    held = asked.here(wanted.resources)
    comes = Waiting(
        job="",
        person=wanted.person,
        session=wanted.session,
        order=sys.maxsize,
        since=scope.now.timestamp(),
        cores=held.held.cores,
        seconds=float(wall_seconds(held)),
    )
    return turns.line(scope, also=comes).before("")


def _on_slurm(scope: Scope, wanted: Wanted) -> list[Place]:
    accounts = [
        each
        for each in choosing.usable(scope, wanted.person)
        if each.kind == "slurm" and wanted.only in (None, Target(each.cluster, each.id))
    ]
    wishes = {each.id: wish(wanted.resources, wanted.said, each.defaults) for each in accounts}
    questions = {account: estimates.question(one.argv) for account, one in wishes.items()}
    told = estimates.known(scope, questions) if questions and wanted.only is None else {}
    faults = [f"{field} {said}" for field, said in environment_faults(wanted.environment)]
    return [
        Place(
            offer=_offer(scope, each, wanted, told.get(each.id), faults, wishes[each.id].value("partition")),
            target=Target(each.cluster, each.id),
            asked=asked.on_slurm(wishes[each.id]),
            question=None if faults or told.get(each.id, Known()).is_fresh else questions[each.id],
        )
        for each in sorted(accounts, key=lambda one: one.cluster)
    ]


def _on_kubernetes(scope: Scope, wanted: Wanted) -> list[Place]:
    """When a pod would start nobody tells before it is there, so its start is unknown."""
    return [
        Place(
            offer=Offer(
                backend=each.cluster,
                prices=Prices(each.price_per_core_hour, each.price_per_gpu_hour),
                refusals=refusals,
                reached=each.reached,
            ),
            target=Target(each.cluster, each.id),
            asked=asked.here(wanted.resources),
        )
        for each, refusals in kubernetes_choosing.offered(scope, wanted.session, wanted.resources, wanted.environment)
    ]


def _offer(
    scope: Scope, account: Account, wanted: Wanted, told: Known | None, faults: list[str], partition: str | None
) -> Offer:
    now = scope.now.timestamp()
    starts = None
    if told is not None and told.starts_at is not None:
        starts = max(0.0, told.starts_at.timestamp() - now)
    elif told is None and now - account.told_at < IDLE_SECONDS:
        starts = 0.0 if asked.idle_now(account.idle, wanted.resources, partition) else None
    refusals = [*faults, *([told.refusal] if told is not None and told.refusal else [])]
    return Offer(
        backend=account.cluster,
        prices=Prices(account.price_per_core_hour, account.price_per_gpu_hour),
        starts_in=starts,
        refusals=tuple(refusals),
        reached=account.reached,
    )


def _ran(scope: Scope, wanted: Wanted) -> dict[str, float]:
    """How long this script took at most for this person on each backend, when it succeeded."""
    if not wanted.script:
        return {}
    ran = sa.type_coerce(jobs.c.ended_at, sa.BigInteger) - sa.type_coerce(jobs.c.started_at, sa.BigInteger)
    rows = scope.execute(
        sa.select(jobs.c.backend, sa.func.max(ran).label("longest"))
        .where(
            jobs.c.submitted_by == wanted.person,
            jobs.c.script_digest == wanted.script,
            jobs.c.state == "SUCCEEDED",
            jobs.c.started_at.is_not(None),
            jobs.c.submitted_at > scope.now - LOOK_BACK,
        )
        .group_by(jobs.c.backend)
    )
    return {row.backend: max(1.0, row.longest / 1e6) for row in rows if row.longest is not None}


SOURCES: list[Source] = [_here, _on_slurm, _on_kubernetes]
