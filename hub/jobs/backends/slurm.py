"""Slurm, reached over an account's one connection: what is asked of it, and how often.

Every question is about all of an account's jobs at once. Whatever could have been understood twice is asked so that it
cannot be: a run is submitted under a lock that is never broken, is known by its token in its name and comment, and
enters its program under a lock of its own. A question that failed tells nothing of any job.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import io
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import asyncssh
import msgspec

from hub.jobs.backends import far_batch, far_side, far_sweep, slurm_outside, slurm_rules
from hub.jobs.backends.ends import Folder, folders
from hub.jobs.backends.slurm_outside import Shown
from hub.jobs.backends.slurm_rules import Estimate, Partition, Row
from hub.jobs.backends.staging import Laid, bundle, small
from hub.jobs.port import Wished
from hub.jobs.shell import BrokenOff, Done, Doubtful, Heard, SshError, Unreachable
from hub.jobs.ssh import Connection, command

Run = tuple[str, int]

QUERY_SECONDS, SUBMIT_SECONDS, UNPACK_SECONDS = 60.0, 120.0, 3600.0
AT_A_TIME = 500
UPLOAD_PIECE = 1 << 18
# A batch is one argument of a shell; beside its files and options a member has its paths, and its heads in the archive.
BATCH_BYTES, MEMBER_BYTES = 100 << 10, 2 << 10


class SchedulerAway(SshError):
    """The scheduler did not answer a question; nothing is known that was not known before."""


class UnderWay(SshError):
    """A job is steered already, by a command whose end nobody has seen yet."""


class NotStaged(SshError):
    """The run's folder could not be laid, so nothing was submitted."""


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What an account finds on its cluster."""

    user: str
    home: str
    root: str
    version: str
    forgets_after: float
    accounting: bool
    cluster: str = ""
    missing: tuple[str, ...] = ()


class Submitted(msgspec.Struct, frozen=True):
    """What became of a submission: an id, or a certain refusal, or neither, and then nobody knows yet."""

    native: str | None = None
    refusal: str = ""
    doubt: str = ""


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A small submission: the run's folder with all its bytes, and the options for sbatch."""

    job: str
    run: int
    name: str
    options: Sequence[str]
    laid: Laid
    packed_bytes: int
    at: int


Answered = Submitted | Exception
Told = Callable[[int, Submitted], None]


class SlurmBackend:
    """One account on one cluster."""

    def __init__(
        self, connection: Connection, hub: str, *, root: str = "", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.connection, self.hub = connection, hub
        self.asked: list[tuple[float, str]] = []
        self._root, self._clock = root, clock
        self._site: Site | None = None

    # --- whom we talk to

    async def site(self) -> Site:
        """What is there; looked at once for each connection's life. Raises SshError."""
        if self._site is None:
            done = await self._ask("site", far_side.HELLO)
            lines = done.out.decode(errors="replace").splitlines()
            if done.code != 0 or len(lines) < 2 or not lines[1].startswith("/"):
                raise SchedulerAway(f"{self.connection.login.shown} tells nothing of itself: {done.said}")
            self._site = _site(lines, self._root or far_side.below_home(self.hub))
        return self._site

    @property
    def version(self) -> str:
        """Which Slurm it is, once it was looked at."""
        return "" if self._site is None else self._site.version

    async def root(self) -> str:
        return (await self.site()).root

    def per_minute(self, *kinds: str) -> int:
        """How many questions of these kinds were asked in the last minute."""
        now = self._clock()
        self.asked = [(at, kind) for at, kind in self.asked if now - at < 60.0]
        return len([kind for _, kind in self.asked if kind in kinds])

    async def _ask(
        self,
        kind: str,
        script: str,
        *,
        seconds: float = QUERY_SECONDS,
        urgent: bool = False,
        heard: Heard | None = None,
    ) -> Done:
        self.asked.append((self._clock(), kind))
        return await self.connection.run(script, seconds=seconds, urgent=urgent, heard=heard)

    # --- submitting

    async def submit(self, job: str, run: int, name: str, archive: Path, options: Sequence[str]) -> Submitted:
        """Lay the run's folder and submit it, unless that ever happened. Raises NotStaged, or Unreachable.

        Both mean that sbatch was not called by us, now. Everything that leaves room for doubt is a doubt.
        """
        packed = small(archive)
        if packed is None:
            await self._upload(archive, far_side.incoming(await self.root(), job, run))
        return await self._submit(job, run, self._options(job, run, name, options), packed)

    async def _submit(self, job: str, run: int, options: Sequence[str], packed: bytes | None) -> Submitted:
        script = far_side.submit(
            await self.root(),
            job,
            run,
            nonce=secrets.token_hex(8),
            bundle=None if packed is None else base64.encodebytes(packed).decode().strip(),
            options=options,
        )
        try:
            done = await self._ask("submit", script, seconds=SUBMIT_SECONDS if packed else UNPACK_SECONDS)
        except Doubtful as doubt:
            return _lost(doubt)
        return _became(done)

    async def submit_all(self, batch: Sequence[Parcel], told: Told = lambda at, made: None) -> list[Answered]:
        """As `submit`, for each of several that are small, by one command. Raises Unreachable.

        Each answer is about one of them alone, and who was accepted is `told` while others still wait; when no answer
        comes there is doubt. Who stands in the way of others is sent alone, and so is everybody who was kept from
        being laid or come to.
        """
        members = [
            far_batch.Member(each.job, each.run, self._options(each.job, each.run, each.name, each.options))
            for each in batch
        ]
        if len(batch) == 1:
            packed = await asyncio.to_thread(_packed, batch, alone=True)
            try:
                return [await self._submit(batch[0].job, batch[0].run, members[0].options, packed)]
            except NotStaged as error:
                return [error]
        packed = await asyncio.to_thread(_packed, batch)
        archive, mark = base64.encodebytes(packed).decode().strip(), secrets.token_hex(16)
        listening = _Listening(mark, told)
        try:
            script = far_batch.submit(await self.root(), members, nonce=secrets.token_hex(8), mark=mark, bundle=archive)
            self.asked += [(self._clock(), "submit")] * (len(batch) - 1)
            # One that hangs does so as long as it may alone; the others take their time, too.
            seconds = SUBMIT_SECONDS * (1 + len(batch) / 60)
            done = await self._ask("submit", script, seconds=seconds, heard=listening.heard)
        except ValueError:  # it is no script that can be sent, and nothing was
            return [await self._alone(each) for each in batch]
        except Doubtful as doubt:
            return [listening.accepted.get(at, _lost(doubt)) for at in range(len(batch))]
        found: list[Answered] = []
        for each, said in zip(batch, far_batch.answers(done, mark, len(batch)), strict=False):
            try:
                found.append(_became(said))
            except NotStaged:
                found.append(await self._alone(each))
        if len(found) < len(batch):
            found.append(Submitted(doubt=f"the command that carried it ended with {done.code} before it was answered"))
        # They go one after the other, and what would have begun the next has ended: these were not come to.
        for each in batch[len(found) :]:
            found.append(await self._alone(each))
        return found

    async def _alone(self, parcel: Parcel) -> Answered:
        try:
            return (await self.submit_all([parcel]))[0]
        except (Unreachable, ValueError) as error:
            return error

    def fits(self, waiting: Sequence[Parcel]) -> int:
        """How many of those who wait, from the first, go by one command; at least one."""
        size = count = 0
        for each in waiting:
            size += each.packed_bytes * 4 // 3 + sum(map(len, each.options)) * 2 + MEMBER_BYTES
            if count and size > BATCH_BYTES:
                break
            count += 1
        return count

    def _options(self, job: str, run: int, name: str, options: Sequence[str]) -> list[str]:
        return [*slurm_rules.known_by(name, slurm_rules.token_of(self.hub, job, run)), *options]

    async def _upload(self, archive: Path, target: str) -> None:
        """Bring the archive there, from where an earlier try broke off: its bytes are always the same.

        Raises NotStaged when the far side would not take it, or Unreachable when the line broke off.
        """
        try:
            async with self.connection.files() as sftp:
                await _send(sftp, archive, target)
        except BrokenOff as error:  # the same to whoever waits: sbatch was not called
            raise Unreachable(str(error)) from None
        except asyncssh.Error as error:
            raise NotStaged(f"its inputs could not be brought there: {error}") from None

    # --- looking

    async def queue(self) -> list[Row]:
        """All of the account's jobs that Slurm still lists: one question. Raises SchedulerAway or SshError."""
        done = await self._ask("squeue", far_side.squeue(slurm_rules.SQUEUE_FORMAT))
        if done.code != 0:
            raise SchedulerAway(f"squeue: {done.said[:300]}")
        return slurm_rules.squeue(done.out.decode(errors="replace"))

    async def accounts(self, natives: Sequence[str], since: dt.datetime | None, *, own_only: bool = False) -> list[Row]:
        """What accounting knows: of these ids, or, with `since`, of every job from then on. Raises as `queue`.

        With `own_only`, ids of other people's jobs are not told of.
        """
        site = await self.site()
        start = (since or dt.datetime(2000, 1, 1, tzinfo=dt.UTC)).strftime("%Y-%m-%dT%H:%M:%S")
        script = far_side.sacct(slurm_rules.SACCT_FIELDS, site.user, [] if since else natives, start, own_only=own_only)
        done = await self._ask("sacct", script)
        if done.code != 0:
            raise SchedulerAway(f"sacct: {done.said[:300]}")
        return slurm_rules.sacct(done.out.decode(errors="replace"))

    async def folders(self, runs: Sequence[Run]) -> dict[Run, Folder]:
        """What the folders of runs tell first hand; asks the file system, not the scheduler."""
        found: dict[Run, Folder] = {}
        root = await self.root()
        for at in range(0, len(runs), AT_A_TIME):
            done = await self._ask("files", far_side.ends(root, runs[at : at + AT_A_TIME]))
            if done.code != 0:
                raise SchedulerAway(f"the folders of jobs cannot be read: {done.said[:300]}")
            found |= folders(done.out.decode(errors="replace"))
        return found

    async def logs(self, wanted: Sequence[tuple[str, int, int]]) -> dict[Run, tuple[int, bytes]]:
        """The next bytes of logs, at most a mebibyte of each: {(job, run): (offset, bytes)}."""
        done = await self._ask("files", far_side.log_pieces(await self.root(), wanted))
        return _pieces(done.out)

    async def show(self, native: str) -> list[Shown]:
        """What Slurm tells of one job, which the caller knows to be the account's own; nothing once it is forgotten."""
        script = f"{far_side.QUERY} {command(['scontrol', 'show', 'job', native])}"
        done = await self._ask("control", script)
        return slurm_outside.shown(done.out.decode(errors="replace")) if done.code == 0 else []

    async def files(self, wanted: Sequence[tuple[str, int, int, str]]) -> dict[Run, tuple[int, bytes]]:
        """As `logs`, of files by their paths: each (job, run, offset, path)."""
        done = await self._ask("files", far_side.file_pieces(wanted))
        return _pieces(done.out)

    async def events(self) -> AsyncIterator[tuple[str, int, str, str, str]]:
        """(job, run, what happened, Slurm's id, nodes), as runs tell it themselves; ends when the connection does."""
        async with self.connection.stream(far_side.watch(await self.root())) as process:
            while line := await process.stdout.readline():
                name, _, rest = line.decode(errors="replace").strip().partition(" ")
                # JOB.RUN[.TASK].KIND
                parts = name.split(".")
                if len(parts) >= 3 and parts[1].isdigit():
                    native, _, more = rest.partition(" ")
                    yield parts[0], int(parts[1]), parts[-1], native, more.partition(" ")[2]

    # --- acting

    async def adopt(self, job: str, run: int, native: str) -> None:
        await self._ask("files", far_side.adopt(await self.root(), job, run, native))

    async def forbid(self, job: str, run: int) -> str | None:
        """See to it that no job can ever enter this run; the id of the one that has, if one has."""
        done = await self._ask("files", far_side.forbid(await self.root(), job, run))
        holder = done.out.decode(errors="replace").strip()
        if done.code != 0 or not holder:
            raise SchedulerAway(f"the run's lock cannot be read: {done.said[:300]}")
        return None if holder == "nobody" else holder

    async def cancel(self, tokens: Sequence[str], only: Sequence[str] = (), *, theirs: Sequence[str] = ()) -> None:
        """End whatever bears these tokens, or those of these ids that do; asking again does no harm.

        `theirs` are the ids of jobs that were submitted outside, which bear none. Raises SchedulerAway or SshError.
        """
        scripts = [far_side.cancel(tokens[at : at + AT_A_TIME], only) for at in range(0, len(tokens), AT_A_TIME)]
        scripts += [f"{command(['scancel', '--quiet', *theirs])} || :"] if theirs else []
        for script in scripts:
            done = await self._ask("cancel", script, urgent=True)
            if done.code != 0:
                raise SchedulerAway(f"scancel: {done.said[:300]}")

    async def sweep(self, runs: Sequence[Run], *, seconds: float = far_sweep.SECONDS) -> list[far_sweep.Removed]:
        """Remove the folders of runs that are over, as far as there is time; says what became of each."""
        if not runs:
            return []
        done = await self._ask("sweep", far_sweep.sweep(await self.root(), runs), seconds=seconds)
        return far_sweep.removed(done.out.decode(errors="replace"))

    async def tidy(self) -> None:
        """Remove the folders around the runs', if they are empty."""
        await self._ask("sweep", far_sweep.tidy(await self.root()))

    async def control(self, job: str, run: int, native: str, wish: Wished, *, attached: bool = False) -> str:
        """Hold, release or requeue one job: why it cannot be, in words, or nothing.

        Asking again does no harm. One that is `attached` was submitted outside, and bears no token. Raises UnderWay
        while somebody's question before this one may yet take effect, SchedulerAway or SshError.
        """
        token = "" if attached else slurm_rules.token_of(self.hub, job, run)
        script = far_side.control(await self.root(), job, run, native, token, what=wish.what, number=wish.number)
        done = await self._ask("control", script, urgent=True)
        if done.code == 0:
            return ""
        if done.code == far_side.UNDER_WAY:
            raise UnderWay(f"somebody asks Slurm for something of {native} already")
        if done.code == far_side.NOT_NOW:
            return slurm_rules.not_now(done.out.decode(errors="replace"))
        if refused := slurm_rules.control_refusal(done.err.decode(errors="replace")):
            return refused
        raise SchedulerAway(f"scontrol {wish.what}: {done.said[:300]}")

    async def estimate(self, options: Sequence[str]) -> Estimate:
        """When Slurm would start such a job; nothing is submitted."""
        asked = command(["sbatch", "--test-only", "--output=/dev/null", *options])
        done = await self._ask("estimate", f"{far_side.QUERY} {asked} <<'~'\n#!/bin/sh\ntrue\n~")
        return slurm_rules.test_only((done.err + done.out).decode(errors="replace"))

    async def starts(self) -> dict[str, dt.datetime]:
        """When Slurm expects the account's waiting jobs to start."""
        done = await self._ask("estimate", f"{far_side.QUERY} squeue --me --start --noheader -o '%i|%S'")
        pairs = [line.strip().split("|") for line in done.out.decode(errors="replace").splitlines() if "|" in line]
        return {id_: at for id_, text in pairs if (at := slurm_rules.moment(text)) is not None}

    async def partitions(self) -> tuple[list[Partition], int | None]:
        """What there is, and how many jobs of anybody's wait for it, where the cluster shows that."""
        sinfo = f"sinfo --noheader -o '{slurm_rules.SINFO_FORMAT}'"
        waits = "squeue --noheader --array --states=PENDING --format=%t 2>/dev/null"
        done = await self._ask("sinfo", f"{far_side.QUERY} {sinfo} && echo waiting $({far_side.QUERY} {waits} | wc -l)")
        if done.code != 0:
            raise SchedulerAway(f"sinfo: {done.said[:300]}")
        told = done.out.decode(errors="replace")
        return slurm_rules.sinfo(told), slurm_rules.waiting(told)


class _Listening:
    """What a batch that is under way has answered so far: who was accepted."""

    def __init__(self, mark: str, told: Told) -> None:
        self.accepted: dict[int, Submitted] = {}
        self._mark, self._told, self._said = mark, told, b""

    def heard(self, piece: bytes) -> None:
        self._said += piece
        for at, (out, code) in far_batch.marked(self._said, self._mark).items():
            native = slurm_rules.accepted(out.decode(errors="replace")) if code == 0 else None
            if native is not None and at not in self.accepted:
                self.accepted[at] = Submitted(native)
                self._told(at, self.accepted[at])


async def _send(sftp: asyncssh.SFTPClient, archive: Path, target: str) -> None:
    part, size = f"{target}.part", archive.stat().st_size
    await sftp.makedirs(target.rpartition("/")[0], exist_ok=True)
    with contextlib.suppress(asyncssh.SFTPNoSuchFile):
        if (await sftp.stat(target)).size == size:
            return
    there = 0
    with contextlib.suppress(asyncssh.SFTPNoSuchFile):
        there = min((await sftp.stat(part)).size or 0, size)
    async with sftp.open(part, "r+b" if there else "wb") as far:
        with archive.open("rb") as near:
            near.seek(there)
            at = there
            while piece := near.read(UPLOAD_PIECE):
                await far.write(piece, at)
                at += len(piece)
        await far.truncate(size)
    await sftp.posix_rename(part, target)


def _packed(batch: Sequence[Parcel], *, alone: bool = False) -> bytes:
    """The archive of a batch, or of one that goes alone."""
    packed = io.BytesIO()
    if alone:
        bundle(packed, [("", each.laid, each.at) for each in batch])
    else:
        runs = [(far_batch.folder_in(each.job, each.run), each) for each in batch]
        bundle(packed, [(below, far_batch.marked_whole(each.laid), each.at) for below, each in runs])
    return packed.getvalue()


def _became(done: Done) -> Submitted:
    """What a submission's answer means. Raises NotStaged; what leaves room for doubt is a doubt."""
    if done.code == 0 and (native := slurm_rules.accepted(done.out.decode(errors="replace"))) is not None:
        return Submitted(native)
    if done.code == far_side.NOT_STAGED:
        raise NotStaged(done.said or "its folder could not be laid")
    if done.code == far_side.NOT_SUBMITTED and (words := slurm_rules.refusal(done.err.decode(errors="replace"))):
        return Submitted(refusal=words)
    if done.code == far_side.LOCKED:
        return Submitted(doubt="it was submitted before, and nobody wrote down the answer")
    return Submitted(doubt=f"sbatch gave no clear answer: {done.said[:300]}")


def _lost(doubt: Doubtful) -> Submitted:
    return Submitted(doubt=f"the answer to its submission was lost: {doubt}")


def _pieces(data: bytes) -> dict[Run, tuple[int, bytes]]:
    found: dict[Run, tuple[int, bytes]] = {}
    at = 0
    while (end := data.find(b"\n", at)) >= 0 and data[at : at + 2] == b"@ ":
        name, offset, length = data[at + 2 : end].decode(errors="replace").split(" ")
        job, _, run = name.rpartition("/")
        at = end + 1 + int(length)
        if at > len(data):
            break  # the limit of one answer: the rest comes next time
        found[job, int(run)] = (int(offset), data[end + 1 : at])
    return found


def _site(lines: Sequence[str], root: str) -> Site:
    user, home, *rest = lines
    told = dict(line.split(" ", 1) for line in rest if " " in line and not line.startswith("missing "))
    forgets = told.get("MinJobAge", "").partition(" ")[0]
    return Site(
        user=user,
        home=home,
        root=root if root.startswith("/") else f"{home}/{root}",
        version=told.get("version", "").removeprefix("slurm-wlm ").removeprefix("slurm "),
        forgets_after=float(forgets) if forgets.isdigit() and int(forgets) else 300.0,
        accounting="none" not in told.get("AccountingStorageType", ""),
        cluster=told.get("ClusterName", ""),
        missing=tuple(line.removeprefix("missing ") for line in rest if line.startswith("missing ")),
    )
