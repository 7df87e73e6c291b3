"""The agent of one account on a cluster: submits, listens, asks, follows logs, cancels, and brings outputs home.

It knows its port and its backend and nothing else, so that it can run where the credential lives. Everything it does
is decided from what the hub has written down and from what lies on the cluster; what it remembers saves questions only,
so that one that was killed is replaced by one that looks at the same places.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path

import msgspec
import structlog

from hub.core import limits
from hub.jobs import remote, sending
from hub.jobs.asked import Free
from hub.jobs.backends import far_side, far_sweep, retrieval, slurm_rules
from hub.jobs.backends.judging import Known
from hub.jobs.backends.slurm import NotStaged, Run, SlurmBackend
from hub.jobs.backends.slurm_watch import Seen, SlurmWatch
from hub.jobs.backends.throttle import Throttle
from hub.jobs.beside import Beside
from hub.jobs.port import (
    Answer,
    Away,
    ClusterPort,
    Load,
    Observation,
    Order,
    Overtaken,
    Question,
    Report,
    Standing,
    Watched,
)
from hub.jobs.sending import CannotBeAsked
from hub.jobs.shell import NoLine, SshError
from hub.jobs.together import Together
from hub.jobs.turning import Turning

log = structlog.get_logger()

# Whoever wishes something of a job wakes the agent; a turn without that is for what nobody told it.
TURN_SECONDS = 0.5
# A turn looks at all jobs: whoever is woken again and again spends no more than a fifth of the time on that.
TIMES_ITS_COST = 5.0
LEASE_AGAIN_SECONDS = 2.0
LOG_SECONDS = 1.0
STANDING_SECONDS = 30.0
# Somebody may be about to submit; their questions are looked for so often, and put to Slurm no more than so often.
QUESTION_SECONDS = 0.5
ESTIMATES_PER_MINUTE = 6
PARTITIONS_SECONDS = 300.0
SWEEP_SECONDS = 3600.0
# So many orders are asked for at once: over HTTPS that is one question each.
ORDERS = 8
# So many bring their outputs home.
FETCHING_AT_ONCE = 2
# So many logs are asked for at once; where more are read, those that waited longest come first.
FOLLOWED = 50
# A job that has not started so long after it was accepted waits for something, and its owner wants to know for what.
WHY_IT_WAITS_SECONDS = 3.0
# How often something that could not be done is tried before the job is told that it cannot be. While there is no line
# nothing is tried: an outage ends no job, and costs none its outputs.
STAGINGS, FETCHES = 5, 8
DRAIN_SECONDS = 5.0
AGAIN_SECONDS = (2.0, 5.0, 15.0, 60.0, 120.0)

_ALL: Run = ("", 0)  # work that is about all of them


class ClusterAgent:
    """One account's work, turn by turn; what takes longer than a turn runs beside it."""

    def __init__(
        self, port: ClusterPort, backend: SlurmBackend, name: str, cluster: str, throttle: Throttle | None = None
    ) -> None:
        self.port, self.backend, self.name, self.cluster = port, backend, name, cluster
        self.watch = SlurmWatch(backend)
        self.throttle = throttle or Throttle()
        self._epoch: int | None = None
        self._leased_at = self._logged_at = self._stood_at = self._questioned_at = self._sinfo_at = -1e9
        self._swept_at = -1e9
        self._partitions: tuple[Free, ...] = ()
        self._told_at = 0.0
        self._load: Load | None = None
        self._watched: list[Watched] = []
        self._behind: set[Run] = set()  # of what was asked for last, whose log had more than was taken
        self._look_again_at, self._look_took = float("inf"), 0.0
        self._beside = Beside(name, AGAIN_SECONDS, is_away=self._is_away, overtaken=self._overtaken, is_fault=_is_fault)
        self._looked: dict[Run, float] = {}  # when its log was last asked for
        self._sent: set[Run] = set()  # sbatch was called for these, or may have been
        self._untold: Seen = []  # what the hub, being away, has not heard yet
        self._submitting = asyncio.Semaphore((backend.connection.shells + 1) * sending.MOST)
        self._sender = sending.Sender(port, backend)
        self._order = Together(self._orders, fits=lambda waiting: min(len(waiting), ORDERS), at_once=2)
        self._tell_one = Together(self._tell_all)
        self._fetching = asyncio.Semaphore(FETCHING_AT_ONCE)
        self._turning = Turning(name, self.turn, self._overtaken, TURN_SECONDS, self._rests)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is away (the database, the cluster) is waited for."""
        try:
            await self._turning.run(stop)
        finally:
            # A submission that is broken off leaves a doubt, which takes longer to settle than its end takes.
            await self._beside.drain("submit", DRAIN_SECONDS)
            await self.close()

    def wake(self) -> None:
        """Take the next turn now."""
        self._turning.wake()

    def retry(self) -> None:
        """Something that was out of reach is back."""
        self._beside.retry()
        self.wake()

    async def close(self) -> None:
        await self._beside.close()
        for each in (self._order, self._tell_one, self._sender):
            await each.close()
        await self.backend.connection.close()

    # --- one turn

    async def turn(self) -> bool:
        """Look at what the hub wants and start what is due; says whether there is anything. Raises Overtaken."""
        now = time.monotonic()
        if self._epoch is None or now - self._leased_at >= LEASE_AGAIN_SECONDS:
            self._epoch = await asyncio.to_thread(self.port.lease, self.name)
            self._leased_at = now
        if self._epoch is None:
            return False  # Standing by, while another agent works.
        self._watched = await asyncio.to_thread(self.port.watched, self._epoch)
        self._look_took = time.monotonic() - now
        self._forget()
        if self._untold:
            await self._report([])
        self._attend_each()
        if live := self._live():
            await self._attend(live, now)
        else:
            self._beside.end(("listen", _ALL))
        if now - self._questioned_at >= QUESTION_SECONDS:
            self._questioned_at = now
            if await asyncio.to_thread(self.port.questions, self._epoch):
                self._beside.start(("estimate", _ALL), self._estimate)
        if self._watched and now - self._sinfo_at >= PARTITIONS_SECONDS:
            self._beside.start(("sinfo", _ALL), self._look_around)
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._beside.start(("sweep", _ALL), self._sweep)
        if now - self._stood_at >= STANDING_SECONDS and self._watched:
            self._stood_at = now
            await asyncio.to_thread(self.port.stands, self._epoch, self.standing())
            self.throttle.periods = await asyncio.to_thread(self.port.rate, self._epoch)
        return bool(self._watched)

    def _attend_each(self) -> None:
        """What is to be done for one job and not for all."""
        for job in self._watched:
            run = (job.job, job.run)
            if job.state == "SUBMITTING" and run not in self._sent and job.native is None:
                self._beside.start(("submit", run), self._submit, job)
            elif job.state == "COLLECTING":
                self._beside.start(("fetch", run), self._fetch, job)
            elif job.state == "PENDING" and job.leaves and not job.cancel_asked:
                self._beside.start(("leave", run), self._leave, job)

    async def _attend(self, live: Sequence[Known], now: float) -> None:
        """Hear and ask what becomes of what Slurm has, and pass wishes on."""
        self._beside.start(("listen", _ALL), self._listen)
        await self._report(await self._unless_away(self.watch.news(live)))
        if any(each.cancel_asked for each in live):
            self._beside.start(("cancel", _ALL), self._cancel)
        if any(job.wish is not None and job.native is not None for job in self._watched):
            self._beside.start(("wish", _ALL), self._pass_wishes_on)
        if now >= self._look_again_at:
            self._look_again_at = float("inf")
            if any(job.state == "PENDING" for job in self._watched):
                self.watch.look_soon()
        if self.watch.due(len(live)):
            self._beside.start(("poll", _ALL), self._poll)
        if now - self._logged_at >= LOG_SECONDS:
            self._beside.start(("logs", _ALL), self._follow)

    def _live(self) -> list[Known]:
        """The runs that Slurm has, or may have; not those that leave, of which only the run's own lock can tell."""
        return [
            self.watch.known(job)
            for job in self._watched
            if job.state != "COLLECTING"
            and (not job.leaves or job.cancel_asked or job.state == "RUNNING")
            and (job.native is not None or (job.job, job.run) in self._sent)
        ]

    def standing(self) -> Standing:
        """How it stands with the scheduler, for people to see."""
        kinds = {kind for _, kind in self.backend.asked}
        breaker, now = self.backend.connection.breaker, time.time()
        pause = breaker.closed_until - time.monotonic()
        return Standing(
            reached=not self.watch.away,
            said=self.watch.away[:500],
            per_minute={kind: count for kind in sorted(kinds) if (count := self.backend.per_minute(kind))},
            channels=self.backend.connection.most_channels,
            partitions=self._partitions,
            told_at=self._told_at,
            version=self.backend.version,
            alone_until=now + pause if breaker.failures and pause > 0 else 0.0,
            alone_for_good=breaker.for_good,
            load=self._load,
        )

    def _forget(self) -> None:
        alive = {(job.job, job.run) for job in self._watched}
        self._sent &= alive
        self._looked = {run: at for run, at in self._looked.items() if run in alive}
        self._untold = [each for each in self._untold if each[0] in alive]
        for run in self._beside.under_way("fetch") - alive:  # its outputs are not waited for any more
            self._beside.end(("fetch", run))
        self.watch.forget(alive)
        self._beside.forget(alive)

    def _is_away(self, error: Exception) -> bool:
        if isinstance(error, SshError):
            self.watch.unreached(error)
        return isinstance(error, SshError)

    def _rests(self) -> float:
        return min((TIMES_ITS_COST - 1) * self._look_took, TURN_SECONDS)

    def _overtaken(self) -> None:
        self._epoch = None

    async def _unless_away(self, asked: Awaitable[Seen]) -> Seen:
        try:
            return await asked
        except SshError as error:
            self.watch.unreached(error)
            return []

    async def _report(self, seen: Seen) -> None:
        """Pass on what is news, with the logs brought first of what is over: no more can be written to them.

        What a hub that is away does not hear is told again, in its order, before anything that is seen later.
        """
        seen = [*self._untold, *(each for each in seen if each not in self._untold)]
        self._untold = []
        try:
            await self._tell(seen)
        except Away:
            self._untold = [*seen, *self._untold]

    async def _tell(self, seen: Seen) -> None:
        by_run = {(job.job, job.run): job for job in self._watched}
        news = [(self._placed(by_run[run]), found) for run, found in seen if run in by_run]
        sizes = await self._whole_logs([job for job, found in news if found.sight in ("ended", "lost")])
        reports = [
            Report(
                job.job,
                job.run,
                found,
                sizes.get((job.job, job.run), job.log_size),
                attached=self.watch.outside.get((job.job, job.run)),
            )
            for job, found in news
        ]
        if reports and self._epoch is not None:
            await asyncio.to_thread(self.port.report, self._epoch, reports)
            self.watch.changed()

    def _placed(self, job: Watched) -> Watched:
        """A job that was submitted outside the hub tells where its log lies when it is seen."""
        told = self.watch.outside.get((job.job, job.run))
        return job if told is None else msgspec.structs.replace(job, log_path=told.log_path)

    # --- submitting

    async def _submit(self, job: Watched) -> None:
        run = (job.job, job.run)
        async with self._submitting:
            if self._epoch is None:
                return
            if job.cancel_asked:
                await self._cancel_unsent(job)
                return
            epoch, order = await self._order(job.job)
            if order is None or order.run != job.run:
                return
            try:
                made = await self._sender.send(epoch, order)
            except CannotBeAsked as fault:
                await self._tell_one((run, Observation("refused", detail=str(fault))))
                return
            except NotStaged as error:
                if self._beside.failed(("submit", run)) + 1 < STAGINGS:
                    raise
                said = f"Its folder could not be laid on {self.cluster}: {error}"
                await self._tell_one((run, Observation("refused", detail=said[:1000])))
                return
            self._sent.add(run)
            self.watch.changed()
            if made.refusal:
                said = f"{self.cluster} would not take it: {made.refusal}"
                await self._tell_one((run, Observation("refused", detail=said)))
            elif made.native is not None:
                await self._tell_one((run, Observation("waiting", detail="In Slurm's queue.", native=made.native)))
                self._look_again_at = time.monotonic() + WHY_IT_WAITS_SECONDS
            else:
                log.warning("agent.submission_in_doubt", agent=self.name, job=job.job, run=job.run, why=made.doubt)

    async def _orders(self, which: list[str], tell: object = None) -> Sequence[tuple[int, Order | None] | Exception]:
        """What is to be submitted, under which epoch; one that cannot be told keeps no other from being told."""
        if (epoch := self._epoch) is None:
            raise Overtaken
        try:
            return [(epoch, order) for order in await asyncio.to_thread(self.port.orders, epoch, which)]
        except (Overtaken, Away):
            raise
        except Exception as error:
            if len(which) == 1:
                return [error]
            return [each for job in which for each in await self._orders([job])]

    async def _tell_all(self, seen: Seen, tell: object) -> Sequence[None]:
        await self._report(seen)
        return [None] * len(seen)

    async def _cancel_unsent(self, job: Watched) -> None:
        """Nothing was sent by us, but an agent before us may have: only the run's lock can tell."""
        run = (job.job, job.run)
        if await self.backend.forbid(job.job, job.run) is None:
            await self._report([(run, Observation("never_ran", detail="cancelled before it was submitted"))])
        self._sent.add(run)

    async def _leave(self, job: Watched) -> None:
        """It goes elsewhere unless it has started: its run is barred first, so that it never can, then cancelled.

        Broken off anywhere it is done again, with the same answer: a lock is never given back.
        """
        run = (job.job, job.run)
        if (holder := await self.backend.forbid(job.job, job.run)) is not None:
            await self._report([(run, Observation("started", native=holder))])
            return
        await self.backend.cancel([slurm_rules.token_of(self.backend.hub, job.job, job.run)])
        await self._report([(run, Observation("never_ran", detail="barred, since it goes elsewhere"))])

    # --- listening, asking, cancelling

    async def _listen(self) -> None:
        await self.watch.listen(self.wake)
        raise SshError("the spool is no longer watched")

    async def _poll(self) -> None:
        await self._report(await self.watch.poll(self._live()))

    async def _cancel(self) -> None:
        await self.watch.cancel(self._live())

    # --- what somebody about to submit wants to know

    async def _look_around(self) -> None:
        """What the cluster has and how busy it is, asked seldom."""
        before = self._sinfo_at
        if time.monotonic() - before < PARTITIONS_SECONDS:
            return
        self._sinfo_at = time.monotonic()
        try:
            found, waiting = await self.backend.partitions()
        except BaseException:
            self._sinfo_at = before
            raise
        self._told_at = time.time()
        self._partitions = tuple(slurm_rules.free(each) for each in found)
        rooms = tuple(slurm_rules.room(each) for each in found)
        self._load = Load(rooms=rooms, waiting=waiting, told_at=self._told_at)

    async def _estimate(self) -> None:
        """Put the questions to Slurm, as many as a minute allows; the others are asked in the next."""
        if (epoch := self._epoch) is None:
            return
        try:
            await self._look_around()
            # Looked for once more: what the last round answered meanwhile is not to be asked again.
            for each in await asyncio.to_thread(self.port.questions, epoch):
                if self.backend.per_minute("estimate") >= ESTIMATES_PER_MINUTE:
                    break
                await self._put(epoch, each)
            self.watch.away = ""
        except SshError as error:
            self.watch.unreached(error)
            raise
        finally:
            await asyncio.to_thread(self.port.stands, epoch, self.standing())

    async def _put(self, epoch: int, question: Question) -> None:
        found = await self.backend.estimate(question.options)
        starts = None if found.start is None else found.start.timestamp()
        answer = Answer(question.digest, starts, found.refusal if found.is_sure else "")
        await asyncio.to_thread(self.port.answer, epoch, [answer])

    async def _pass_wishes_on(self) -> None:
        """One after the other, each told at once: whoever comes after us need not ask again."""
        for job in self._watched:
            done = await self.watch.pass_on(job)
            if done is not None and self._epoch is not None:
                report = Report(job.job, job.run, Observation("nothing"), job.log_size, wish=done)
                await asyncio.to_thread(self.port.report, self._epoch, [report])

    # --- logs

    async def _follow(self) -> None:
        """The next pieces of the logs that somebody reads, one question for all of them."""
        self._logged_at = now = time.monotonic()
        read = [job for job in self._watched if job.state == "RUNNING" and job.read and job.log_size < limits.LOG_BYTES]
        asked = sorted(read, key=lambda job: self._looked.get((job.job, job.run), -1e9))[:FOLLOWED]
        if not asked:
            return
        grown = await self._take_logs(asked)
        self._looked |= {(job.job, job.run): now for job in asked}
        if len(read) > len(asked) or grown.keys() & self._behind:
            self._logged_at = -1e9  # There is more of them: at the next turn.

    async def _take_logs(self, wanted: Sequence[Watched]) -> dict[Run, int]:
        if (epoch := self._epoch) is None:
            raise Overtaken
        most = far_side.log_piece_bytes(len(wanted))
        ours = [(job.job, job.run, job.log_size) for job in wanted if not job.attached]
        pieces = await self.backend.logs(ours) if ours else {}
        theirs = [(job.job, job.run, job.log_size, job.log_path) for job in wanted if job.attached and job.log_path]
        if theirs:
            pieces |= await self.backend.files(theirs)
        self._behind = {run for run, (_, piece) in pieces.items() if len(piece) >= most}
        sizes: dict[Run, int] = {}
        for (job, run), (offset, piece) in pieces.items():
            kept = piece[: limits.LOG_BYTES - offset]
            sizes[job, run] = await asyncio.to_thread(self.port.append_log, epoch, job, offset, kept)
        self._watched = [
            msgspec.structs.replace(job, log_size=sizes.get((job.job, job.run), job.log_size)) for job in self._watched
        ]
        return sizes

    async def _whole_logs(self, ended: Sequence[Watched]) -> dict[Run, int]:
        """Bring the rest of these logs; says how much there is of each then."""
        sizes = {(job.job, job.run): job.log_size for job in ended}
        left = list(ended)
        while left := [job for job in left if job.log_size < limits.LOG_BYTES]:
            got = await self._take_logs(left[:FOLLOWED])
            grown = [
                msgspec.structs.replace(job, log_size=size)
                for job in left[:FOLLOWED]
                if (size := got.get((job.job, job.run), 0)) > job.log_size
            ]
            sizes |= {(job.job, job.run): job.log_size for job in grown}
            left = [*grown, *left[FOLLOWED:]]
        return sizes

    # --- outputs

    async def _fetch(self, job: Watched) -> None:
        async with self._fetching:
            epoch = self._epoch
            if epoch is None:
                return
            home = self.port.folder(job.job, job.run)
            if remote.kept(home) is None:  # else all of it is here, and only the hub has not heard of it
                self.throttle.periods = await asyncio.to_thread(self.port.rate, epoch)
                remote.keep(home, await self._brought(job, home))
            await asyncio.to_thread(self.port.fetched, epoch, job.job, job.run)

    async def _brought(self, job: Watched, home: Path) -> remote.Remote:
        """What is wanted lies below `home` now; what is not is told. Raises what is worth trying again after."""
        try:
            return await retrieval.bring(
                self.backend,
                job.job,
                job.run,
                home,
                declared=job.outputs,
                fetch=job.fetch,
                cluster=self.cluster,
                throttle=self.throttle,
            )
        except (SshError, OSError) as error:
            if not _is_fault(error) or self._beside.failed(("fetch", (job.job, job.run))) + 1 < FETCHES:
                raise
            lies = far_side.folder_of(await self.backend.root(), job.job, job.run)
            return remote.Remote(self.cluster, lies, [], failed=str(error)[:500])

    # --- clearing away

    async def _sweep(self) -> None:
        """Remove the folders of jobs that ended long ago, a few at a time, and tell it once."""
        if (epoch := self._epoch) is None:
            return
        due = await asyncio.to_thread(self.port.sweepable, epoch)
        found: list[far_sweep.Removed] = []
        runs = [(job, run) for job, last in due for run in range(1, max(1, last) + 1)]
        for at in range(0, len(runs), far_sweep.AT_A_TIME):
            found += await self.backend.sweep(runs[at : at + far_sweep.AT_A_TIME])
        if found:
            await asyncio.to_thread(self.port.swept, epoch, far_sweep.summed(due, found))


def _is_fault(error: Exception) -> bool:
    """Whether it says anything of the work: no line does not, and neither does a full disk of this machine."""
    return not isinstance(error, NoLine) and not (isinstance(error, OSError) and error.errno in retrieval.FULL)
