"""The hub's half of an agent elsewhere: whose token it is, and that one account's port, with nothing taken on trust.

What comes over the wire is checked as what any stranger sends: a job that is not the account's own, and at work, is as
unknown as none, and what would not fit is refused before it is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.blobs import BlobStore
from hub.core import limits
from hub.core.context import Context
from hub.core.errors import Conflict, InvalidInput, NotFound, NotSignedIn, TooLarge
from hub.core.house import House
from hub.core.ids import secret_digest
from hub.jobs import transitions
from hub.jobs.anywhere.wire import Place
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.port import Answer, Load, Order, Report, Standing, Sweep
from hub.jobs.tables import backends, jobs
from hub.people.tables import persons
from hub.perform import record

_NATIVE = re.compile(r"[A-Za-z0-9_.:+\[\]-]{0,64}")
SAID_CHARACTERS, PARTITIONS = 4000, 1000
LATEST_SECONDS = 32_503_680_000  # the year 3000

_ACCOUNT = (
    sa.select(
        cluster_accounts.c.id,
        cluster_accounts.c.login,
        cluster_accounts.c.token,
        persons.c.handle,
        clusters.c.name,
        clusters.c.host,
        clusters.c.port,
        clusters.c.host_keys,
        clusters.c.jump,
        clusters.c.root,
        clusters.c.path,
    )
    .join(clusters, clusters.c.id == cluster_accounts.c.cluster)
    .join(persons, persons.c.id == cluster_accounts.c.person)
    .where(
        cluster_accounts.c.token_digest == sa.bindparam("which"),
        cluster_accounts.c.kind == "agent",
        cluster_accounts.c.removed_at.is_(None),
        clusters.c.removed_at.is_(None),
        persons.c.disabled_at.is_(None),
    )
)


def place_of(house: House, token: str) -> Place:
    """The account of a token, asked anew each time. Raises NotSignedIn."""
    with house.db.read() as conn:
        row = conn.execute(_ACCOUNT, {"which": secret_digest(token)}).first()
    if row is None:
        raise NotSignedIn(
            "this is not the token of an agent, or it is not valid any more",
            code="agent_token_refused",
            hint="`collegium cluster token NAME` makes a new one",
        )
    return Place(
        account=row.id,
        person=row.handle,
        cluster=row.name,
        login=row.login,
        host=row.host,
        port=row.port,
        host_keys=tuple(row.host_keys),
        jump=row.jump,
        root=row.root,
        path=tuple(row.path),
    )


class AgentPort(ClusterHousePort):
    """The port of one account, for an agent that is not in the house."""

    def ready(self, standing: Standing) -> None:
        """How the agent fared when it signed in, before it watches; once it was let in, jobs can go there."""
        _check_standing(standing)
        heard_at = self._house.clock.now().timestamp()
        kept = msgspec.to_builtins(msgspec.structs.replace(_clipped(standing), at=heard_at))

        def work(ctx: Context) -> None:
            row = ctx.execute(
                sa.select(cluster_accounts).where(cluster_accounts.c.id == self._backend).with_for_update()
            ).one()
            values: dict[str, Any] = {"standing": kept}
            if standing.reached and row.tested_at is None and row.removed_at is None:
                values["tested_at"] = ctx.now
                ctx.about("cluster_account", row.id, cluster=row.cluster)
            ctx.execute(sa.update(cluster_accounts).where(cluster_accounts.c.id == row.id).values(**values))

        record(self._house, "cluster_observed", work)

    def stands(self, epoch: int, standing: Standing) -> None:
        _check_standing(standing)
        super().stands(epoch, _clipped(standing))

    def heard(self, epoch: int, number: int, reports: Sequence[Report]) -> None:
        """As `report`, once for each number and never out of order. Raises Overtaken."""
        for at, each in enumerate(reports):
            _check_report(each, f"$.reports[{at}]")
        sizes = {each.job: self._logs.size(each.job) for each in reports}
        reports = [msgspec.structs.replace(each, log_size=min(each.log_size, sizes[each.job])) for each in reports]

        def work(ctx: Context) -> None:
            self._check(ctx.conn, epoch, lock=True)
            mine = backends.c.name == self._backend
            if ctx.execute(sa.select(backends.c.heard).where(mine)).scalar_one() >= number:
                return
            ctx.execute(sa.update(backends).where(mine).values(heard=number))
            # Of another's job, or of one that has ended, an agent has nothing to say: it is passed over.
            known = set(
                ctx.execute(
                    sa.select(jobs.c.id).where(self._is_mine(), jobs.c.id.in_({each.job for each in reports}))
                ).scalars()
            )
            self._take(ctx, [each for each in reports if each.job in known])

        record(self._house, transitions.OBSERVED, work)

    def answer(self, epoch: int, answers: Sequence[Answer]) -> None:
        for at, each in enumerate(answers):
            _checked(each.digest, each.refusal, where=f"$.answers[{at}]")
            _check_moment(each.starts_at or 0.0, f"$.answers[{at}].starts_at")
        super().answer(epoch, answers)

    def swept(self, epoch: int, sweep: Sweep) -> None:
        """Only what may go is taken for gone."""
        for name in ("folders", "size_bytes", "strange", "left"):
            if not 0 <= getattr(sweep, name) < 1 << 62:
                raise InvalidInput("this is out of range", path=f"$.sweep.{name}")
        due = {job for job, _ in self.sweepable(epoch)}
        super().swept(epoch, msgspec.structs.replace(sweep, jobs=tuple(job for job in sweep.jobs if job in due)))

    def add_log(self, epoch: int, job: str, offset: int, piece: bytes) -> int:
        """As `append_log`, of a job that is at work here. Raises Overtaken and HubError."""
        self.mine(epoch, job)
        if offset + len(piece) > limits.LOG_BYTES:
            raise TooLarge(f"a log has at most {limits.LOG_BYTES} bytes", code="log_too_long", path="offset")
        return self.append_log(epoch, job, offset, piece)

    def ordered(self, epoch: int, job: str) -> Order | None:
        """As `order`; of a job of somebody else's it is not said that there is one."""
        self.mine(epoch, job)
        return self.order(epoch, job)

    def input(self, epoch: int, job: str, digest: str, offset: int) -> Iterator[bytes]:
        """The bytes of one of the inputs, from an offset, while the job is to be submitted."""
        row = self.mine(epoch, job)
        size = next((each["size"] for each in row.inputs if each["digest"] == digest), None)
        if size is None or row.state != "SUBMITTING":
            raise NotFound("this job has no such input", code="input_not_found", path="digest")
        if offset > size:
            raise InvalidInput("the input ends before that", path="offset")
        return self._house.port(BlobStore).open(digest, row.session, offset)  # type: ignore[type-abstract]

    def given(self, epoch: int, job: str) -> bytes:
        """How the inputs of a run lie there, for an agent that was not the one to lay them."""
        row = self.mine(epoch, job)
        try:
            return (self.folder(job, row.run) / "given.json").read_bytes()
        except FileNotFoundError:
            raise NotFound("this run was never ordered", code="not_ordered", path="job") from None

    def mine(self, epoch: int, job: str) -> Any:
        """The row of a job that is at work under this account. Raises Overtaken and NotFound."""
        with self._house.db.read() as conn:
            self._check(conn, epoch)
            row = conn.execute(sa.select(jobs).where(jobs.c.id == job, self._is_mine())).first()
        if row is None:
            raise NotFound("no such job is at work under this account", code="job_not_found", path="job")
        return row

    def coming_home(self, epoch: int, job: str, run: int) -> tuple[str, ...]:
        """Which outputs come however large. Raises Conflict for a run of which none are, or no more, to be brought."""
        row = self.mine(epoch, job)
        if row.state != "COLLECTING" or row.run != run:
            raise Conflict("nothing of this run is to be brought now", code="not_collecting", path="run")
        return tuple(row.fetch_patterns or ())


def _check_report(report: Report, where: str) -> None:
    seen = report.seen
    if not _NATIVE.fullmatch(seen.native):
        raise InvalidInput("this is no id of a scheduler's job", path=f"{where}.seen.native")
    end = seen.exit
    _checked(seen.detail, *((end.reason, end.detail, end.by) if end else ()), where=f"{where}.seen")
    if report.log_size < 0:
        raise InvalidInput("a size is not negative", path=f"{where}.log_size")
    _check_moment(seen.starts_at, f"{where}.seen.starts_at")
    if report.wish is not None:
        _checked(report.wish.refused, where=f"{where}.wish")
    if (told := report.attached) is not None:
        _checked(told.name, told.log_path, where=f"{where}.attached")
        _check_moment(told.started_at, f"{where}.attached.started_at")
    if end is None:
        return
    for name in ("started_at", "ended_at"):
        _check_moment(getattr(end, name), f"{where}.seen.exit.{name}")
    for name in ("seconds", "cpu_seconds", "peak_memory_bytes", "peak_processes", "peak_disk_bytes"):
        if not 0 <= getattr(end, name) < 1 << 62:
            raise InvalidInput("this is out of range", path=f"{where}.seen.exit.{name}")


def _check_standing(standing: Standing) -> None:
    parts = [each.name for each in standing.partitions]
    _checked(standing.said, standing.version, *parts, where="$.standing")
    _check_moment(standing.told_at, "$.standing.told_at")
    _check_moment(standing.alone_until, "$.standing.alone_until")
    if len(parts) > PARTITIONS:
        raise InvalidInput(f"at most {PARTITIONS} partitions are told", path="$.standing.partitions")
    if standing.load is not None:
        _check_load(standing.load)


def _check_load(load: Load) -> None:
    _checked(load.said, *(each.name for each in load.rooms), where="$.standing.load")
    _check_moment(load.told_at, "$.standing.load.told_at")
    if len(load.rooms) > PARTITIONS:
        raise InvalidInput(f"at most {PARTITIONS} partitions are told", path="$.standing.load.rooms")
    amounts = [amount for each in load.rooms for amount in msgspec.structs.astuple(each)[1:]]
    if not all(amount is None or 0 <= amount < 1 << 62 for amount in [load.waiting, *amounts]):
        raise InvalidInput("this is out of range", path="$.standing.load")


def _check_moment(seconds: float, where: str) -> None:
    if not 0 <= seconds <= LATEST_SECONDS:
        raise InvalidInput("this is no moment in seconds", path=where)


def _checked(*texts: str, where: str) -> None:
    for text in texts:
        if "\0" in text or len(text) > SAID_CHARACTERS:
            raise InvalidInput(f"words have at most {SAID_CHARACTERS} characters and no NUL", path=where)


def _clipped(standing: Standing) -> Standing:
    per_minute = {kind[:20]: count for kind, count in list(standing.per_minute.items())[:20]}
    return msgspec.structs.replace(standing, per_minute=per_minute)
