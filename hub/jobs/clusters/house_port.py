"""The hub as the agent of an account on a cluster sees it, when it runs in the house."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import sqlalchemy as sa

from hub.artifacts.blobs import BlobStore
from hub.core.context import Context
from hub.core.database import Tx
from hub.core.house import House
from hub.core.keys import unseal
from hub.jobs import estimates, rules, sweeping, transitions
from hub.jobs.backends.timetable import Period
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.house_port import HousePort
from hub.jobs.outputs import Given
from hub.jobs.port import Answer, ClusterPort, Order, Question, Standing, Sweep
from hub.jobs.requests import Environment, Resources
from hub.jobs.starting import local
from hub.jobs.tables import jobs
from hub.jobs.transitions import Job
from hub.people.tables import persons
from hub.perform import record

# Options stand at the head of a script; nobody writes more of them than this.
HEAD_BYTES = 64 << 10


def order_of(store: BlobStore, row: Job, text: str | None, defaults: dict[str, str], handle: str) -> Order:
    """What an agent is told to submit for a job's row; `text` is its script, when that was written out."""
    return Order(
        job=row.id,
        run=row.run,
        name=row.name,
        script=text,
        script_path=row.script_path or "",
        says=text[:HEAD_BYTES] if text is not None else _head(store, row),
        interpreter=tuple(row.interpreter),
        args=tuple(row.args),
        variables=dict(row.env),
        inputs=list(row.inputs),
        resources=msgspec.convert(row.resources, Resources),
        environment=msgspec.convert(row.environment, Environment),
        defaults=defaults,
        workdir=row.workdir or "",
        person=row.submitted_by,
        session=row.session,
        handle=handle,
        at=int(row.placed_at.timestamp()),
    )


def _head(store: BlobStore, row: Job) -> str:
    size = next(each["size"] for each in row.inputs if each["path"] == row.script_path)
    head = b"".join(store.open(row.script_digest, row.session, 0, min(size, HEAD_BYTES)))
    return head.decode(errors="replace")


class ClusterHousePort(HousePort, ClusterPort):
    """For one account; its agent holds the lease under the account's id."""

    def __init__(self, house: House, account: str) -> None:
        super().__init__(house, account)

    def _is_mine(self) -> sa.ColumnElement[bool]:
        alive = jobs.c.state.in_(rules.OCCUPYING)
        coming = sa.and_(jobs.c.state == "COLLECTING", jobs.c.fetched_run < jobs.c.run)
        return sa.and_(jobs.c.account == self._backend, sa.or_(alive, coming))

    def order(self, epoch: int, job: str) -> Order | None:
        return self.orders(epoch, [job])[0]

    def orders(self, epoch: int, which: Sequence[str]) -> list[Order | None]:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            rows = conn.execute(sa.select(jobs).where(jobs.c.id.in_(which), jobs.c.account == self._backend)).all()
            defaults = conn.execute(
                sa.select(clusters.c.defaults)
                .join(cluster_accounts, cluster_accounts.c.cluster == clusters.c.id)
                .where(cluster_accounts.c.id == self._backend)
            ).scalar_one()
            people = {row.submitted_by for row in rows}
            told = conn.execute(sa.select(persons.c.id, persons.c.handle).where(persons.c.id.in_(people)))
            handles = {row.id: row.handle for row in told}
        found: dict[str, Order] = {}
        store = self._house.port(BlobStore)  # type: ignore[type-abstract]
        for row in rows:
            if row.state == "SUBMITTING":
                text = None
                if row.script_sealed is not None:
                    key = self._house.keys.domain(row.session)
                    text = unseal(key, row.script_sealed, f"script:{row.id}").decode()
                found[row.id] = order_of(store, row, text, defaults, handles.get(row.submitted_by, ""))
                self._remember(found[row.id])
        return [found.get(job) for job in which]

    def _remember(self, order: Order) -> None:
        """How the inputs lie there, by which an untouched one is known when outputs are looked for."""
        folder = self.folder(order.job, order.run)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        laid = {each["path"]: Given(each["digest"], each["size"], order.at * 10**9) for each in order.inputs}
        (folder / "given.json").write_bytes(msgspec.json.encode(laid))

    def content(self, epoch: int, job: str, digest: str) -> Iterator[bytes]:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            row = conn.execute(
                sa.select(jobs.c.session, jobs.c.inputs).where(jobs.c.id == job, jobs.c.account == self._backend)
            ).one()
        if all(each["digest"] != digest for each in row.inputs):
            raise KeyError(digest)
        return self._house.port(BlobStore).open(digest, row.session)  # type: ignore[type-abstract]

    def folder(self, job: str, run: int) -> Path:
        return local(self._house.settings).folder(job, run)

    def fetched(self, epoch: int, job: str, run: int) -> None:
        def work(ctx: Context) -> None:
            self._check(ctx.conn, epoch, lock=True)
            row = transitions.lock(ctx, job)
            if row is None or row.state != "COLLECTING" or row.run != run or row.fetched_run >= run:
                return
            ctx.execute(sa.update(jobs).where(jobs.c.id == job).values(fetched_run=run))
            ctx.enqueue(transitions.COLLECT, job, queue=transitions.LOCAL)

        record(self._house, transitions.OBSERVED, work)

    def questions(self, epoch: int) -> list[Question]:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            return estimates.open_questions(conn, self._backend, self._house.clock.now())

    def answer(self, epoch: int, answers: Sequence[Answer]) -> None:
        now = self._house.clock.now()

        def work(tx: Tx) -> None:
            self._check(tx.conn, epoch, lock=True)
            for each in answers:
                estimates.keep(tx, self._backend, each, now)

        self._house.db.write(work)

    def stands(self, epoch: int, standing: Standing) -> None:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            before = conn.execute(
                sa.select(cluster_accounts.c.standing).where(cluster_accounts.c.id == self._backend)
            ).scalar()
        if not standing.version and before:
            # An agent that has only listened so far does not know it; whoever tried the account does.
            standing = msgspec.structs.replace(standing, version=before.get("version", ""))
        said_now = msgspec.structs.replace(standing, at=self._house.clock.now().timestamp())
        kept = json.loads(msgspec.json.encode(said_now))
        self._house.db.write(
            lambda tx: tx.execute(
                sa.update(cluster_accounts)
                .where(cluster_accounts.c.id == self._backend, cluster_accounts.c.removed_at.is_(None))
                .values(standing=kept)
            )
        )

    def rate(self, epoch: int) -> tuple[Period, ...]:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            found = conn.execute(
                sa.select(clusters.c.rate)
                .join(cluster_accounts, cluster_accounts.c.cluster == clusters.c.id)
                .where(cluster_accounts.c.id == self._backend)
            ).scalar()
        return msgspec.convert(found or [], tuple[Period, ...])

    def sweepable(self, epoch: int) -> list[tuple[str, int]]:
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            return sweeping.due(conn, self._backend, self._house.settings, self._house.clock.now())

    def swept(self, epoch: int, sweep: Sweep) -> None:
        def work(ctx: Context) -> None:
            self._check(ctx.conn, epoch, lock=True)
            sweeping.tell(ctx, self._backend, sweep)

        record(self._house, sweeping.SWEPT, work)
