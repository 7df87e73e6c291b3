"""The agent of a hub on a Kubernetes cluster: submits, looks, follows logs, cancels, and brings results home.

It knows its port and its backend and nothing else, so that it can run where the credential lives. What it remembers
saves questions only: one that was killed is replaced by one that looks at the same places.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hub.artifacts import rules as paths
from hub.core.errors import InvalidInput
from hub.jobs import outputs, remote
from hub.jobs.backends import far_sweep, kubernetes_prepare, kubernetes_rules
from hub.jobs.backends.kubernetes import KubernetesBackend, Run
from hub.jobs.backends.kubernetes_api import ClusterAway, Refused
from hub.jobs.backends.porter import NotStaged, PorterAway
from hub.jobs.beside import Beside
from hub.jobs.outputs import Found, Given
from hub.jobs.port import ClusterPort, Load, Observation, Overtaken, PassedOn, Report, Standing, Watched
from hub.jobs.turning import Turning

log = structlog.get_logger()

TURN_SECONDS = 0.3
LEASE_AGAIN_SECONDS = 2.0
STANDING_SECONDS = 30.0
SWEEP_SECONDS = 3600.0
LOAD_SECONDS = 60.0
AT_ONCE, SUBMITTING_AT_ONCE, FETCHING_AT_ONCE = 8, 4, 2
# A run that was seen and is nowhere to be found is not given up at the first look.
PATIENCE_SECONDS = 20.0
STAGINGS, FETCHES = 5, 8
AGAIN_SECONDS = (1.0, 2.0, 5.0, 15.0, 60.0)
LISTED = 20_000

_ALL: Run = ("", 0)  # work that is about all of them


class KubernetesAgent:
    """One hub's work in one namespace, turn by turn; what takes longer than a turn runs beside it."""

    def __init__(self, port: ClusterPort, backend: KubernetesBackend, name: str, cluster: str) -> None:
        self.port, self.backend, self.name, self.cluster = port, backend, name, cluster
        self._epoch: int | None = None
        self._leased_at = self._stood_at = self._swept_at = self._loaded_at = -1e9
        self._load: Load | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._submitting = asyncio.Semaphore(SUBMITTING_AT_ONCE)
        self._fetching = asyncio.Semaphore(FETCHING_AT_ONCE)
        self._beside = Beside(name, AGAIN_SECONDS, is_away=self._is_away, overtaken=self._overtaken, done=self._reached)
        self._unseen: dict[Run, float] = {}
        self._told: dict[Run, str] = {}
        self._away, self._was_away = "", False
        self._turning = Turning(name, self.turn, self._overtaken, TURN_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is away (the database, the cluster) is waited for."""
        try:
            await self._turning.run(stop)
        finally:
            await self.close()

    def wake(self) -> None:
        """Take the next turn now."""
        self._turning.wake()

    async def close(self) -> None:
        """Be done. A command that a thread has begun ends by itself, and may be repeated by the next agent."""
        await self._beside.close()
        self.backend.close()

    async def turn(self) -> bool:
        """Look at what the hub wants and start what is due; says whether there is anything. Raises Overtaken."""
        now = time.monotonic()
        if self._epoch is None or now - self._leased_at >= LEASE_AGAIN_SECONDS:
            self._epoch = await asyncio.to_thread(self.port.lease, self.name)
            self._leased_at = now
        epoch = self._epoch
        if epoch is None:
            return False  # Standing by, while another agent works.
        watched = await asyncio.to_thread(self.port.watched, epoch)
        self._forget({(job.job, job.run) for job in watched})
        seen = []
        for job in watched:
            if job.state == "COLLECTING":
                self._beside.start(("fetch", (job.job, job.run)), self._fetch, epoch, job)
            elif job.state == "SUBMITTING" and job.native is None:
                self._beside.start(("submit", (job.job, job.run)), self._submit, epoch, job)
            else:
                seen.append(self._look(epoch, job))
        reports = [report for report in await asyncio.gather(*seen) if report is not None]
        if reports:
            await asyncio.to_thread(self.port.report, epoch, reports)
        if now - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = now
            self._beside.start(("sweep", _ALL), self._sweep, epoch)
        if watched and now - self._loaded_at >= LOAD_SECONDS:
            self._loaded_at = now
            self._beside.start(("load", _ALL), self._look_around)
        # At once when it changes, and not before the cluster was asked anything.
        is_news = bool(self._away) != self._was_away or now - self._stood_at >= STANDING_SECONDS
        if watched and is_news and self.backend.api.asked:
            self._stood_at, self._was_away = now, bool(self._away)
            await asyncio.to_thread(self.port.stands, epoch, self.standing())
        return bool(watched)

    def standing(self) -> Standing:
        """How it stands with the cluster, for people to see."""
        return Standing(
            reached=not self._away, said=self._away[:500], per_minute=self.backend.api.per_minute(), load=self._load
        )

    async def _look_around(self) -> None:
        self._load = await asyncio.to_thread(self.backend.load)

    # --- looking

    async def _look(self, epoch: int, job: Watched) -> Report | None:
        async with self._slots:
            try:
                report = await asyncio.to_thread(self._look_now, epoch, job)
            except Overtaken:
                raise
            except (ClusterAway, Refused) as error:
                self._away = str(error)
                return None
            except Exception:  # One that cannot be looked at now must not keep the others.
                log.warning("agent.not_looked", agent=self.name, job=job.job, exc_info=True)
                return None
        self._away = ""
        return report

    def _look_now(self, epoch: int, job: Watched) -> Report | None:
        # First what became of it, then its log: after an end has been seen, no more can be written.
        run = (job.job, job.run)
        if job.cancel_asked:
            self.backend.cancel(*run)
        passed = self._pass_on(job)
        seen = self.backend.observe(*run)
        size = job.log_size
        while piece := self.backend.read_log(*run, size):
            size = self.port.append_log(epoch, job.job, size, piece)
        if seen.sight == "nothing":
            first = self._unseen.setdefault(run, time.monotonic())
            if time.monotonic() - first <= PATIENCE_SECONDS:
                return None
            seen = Observation("lost", detail="its Job is gone from the cluster, and so is its folder")
        else:
            self._unseen.pop(run, None)
        is_news = self._is_news(job, seen)
        return Report(job.job, job.run, seen, size, wish=passed) if is_news or passed is not None else None

    def _pass_on(self, job: Watched) -> PassedOn | None:
        """Hold it, release it or start it again, as is wished; asked again, to the same effect."""
        if job.wish is None or job.cancel_asked:
            return None
        if job.wish.what == "hold":
            held = self.backend.hold(job.job, job.run)
            return PassedOn(job.wish.number, "" if held else "a node has it already, or it is over")
        if job.wish.what == "requeue":
            return PassedOn(job.wish.number, self.backend.requeue(job.job, job.run))
        self.backend.release(job.job, job.run)
        return PassedOn(job.wish.number)

    def _is_news(self, job: Watched, seen: Observation) -> bool:
        run = (job.job, job.run)
        if seen.sight == "waiting":
            if job.state == "PENDING" and self._told.get(run) == seen.detail:
                return False
            self._told[run] = seen.detail
            return True
        if seen.sight == "started":
            before, is_known = self._told.get(run), job.state == "RUNNING"
            self._told[run] = seen.trouble if is_known else ""
            return not is_known or before != seen.trouble
        return True

    def _forget(self, alive: set[Run]) -> None:
        for kept in (self._unseen, self._told):
            for run in [run for run in kept if run not in alive]:
                del kept[run]
        self._beside.forget(alive)

    def _is_away(self, error: Exception) -> bool:
        if isinstance(error, Refused) and error.is_full:
            return True  # which is no fault of the way there
        if isinstance(error, ClusterAway | Refused | NotStaged):
            self._away = str(error)
            return True
        return False

    def _overtaken(self) -> None:
        self._epoch = None

    def _reached(self) -> None:
        self._away = ""

    # --- submitting

    async def _submit(self, epoch: int, job: Watched) -> None:
        async with self._submitting:
            try:
                seen = await asyncio.to_thread(self._submit_now, epoch, job)
            except (ClusterAway, Refused, NotStaged) as error:
                await self._tell_trouble(epoch, job, error)
                raise
        if seen is not None:
            await asyncio.to_thread(self.port.report, epoch, [Report(job.job, job.run, seen, job.log_size)])

    async def _tell_trouble(self, epoch: int, job: Watched, error: Exception) -> None:
        """Why it cannot be handed over now, for whoever waits for it: once for each reason."""
        run, words = (job.job, job.run), _in_the_way(self.cluster, error)
        if self._told.get(run) != words:
            seen = Observation("starting", trouble=words)
            await asyncio.to_thread(self.port.report, epoch, [Report(job.job, job.run, seen, job.log_size)])
            self._told[run] = words

    def _submit_now(self, epoch: int, job: Watched) -> Observation | None:
        if job.cancel_asked:
            # Nothing was made by us, but an agent before us may have made it: the run's lock tells.
            self.backend.cancel(job.job, job.run)
            if self.backend.porter.forbid(job.job, job.run):
                return Observation("never_ran", detail="cancelled before it was submitted")
            return self.backend.observe(job.job, job.run)
        order = self.port.order(epoch, job.job)
        if order is None or order.run != job.run:
            return None
        with tempfile.TemporaryDirectory(prefix="collegium-") as folder:
            archive = Path(folder) / "run.tgz"
            try:
                work = kubernetes_prepare.prepare(
                    order, self.backend.cluster, archive, lambda digest: self.port.content(epoch, order.job, digest)
                )
            except ValueError as fault:
                return Observation("refused", detail=f"{self.cluster} cannot run it: {fault}.")
            try:
                made = self.backend.submit(work, archive)
            except NotStaged as error:
                if self._beside.failed(("submit", (job.job, job.run))) + 1 < STAGINGS:
                    raise
                return Observation("refused", detail=f"Its folder could not be laid on {self.cluster}: {error}"[:1000])
        if made.refusal:
            return Observation("refused", detail=f"{self.cluster} would not take it: {made.refusal}")
        if made.native:
            return Observation("waiting", detail="Waiting for a node.", native=made.native)
        raise ClusterAway(made.doubt)  # and asked again, under the same name

    # --- clearing away

    async def _sweep(self, epoch: int) -> None:
        """Remove what jobs that ended long ago left there, a few at a time, and tell it once."""
        due = await asyncio.to_thread(self.port.sweepable, epoch)
        runs = [(job, run) for job, last in due for run in range(1, max(1, last) + 1)]
        found: list[far_sweep.Removed] = []
        for at in range(0, len(runs), far_sweep.AT_A_TIME):
            found += await asyncio.to_thread(self.backend.clear_away, runs[at : at + far_sweep.AT_A_TIME])
        if found:
            await asyncio.to_thread(self.port.swept, epoch, far_sweep.summed(due, found))

    # --- results

    async def _fetch(self, epoch: int, job: Watched) -> None:
        async with self._fetching:
            await asyncio.to_thread(self._fetch_now, epoch, job)

    def _fetch_now(self, epoch: int, job: Watched) -> None:
        home = self.port.folder(job.job, job.run)
        # Also of a run of which nothing comes home: what lies there is told only beside this folder.
        (home / "work").mkdir(parents=True, exist_ok=True, mode=0o700)
        whole = False
        try:
            there = self._bring(job, home)
            whole = not there.refer and not there.unlisted
        except (ClusterAway, Refused) as error:
            if self._beside.failed(("fetch", (job.job, job.run))) + 1 < FETCHES:
                raise
            there = remote.Remote(self.cluster, self._lies(job), [], failed=str(error)[:500])
        remote.keep(home, there)
        self.port.fetched(epoch, job.job, job.run)
        if whole:
            self.backend.clear(job.job, job.run)

    def _lies(self, job: Watched) -> str:
        return kubernetes_rules.folder_of(self.backend.hub, job.job, job.run)

    def _bring(self, job: Watched, home: Path) -> remote.Remote:
        """Lay what is wanted of a run's results below `home/work`, and say what is not."""
        given = msgspec.json.decode((home / "given.json").read_bytes(), type=dict[str, Given])
        files, total, odd = self.backend.listing(job.job, job.run, LISTED)
        named = [file for file in files if _is_path(file.path)]
        choice = outputs.choose(named, given, job.outputs, job.fetch)
        for file, pieces in self.backend.fetch(job.job, job.run, [f for f in choice.store if not _is_here(home, f)]):
            _lay(home, file, pieces)
        unlisted = 0 if files or not total else total
        odd += len(files) - len(named)
        return remote.Remote(self.cluster, self._lies(job), choice.refer, choice.ignored, choice.missing, odd, unlisted)


def _in_the_way(cluster: str, error: Exception) -> str:
    said = " ".join(str(error).split())[:600].rstrip(".")
    if isinstance(error, Refused) and error.is_full:
        return f"{cluster} takes no more Jobs now, and is asked again: {said}."
    if isinstance(error, Refused):
        return f"{cluster} refuses the hub, and is asked again: {said}."
    if isinstance(error, PorterAway | NotStaged):
        return f"Its files cannot be brought to {cluster} now, and it is tried again: {said}."
    return f"{cluster} is not reached now, and is asked again: {said}."


def _is_path(name: str) -> bool:
    try:
        paths.normal_path(name)
    except InvalidInput:
        return False
    return True


def _is_here(home: Path, file: Found) -> bool:
    with contextlib.suppress(OSError):
        seen = (home / "work" / file.path).lstat()
        return seen.st_size == file.size and seen.st_mtime_ns == file.mtime_ns
    return False


def _lay(home: Path, file: Found, pieces: Any) -> None:
    """A file where it belongs, under its name only when it is whole."""
    target = home / "work" / file.path
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = home / "partial"
    with part.open("wb") as stream:
        for piece in pieces:
            stream.write(piece)
    os.utime(part, ns=(file.mtime_ns, file.mtime_ns))
    part.replace(target)
