"""What becomes of an account's runs: told by themselves where they can, asked of Slurm where they cannot.

A run's own word (its spool) comes within a second or two; Slurm is asked at its pace, and has the last word on
everything but a program that ended well. What is kept here only saves questions: whoever starts anew sees the same.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from hub.core import limits
from hub.jobs.backends import judging, slurm_outside, slurm_rules
from hub.jobs.backends.ends import Folder, first_hand
from hub.jobs.backends.judging import Absence, Known, Verdict
from hub.jobs.backends.pace import Pace
from hub.jobs.backends.slurm import Run, SchedulerAway, SlurmBackend, UnderWay
from hub.jobs.backends.slurm_rules import Row, token_of
from hub.jobs.port import Attached, Observation, PassedOn, Watched
from hub.jobs.rules import Exit
from hub.jobs.shell import SshError

log = structlog.get_logger()
CANCEL_AGAIN_SECONDS, STEER_AGAIN_SECONDS = 15.0, 5.0
# Accounting is asked for jobs without an id from so long before they were missed.
LOOK_BACK = dt.timedelta(hours=3)

Seen = list[tuple[Run, Observation]]


class SlurmWatch:
    """Asks and listens for one account."""

    def __init__(self, backend: SlurmBackend, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.backend = backend
        self.pace = Pace()
        self.away = ""  # why the scheduler does not answer, while it does not
        self.strangers = 0
        self._clock = clock
        # kind -> Slurm's id and the nodes; a short job's come in any order
        self._news: dict[Run, dict[str, tuple[str, str]]] = {}
        self.outside: dict[Run, Attached] = {}  # what Slurm told of jobs that others submitted
        self._absences: dict[Run, Absence] = {}
        self._cancelled: dict[Run, float] = {}
        self._steered: dict[Run, float] = {}  # when another's command for it was still under way

    def known(self, job: Watched) -> Known:
        token = token_of(self.backend.hub, job.job, job.run)
        seen = job.state != "SUBMITTING"
        return Known(job.job, job.run, token, job.name, job.native, job.cancel_asked, job.attached, seen)

    # --- what runs tell by themselves

    async def listen(self, told: Callable[[], None]) -> None:
        """Take what the spool tells, until the connection ends. Raises SshError."""
        async for job, run, kind, native, nodes in self.backend.events():
            self._news.setdefault((job, run), {})[kind] = (native, nodes)
            told()

    async def news(self, known: Sequence[Known]) -> Seen:
        """What runs told since the last look, as far as their word is enough; for the rest Slurm is asked sooner."""
        if not self._news:
            return []
        told, self._news = self._news, {}
        by_run = {(each.job, each.run): each for each in known}
        seen: Seen = []
        ended = [run for run, kinds in told.items() if "EXIT" in kinds and run in by_run]
        for run, kinds in told.items():
            if "STARTED" in kinds and "EXIT" not in kinds and run in by_run:
                native, nodes = kinds["STARTED"]
                seen.append((run, Observation("started", native=native, detail=nodes)))
        found = await self.backend.folders(ended) if ended else {}
        for run in ended:
            folder = found.get(run, Folder())
            if (end := first_hand(folder, None)) is not None:
                seen.append((run, Observation("ended", _with_log(end, folder), native=folder.ends[""].id)))
            else:
                self.pace = self.pace.nudge(self._clock())
        return seen

    # --- what Slurm is asked

    def due(self, live: int) -> bool:
        return self.pace.due(self._clock(), live)

    def wait(self, live: int) -> float:
        return self.pace.wait(self._clock(), live)

    async def poll(self, known: Sequence[Known]) -> Seen:
        """One question about all of them. Raises SshError, and then nothing is known that was not known before."""
        site = await self.backend.site()
        began = self._clock()
        try:
            rows = await self.backend.queue()
        finally:
            self.pace = self.pace.was_asked(began, self._clock() - began, changed=False)
        self.pace = msgspec.structs.replace(self.pace, forgets_after=site.forgets_after)
        self.away = ""
        seen = await self._judge([each for each in known if not each.attached], rows)
        if outside := [each for each in known if each.attached]:
            seen += await self._look_outside(outside, rows)
        return seen

    def look_soon(self) -> None:
        """Ask as soon as the pace allows."""
        self.pace = self.pace.nudge(self._clock())

    def changed(self) -> None:
        """Something did, and more is likely to."""
        self.pace = msgspec.structs.replace(self.pace, changed_at=self._clock())

    async def _judge(self, known: Sequence[Known], rows: Sequence[Row]) -> Seen:
        by_token = judging.tokens(known, rows)
        unsure = [
            each
            for each in known
            if not (mine := by_token.get(each.token))
            or any(row.standing == "ended" for row in mine)
            or len({row.base for row in mine}) > 1
        ]
        found = await self.backend.folders([(each.job, each.run) for each in unsure]) if unsure else {}
        seen: Seen = []
        absent: list[Known] = []
        strangers: list[str] = []
        for each in known:
            run = (each.job, each.run)
            mine = judging.of_the_holder(by_token.get(each.token, []), found.get(run))
            if not mine:
                absent.append(each)
                continue
            verdict = judging.listed(each, mine, found.get(run), self._absences.get(run), self._clock())
            strangers += verdict.strangers
            self._note(run, verdict, found.get(run), seen)
        if absent:
            await self._judge_absent(absent, found, seen)
        await self._end_strangers(strangers, known, rows)
        return seen

    def _note(self, run: Run, verdict: Verdict, folder: Folder | None, seen: Seen) -> None:
        if verdict.seen is None:
            before = self._absences.get(run, Absence(self._clock()))
            self._absences[run] = Absence(before.since, before.polls + 1, before.accounts)
            return
        self._absences.pop(run, None)
        found = verdict.seen
        if found.exit is not None and folder is not None:
            found = Observation(found.sight, _with_log(found.exit, folder), found.detail, found.native)
        seen.append((run, found))

    async def _judge_absent(self, absent: Sequence[Known], found: dict[Run, Folder], seen: Seen) -> None:
        site = await self.backend.site()
        asking: list[Known] = []
        for each in absent:
            run = (each.job, each.run)
            folder = found.get(run, Folder())
            absence = self._absences.setdefault(run, Absence(self._clock()))
            verdict = judging.unlisted(each, folder, absence, self._clock(), accounting=site.accounting)
            if verdict.ask_accounting:
                asking.append(each)
            elif verdict.forbid:
                await self._forbid(each, seen)
            else:
                self._note(run, verdict, folder, seen)
        if asking and self.pace.may(self._clock()):
            await self._ask_accounting(asking, found, seen)

    async def _ask_accounting(self, asking: Sequence[Known], found: dict[Run, Folder], seen: Seen) -> None:
        ids = [each.native or found.get((each.job, each.run), Folder()).given for each in asking]
        since = dt.datetime.now(dt.UTC) - LOOK_BACK if None in ids else None
        answered, rows = True, list[Row]()
        try:
            rows = await self.backend.accounts([native for native in ids if native], since)
        except SchedulerAway as error:
            log.info("slurm.accounting_away", account=self.backend.connection.login.shown, error=str(error))
            answered = False
        self.pace = self.pace.was_asked(self._clock(), self.pace.cost, changed=True)
        by_token = judging.tokens(asking, rows)
        for each in asking:
            run = (each.job, each.run)
            folder = found.get(run, Folder())
            absence = self._absences.get(run, Absence(self._clock()))  # it may have been forgotten meanwhile
            if mine := judging.of_the_holder(by_token.get(each.token, []), folder):
                verdict = judging.accounted(each, mine, folder)
            else:
                verdict = judging.unaccounted(each, folder, absence, self._clock(), answered=answered)
            if verdict.forbid:
                await self._forbid(each, seen)
            else:
                self._note(run, verdict, folder, seen)

    async def _forbid(self, known: Known, seen: Seen) -> None:
        """Nobody has seen it: make certain that it never runs, or learn that it does."""
        holder = await self.backend.forbid(known.job, known.run)
        run = (known.job, known.run)
        self._absences.pop(run, None)
        if holder is None:
            seen.append((run, Observation("never_ran", detail="Slurm never had it, and now it can no longer enter")))
        else:
            await self.backend.adopt(known.job, known.run, holder)
            seen.append((run, Observation("started", native=holder)))

    async def _end_strangers(self, found: Sequence[str], known: Sequence[Known], rows: Sequence[Row]) -> None:
        """Second copies, and what is left of earlier runs, which were forbidden: they must not take up nodes."""
        earlier = {token_of(self.backend.hub, each.job, run) for each in known for run in range(1, each.run)}
        left = [row.base for row in rows if row.token in earlier and row.standing in ("waiting", "running")]
        if ids := sorted({*found, *left}):
            self.strangers += len(ids)
            log.warning("slurm.second_copies", account=self.backend.connection.login.shown, ids=ids)
            await self.backend.cancel(sorted({each.token for each in known} | earlier), only=ids)

    # --- jobs that others submitted

    async def _look_outside(self, known: Sequence[Known], rows: Sequence[Row]) -> Seen:
        """They are read of and never touched. Raises SshError."""
        seen: Seen = []
        absent: list[Known] = []
        for each in known:
            run = (each.job, each.run)
            if (row := slurm_outside.mine(each, rows)) is None:
                absent.append(each)
                continue
            self._absences.pop(run, None)
            over = row.standing == "ended"
            if over or run not in self.outside:
                records = await self.backend.show(each.native or "")
                if records:
                    self.outside[run] = slurm_outside.attached(records)
                found = slurm_outside.ended(row, records) if over else slurm_rules.observation(row)
            else:
                found = slurm_rules.observation(row)
            # By the name it was given by who watches it: a task of an array is not the array.
            seen.append((run, msgspec.structs.replace(found, native=each.native)))
        if absent and self.pace.may(self._clock()):
            await self._account_for_outside(absent, seen)
        return seen

    async def _account_for_outside(self, absent: Sequence[Known], seen: Seen) -> None:
        answered, rows = True, list[Row]()
        site = await self.backend.site()
        if site.accounting:
            try:
                rows = await self.backend.accounts([each.native or "" for each in absent], None, own_only=True)
            except SchedulerAway as error:
                log.info("slurm.accounting_away", account=self.backend.connection.login.shown, error=str(error))
                answered = False
            self.pace = self.pace.was_asked(self._clock(), self.pace.cost, changed=True)
        for each in absent:
            run = (each.job, each.run)
            absence = self._absences.setdefault(run, Absence(self._clock()))
            row = slurm_outside.mine(each, rows)
            found = slurm_outside.absent(each, absence, self._clock(), answered=answered) if row is None else None
            if row is not None:
                found = msgspec.structs.replace(slurm_rules.observation(row), native=each.native)
            self._note(run, Verdict(found), None, seen)

    # --- wishes

    async def cancel(self, known: Sequence[Known]) -> None:
        """Pass on wishes to cancel, again after a while for those that go on. Raises SshError."""
        now = self._clock()
        wanted = [
            each
            for each in known
            if each.cancel_asked and now - self._cancelled.get((each.job, each.run), -1e9) >= CANCEL_AGAIN_SECONDS
        ]
        if not wanted:
            return
        ours = [each.token for each in wanted if not each.attached]
        await self.backend.cancel(ours, theirs=[each.native for each in wanted if each.attached and each.native])
        self._cancelled |= {(each.job, each.run): now for each in wanted}
        self.pace = self.pace.nudge(now)

    async def pass_on(self, job: Watched) -> PassedOn | None:
        """Have Slurm do what is wished of a job; None while it does not have it yet. Raises SshError."""
        run = (job.job, job.run)
        if job.wish is None or job.native is None or job.cancel_asked:
            return None
        if self._clock() - self._steered.get(run, -1e9) < STEER_AGAIN_SECONDS:
            return None
        try:
            refused = await self.backend.control(job.job, job.run, job.native, job.wish, attached=job.attached)
        except UnderWay:
            log.info("agent.wish_under_way", job=job.job, run=job.run, wish=job.wish.what)
            self._steered[run] = self._clock()
            return None
        self.look_soon()
        return PassedOn(job.wish.number, refused)

    def forget(self, alive: set[Run]) -> None:
        """What is no longer asked about."""
        for kept in (self._absences, self._cancelled, self._steered, self.outside):
            for run in kept.keys() - alive:
                del kept[run]

    def unreached(self, error: SshError) -> None:
        self.away = str(error)


def _with_log(end: Exit, folder: Folder) -> Exit:
    kept = min(folder.log_bytes, limits.LOG_BYTES)
    return msgspec.structs.replace(end, log_bytes=folder.log_bytes, log_kept_bytes=kept)
