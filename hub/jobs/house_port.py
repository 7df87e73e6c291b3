"""The hub as the agent of this machine sees it: the port, carried out on the database."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Context
from hub.core.database import Tx
from hub.core.house import House
from hub.jobs import holding, logs, moving, progress, rules, transitions
from hub.jobs.plan_tables import job_plans
from hub.jobs.port import AgentPort, Attached, Overtaken, PassedOn, Report, Watched, Wished
from hub.jobs.tables import backends, jobs, log_readers
from hub.jobs.transitions import Job
from hub.perform import record

PROGRESS_SECONDS = 1.0
_LEASE = dt.timedelta(seconds=limits.AGENT_LEASE_SECONDS)


_WATCHED = (
    *(jobs.c.id, jobs.c.run, jobs.c.state, jobs.c.cancel_asked_at, jobs.c.name, jobs.c.native, jobs.c.outputs),
    *(jobs.c.wish, jobs.c.wish_number, jobs.c.attached, jobs.c.log_path, log_readers.c.until, jobs.c.fetch_patterns),
    job_plans.c.going.is_not(None).label("leaves"),
)


_EPOCH = sa.select(backends.c.epoch).where(backends.c.name == sa.bindparam("backend"))
_EPOCH_HELD = _EPOCH.with_for_update()


class HousePort(AgentPort):
    """For one backend; an agent elsewhere would speak the same over HTTPS."""

    def __init__(self, house: House, backend: str = transitions.LOCAL) -> None:
        self._house, self._backend = house, backend
        self._logs = logs.store(house.settings.data)
        self._progress: dict[str, progress.Progress] = {}

    def lease(self, agent: str) -> int | None:
        now = self._house.clock.now()

        def work(tx: Tx) -> int | None:
            tx.insert_new(backends, name=self._backend)
            row = tx.execute(sa.select(backends).where(backends.c.name == self._backend).with_for_update()).one()
            if row.agent != agent and row.lease_until is not None and row.lease_until > now:
                return None
            epoch = int(row.epoch) if row.agent == agent else int(row.epoch) + 1
            heard = row.heard if row.agent == agent else 0
            tx.execute(
                sa.update(backends)
                .where(backends.c.name == self._backend)
                .values(agent=agent, epoch=epoch, heard=heard, lease_until=now + _LEASE)
            )
            return epoch

        return self._house.db.write(work)

    def watched(self, epoch: int) -> list[Watched]:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            rows = conn.execute(self._mine).all()
        now = self._house.clock.now()
        return [
            Watched(
                row.id,
                row.run,
                row.state,
                row.cancel_asked_at is not None,
                self._logs.size(row.id),
                row.name,
                row.native,
                tuple(row.outputs),
                wish=None if row.wish is None else Wished(row.wish, row.wish_number),
                attached=row.attached,
                log_path=row.log_path or "",
                read=row.until is not None and row.until > now,
                leaves=bool(row.leaves),
                fetch=tuple(row.fetch_patterns or ()),
            )
            for row in rows
        ]

    @functools.cached_property
    def _mine(self) -> sa.Select[Any]:
        """Built once: it is asked at every turn, and costs more to build than to carry out."""
        return (
            sa.select(*_WATCHED)
            .outerjoin(log_readers, log_readers.c.job == jobs.c.id)
            .outerjoin(job_plans, job_plans.c.job == jobs.c.id)
            .where(self._is_mine())
            .order_by(jobs.c.placed_at, jobs.c.id)
        )

    def _is_mine(self) -> sa.ColumnElement[bool]:
        """Which jobs this backend is asked about."""
        return sa.and_(jobs.c.state.in_(rules.OCCUPYING), jobs.c.backend == self._backend)

    def append_log(self, epoch: int, job: str, offset: int, piece: bytes) -> int:
        # The bytes of one run are the same whoever brings them, so a stale agent could only repeat them.
        size = self._logs.append(job, offset, piece)
        self._house.bus.publish(f"log:{job}", {"offset": offset, "size": size, "done": False})
        self._follow_progress(job, piece)
        return size

    def report(self, epoch: int, reports: Sequence[Report]) -> None:
        def work(ctx: Context) -> None:
            self._check(ctx.conn, epoch, lock=True)
            self._take(ctx, reports)

        record(self._house, transitions.OBSERVED, work)

    def _take(self, ctx: Context, reports: Sequence[Report]) -> None:
        for each in reports:
            job = transitions.lock(ctx, each.job)
            if job is not None and job.run == each.run:
                _observed(ctx, job, each)

    def _check(self, conn: sa.Connection, epoch: int, *, lock: bool = False) -> None:
        if conn.execute(_EPOCH_HELD if lock else _EPOCH, {"backend": self._backend}).scalar() != epoch:
            raise Overtaken

    def _follow_progress(self, job: str, piece: bytes) -> None:
        """Read how far the job is from what it just wrote; kept at most once a second, without a ledger line."""
        seen = progress.read(piece)
        if seen is None:
            return
        at = self._house.clock.now().timestamp()
        before = self._progress.get(job)
        if before is not None and at - before.at < PROGRESS_SECONDS and seen.fraction < 1:
            return
        known = self._progress[job] = progress.follow(before, seen, at)
        kept = msgspec.to_builtins(known)
        self._house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(progress=kept)))


def _observed(ctx: Context, job: Job, report: Report) -> None:
    """What a report means for the job's row; what is known already, or no longer true, means nothing."""
    seen = report.seen
    if job.state not in rules.OCCUPYING:
        return
    beside = _beside(ctx, job, report)
    if seen.sight == "waiting":
        _waits(ctx, job, seen.detail, beside)
        moving.told(ctx, job, seen.starts_at)
        return
    if beside:
        ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**beside))
        job = transitions.lock(ctx, job.id) or job
    match seen.sight:
        case "refused" if job.state == "SUBMITTING":
            transitions.happen(ctx, job, "refused", seen.detail, ended_at=ctx.now)
        case "started" if job.state != "RUNNING":
            transitions.happen(ctx, job, "started", started_at=job.started_at or ctx.now, waits_for=None)
            moving.stays(ctx, job)
        case "never_ran" if job.cancel_asked_at is not None:
            if job.state != "RUNNING":
                transitions.happen(ctx, job, "cancelled", "Cancelled before it started.", ended_at=ctx.now)
        case "never_ran" if job.state != "RUNNING":
            transitions.happen(ctx, job, "put_back", queued_at=job.queued_at, **moving.goes(ctx, job))
        case "again" if job.state != "SUBMITTING":
            transitions.happen(ctx, job, "taken_off", queued_at=job.queued_at, nodes=None)
        case "lost" | "never_ran":
            said = f"Nobody can account for this job: {seen.detail}. It may have run, wholly or in part."
            transitions.happen(ctx, job, "lost", said, ended_at=ctx.now, log_size=report.log_size)
        case "ended" if seen.exit is not None:
            _ended(ctx, job, seen.exit, report.log_size)
        case _:
            return


def _ended(ctx: Context, job: Job, end: rules.Exit, log_size: int) -> None:
    if job.attached:  # whose wrapper did not count it
        end = msgspec.structs.replace(end, log_bytes=log_size, log_kept_bytes=log_size)
    found = rules.outcome(end)
    transitions.happen(
        ctx,
        job,
        "ended",
        found.sentence,
        outcome=found.event,
        exit=msgspec.to_builtins(end),
        started_at=job.started_at or _moment(end.started_at, ctx.now),
        ended_at=_moment(end.ended_at, ctx.now),
        log_size=log_size,
        log_done=True,
    )
    moving.stays(ctx, job)
    holding.keep(ctx, job.id, end)
    if job.attached:
        _ends_there(ctx, job.id)
    elif job.account is None:  # from a cluster, its agent brings the outputs first
        ctx.enqueue(transitions.COLLECT, job.id, queue=transitions.LOCAL)
    ctx.publish(f"log:{job.id}", {"size": log_size, "done": True})


_WOULD_NOT: dict[str, str] = {
    "hold": "It could not be held back",
    "release": "It could not be released",
    "requeue": "It could not be started again",
}


def _passed_on(ctx: Context, job: Job, wish: PassedOn) -> dict[str, Any]:
    """A wish is over, granted or not; what the scheduler makes of it is seen as everything else is."""
    values: dict[str, Any] = {"wish": None}
    if wish.refused:
        values["notes"] = [*job.notes, f"{_WOULD_NOT[job.wish]}: {wish.refused[:1000].rstrip('.')}."]
    elif job.wish == "hold" and job.state == "PENDING":
        values["waits_for"] = rules.HELD_BACK
    elif job.wish == "release" and job.waits_for == rules.HELD_BACK:
        values["waits_for"] = None
    facts = {"state": job.state, "run": job.run, "wish": job.wish, "granted": not wish.refused}
    ctx.about("job", job.id, job.session, action=transitions.OBSERVED, **facts)
    return values


def _told(ctx: Context, job: Job, told: Attached) -> dict[str, Any]:
    """What is known of a job that somebody else submitted; told once, and no line of the ledger."""
    values: dict[str, Any] = {"log_path": told.log_path[:4000]}
    if told.name:
        values["name"] = told.name[:300]
    if told.started_at and job.started_at is None:
        values["started_at"] = _moment(told.started_at, ctx.now)
    return values


def _ends_there(ctx: Context, job_id: str) -> None:
    """Nothing of an attached job is fetched: its end is the end."""
    job = transitions.lock(ctx, job_id)
    assert job is not None
    transitions.happen(ctx, job, job.outcome or "lost", job.reason, fetched_run=job.run)


# What is in its way is told while it is handed over and while it runs; while it waits, that is why it waits.
_TROUBLED = {("starting", "SUBMITTING"), ("started", "RUNNING")}


def _beside(ctx: Context, job: Job, report: Report) -> dict[str, Any]:
    """What is told beside how the job stands, as columns of its row."""
    seen = report.seen
    values: dict[str, Any] = {}
    if seen.native and seen.native != job.native:
        values["native"] = seen.native
    if seen.sight == "started" and seen.detail and seen.detail != job.nodes:
        values["nodes"] = seen.detail[:4000]
    if (seen.sight, job.state) in _TROUBLED and seen.trouble != (job.waits_for or ""):
        values["waits_for"] = seen.trouble or None
    if report.attached is not None and job.attached:
        values |= _told(ctx, job, report.attached)
    if report.wish is not None and job.wish is not None and report.wish.number == job.wish_number:
        values |= _passed_on(ctx, job, report.wish)
    return values


def _waits(ctx: Context, job: Job, why: str, beside: dict[str, Any]) -> None:
    """One change of its row, since every submission makes it; seen again and again it is no line of the ledger."""
    values = {**beside, "waits_for": why}
    if job.state != "PENDING":
        event: rules.Event = "requeued" if job.state == "RUNNING" else "accepted"
        transitions.happen(ctx, job, event, nodes=None, **values)
    elif beside or why != job.waits_for:
        ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(**values))


def _moment(seconds: float, now: dt.datetime) -> dt.datetime:
    """The runner's own time of an event, on the same machine's clock; never in the future of the hub's."""
    return min(dt.datetime.fromtimestamp(seconds, dt.UTC), now) if seconds else now
