"""How busy the hub is with jobs, and what the jobs of sessions used and cost: sums made by the database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import steps
from hub.core.context import Scope
from hub.core.errors import InvalidInput
from hub.jobs import economy, holding, machine, prices, rules
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.holding import micro
from hub.jobs.machine import MachineView
from hub.jobs.plan_tables import job_plans
from hub.jobs.requests import Resources
from hub.jobs.tables import backends, jobs
from hub.people.views import PersonView, people
from hub.sessions.names import full_name, known_sessions

TERM_DAYS = 30
MOST_DAYS = 366
_WAITING = ("WAITING", "QUEUED", "HELD", "SUBMITTING", "PENDING")
_GOING = ("RUNNING", "COLLECTING")
_WELL = ("SUCCEEDED", "CANCELLED")


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """What some jobs came to. `cost` is None where one of them ran where nobody has told the price."""

    jobs: int = 0
    alive: int = 0
    failed: int = 0
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    cost: float | None = 0.0
    waited_seconds: float | None = None  # from the queue to the start, on average over those that started

    started: int = 0


class PersonUse(msgspec.Struct, frozen=True):
    """One person's part of it."""

    person: PersonView
    sums: Sums


class BackendUse(msgspec.Struct, frozen=True):
    """What ran on one backend."""

    backend: str
    sums: Sums


class SessionUse(msgspec.Struct, frozen=True):
    """What was used in one session, or class."""

    session: str
    name: str
    sums: Sums


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs submitted since then, at the prices of now; each list begins with whoever used most."""

    since: dt.datetime
    currency: str
    total: Sums
    people: list[PersonUse]
    backends: list[BackendUse]
    sessions: list[SessionUse]


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """One backend's queue. `watched` tells whether an agent holds its lease."""

    backend: str
    waiting: int
    running: int
    oldest_seconds: float | None  # how long the first of those in the queue has waited
    watched: bool


class ResourcesView(msgspec.Struct, frozen=True, kw_only=True):
    """This machine, the queues, and the hub's own work: steps that are due, and how many workers are at one."""

    machine: MachineView
    places: int  # jobs that may run here at once
    queues: list[QueueView]
    steps_due: int
    steps_held: int
    workers: int


def session_usage(scope: Scope, ref: str, days: int = TERM_DAYS) -> UsageView:
    """What the jobs of one session used. Raises InvalidInput for a term of no days."""
    return _usage(scope, [scope.access.session(ref, "job:read")], days)


def usage(scope: Scope, days: int = TERM_DAYS) -> UsageView:
    """The same over every session that the actor takes part in."""
    known = scope.execute(known_sessions(scope)).scalars().all()
    return _usage(scope, [each for each in known if scope.access.may(each, "job:read")], days)


def resources(scope: Scope) -> ResourcesView:
    """How busy the hub is; counts only, so that every member may see it."""
    scope.access.hub("hub:read")
    return measured(scope.conn, scope.settings, scope.now)


def measured(conn: sa.Connection, settings: Any, now: dt.datetime) -> ResourcesView:
    """The same for the hub's own services, in three queries."""
    waiting = sa.func.sum(sa.case((jobs.c.state.in_(_WAITING), 1), else_=0))
    queued = sa.case((jobs.c.state == "QUEUED", micro(jobs.c.queued_at)))
    counts = {
        row.backend: row
        for row in conn.execute(
            sa.select(jobs.c.backend, waiting.label("waiting"), sa.func.count().label("alive"),
                      sa.func.min(queued).label("oldest"))
            .where(jobs.c.state.in_((*_WAITING, *_GOING)))
            .group_by(jobs.c.backend)
        )
    }  # fmt: skip
    leases = {row.name: row.until for row in conn.execute(_LEASES)}
    held = sa.func.sum(sa.case((steps.steps.c.lease_until > now, 1), else_=0))
    due = sa.func.sum(sa.case((steps.steps.c.due_at <= now, 1), else_=0))
    work = conn.execute(sa.select(due.label("due"), held.label("held")).where(steps.steps.c.done_at.is_(None))).one()
    return ResourcesView(
        machine=machine.look(settings.data),
        places=settings.running_jobs,
        queues=[_queue(name, counts.get(name), leases.get(name), now) for name in sorted({*counts, *leases, "local"})],
        steps_due=max(0, int(work.due or 0) - int(work.held or 0)),
        steps_held=int(work.held or 0),
        workers=settings.workers,
    )


# An agent holds its lease under its account's id; people know the cluster.
_KNOWN_AS = sa.func.coalesce(clusters.c.name, backends.c.name)
_LEASES = (
    sa.select(_KNOWN_AS.label("name"), sa.func.max(backends.c.lease_until).label("until"))
    .select_from(
        backends.outerjoin(cluster_accounts, cluster_accounts.c.id == backends.c.name).outerjoin(
            clusters, clusters.c.id == cluster_accounts.c.cluster
        )
    )
    .where(cluster_accounts.c.removed_at.is_(None), clusters.c.removed_at.is_(None))
    .group_by(_KNOWN_AS)
)


def _queue(name: str, row: Any, lease: dt.datetime | None, now: dt.datetime) -> QueueView:
    waiting = int(row.waiting) if row is not None else 0
    oldest = None if row is None or row.oldest is None else now.timestamp() - int(row.oldest) / 1e6
    return QueueView(
        backend=name,
        waiting=waiting,
        running=int(row.alive) - waiting if row is not None else 0,
        oldest_seconds=None if oldest is None else max(0.0, oldest),
        watched=lease is not None and lease > now,
    )


def _usage(scope: Scope, sessions: list[str], days: int) -> UsageView:
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(f"`days` must be from 1 to {MOST_DAYS}", path="days")
    since = scope.now - dt.timedelta(days=days)
    parts = _parts(scope, sessions, since)
    of_person = _by(parts, lambda row: row.submitted_by)
    of_session = _by(parts, lambda row: row.session)
    who = people(scope, set(of_person))
    return UsageView(
        since=since,
        currency=scope.settings.currency,
        total=_sum(sums for _, sums in parts),
        people=[PersonUse(who[each], sums) for each, sums in of_person.items()],
        backends=[BackendUse(each, sums) for each, sums in _by(parts, lambda row: row.backend).items()],
        sessions=[SessionUse(each, full_name(scope, each), sums) for each, sums in of_session.items()],
    )


def _parts(scope: Scope, sessions: list[str], since: dt.datetime) -> list[tuple[Any, Sums]]:
    """Sums of jobs that have session, person, backend, state and resources in common: few rows for many jobs."""
    now = sa.literal(int(scope.now.timestamp() * 1e6), sa.BigInteger)
    ran = sa.func.coalesce(holding.HELD_MICROS, now - micro(jobs.c.started_at))
    waited = micro(jobs.c.started_at) - sa.func.coalesce(micro(jobs.c.queued_at), micro(jobs.c.submitted_at))
    same = (
        *(jobs.c.session, jobs.c.submitted_by, jobs.c.backend, jobs.c.state, jobs.c.resources),
        *(job_plans.c.cores, job_plans.c.gpus),
    )
    rows = scope.execute(
        sa.select(
            *same,
            sa.func.count().label("many"),
            sa.func.count(jobs.c.started_at).label("started"),
            sa.func.sum(ran).label("ran"),
            sa.func.sum(waited).label("waited"),
        )
        .select_from(jobs.outerjoin(job_plans, job_plans.c.job == jobs.c.id))
        .where(jobs.c.session.in_(sessions), jobs.c.submitted_at >= since, jobs.c.attached.is_(False))
        .group_by(*same)
    ).all()
    price = prices.of(scope)
    return [(row, _sums(row, price.get(row.backend, economy.Prices()))) for row in rows]


def _sums(row: Any, price: economy.Prices) -> Sums:
    seconds = max(0.0, int(row.ran or 0) / 1e6)
    cost = economy.cost(_held(row), seconds, price)
    over = row.state in rules.TERMINAL
    return Sums(
        jobs=row.many,
        alive=0 if over else row.many,
        failed=row.many if over and row.state not in _WELL else 0,
        core_hours=cost.core_hours,
        gpu_hours=cost.gpu_hours,
        cost=cost.money,
        started=row.started,
        waited_seconds=max(0.0, int(row.waited or 0) / 1e6 / row.started) if row.started else None,
    )


def _held(row: Any) -> economy.Held:
    """As it was counted when it was submitted, with what its script asks for; of an old job by what was asked."""
    if row.cores is not None:
        return economy.Held(row.cores, row.gpus)
    try:
        return economy.held(msgspec.convert(row.resources, Resources))
    except ValueError:  # an array that nobody can read was refused by whoever it was given to
        return economy.Held(0)


def _by(parts: list[tuple[Any, Sums]], key: Callable[[Any], str]) -> dict[str, Sums]:
    found: dict[str, list[Sums]] = {}
    for row, sums in parts:
        found.setdefault(key(row), []).append(sums)
    added = [(each, _sum(some)) for each, some in found.items()]
    return dict(sorted(added, key=lambda one: (-one[1].core_hours, -one[1].jobs, one[0])))


def _sum(some: Iterable[Sums]) -> Sums:
    parts = list(some)
    started = sum(each.started for each in parts)
    waited = sum((each.waited_seconds or 0.0) * each.started for each in parts)
    costs = [each.cost for each in parts if each.cost is not None]
    return Sums(
        jobs=sum(each.jobs for each in parts),
        alive=sum(each.alive for each in parts),
        failed=sum(each.failed for each in parts),
        core_hours=sum(each.core_hours for each in parts),
        gpu_hours=sum(each.gpu_hours for each in parts),
        cost=sum(costs) if len(costs) == len(parts) else None,
        started=started,
        waited_seconds=waited / started if started else None,
    )
