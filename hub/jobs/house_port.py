"""The hub as the agent of this machine sees it: the port, carried out on the database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Context
from hub.core.database import Tx
from hub.core.house import House
from hub.jobs import logs, progress, rules, transitions
from hub.jobs.port import AgentPort, Overtaken, Report, Watched
from hub.jobs.tables import backends, jobs
from hub.jobs.transitions import Job
from hub.perform import record

PROGRESS_SECONDS = 1.0
_LEASE = dt.timedelta(seconds=limits.AGENT_LEASE_SECONDS)


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
            tx.execute(
                sa.update(backends)
                .where(backends.c.name == self._backend)
                .values(agent=agent, epoch=epoch, lease_until=now + _LEASE)
            )
            return epoch

        return self._house.db.write(work)

    def watched(self, epoch: int) -> list[Watched]:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            rows = conn.execute(
                sa.select(jobs.c.id, jobs.c.run, jobs.c.state, jobs.c.cancel_asked_at).where(
                    jobs.c.state.in_(rules.OCCUPYING), jobs.c.backend == self._backend
                )
            ).all()
        return [
            Watched(row.id, row.run, row.state, row.cancel_asked_at is not None, self._logs.size(row.id))
            for row in rows
        ]

    def append_log(self, epoch: int, job: str, offset: int, piece: bytes) -> int:
        # The bytes of one run are the same whoever brings them, so a stale agent could only repeat them.
        size = self._logs.append(job, offset, piece)
        self._house.bus.publish(f"log:{job}", {"offset": offset, "size": size, "done": False})
        self._follow_progress(job, piece)
        return size

    def report(self, epoch: int, reports: Sequence[Report]) -> None:
        def work(ctx: Context) -> None:
            self._check(ctx.conn, epoch, lock=True)
            for each in reports:
                job = transitions.lock(ctx, each.job)
                if job is not None and job.run == each.run:
                    _observed(ctx, job, each)

        record(self._house, transitions.OBSERVED, work)

    def _check(self, conn: sa.Connection, epoch: int, *, lock: bool = False) -> None:
        query = sa.select(backends.c.epoch).where(backends.c.name == self._backend)
        if conn.execute(query.with_for_update() if lock else query).scalar() != epoch:
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
    match seen.sight:
        case "started" if job.state != "RUNNING":
            transitions.happen(ctx, job, "started", started_at=ctx.now)
        case "never_ran" if job.cancel_asked_at is not None:
            if job.state != "RUNNING":
                transitions.happen(ctx, job, "cancelled", "Cancelled before it started.", ended_at=ctx.now)
        case "never_ran" if job.state != "RUNNING":
            transitions.happen(ctx, job, "put_back", queued_at=job.queued_at)
        case "lost" | "never_ran":
            said = f"Nobody can account for this job: {seen.detail}. It may have run, wholly or in part."
            transitions.happen(ctx, job, "lost", said, ended_at=ctx.now, log_size=report.log_size)
        case "ended" if seen.exit is not None:
            found = rules.outcome(seen.exit)
            transitions.happen(
                ctx,
                job,
                "ended",
                found.sentence,
                outcome=found.event,
                exit=msgspec.to_builtins(seen.exit),
                started_at=job.started_at or _moment(seen.exit.started_at, ctx.now),
                ended_at=_moment(seen.exit.ended_at, ctx.now),
                log_size=report.log_size,
                log_done=True,
            )
            ctx.enqueue(transitions.COLLECT, job.id, queue=transitions.LOCAL)
            ctx.publish(f"log:{job.id}", {"size": report.log_size, "done": True})
        case _:
            return


def _moment(seconds: float, now: dt.datetime) -> dt.datetime:
    """The runner's own time of an event, on the same machine's clock; never in the future of the hub's."""
    return min(dt.datetime.fromtimestamp(seconds, dt.UTC), now) if seconds else now
