"""The hub as an agent elsewhere sees it: the same port, over HTTPS, with a question that waits for news.

One thread keeps a question open at the hub, by which the lease is kept and work is heard of at once; everything else
is asked when it is needed. While the hub is away the agent keeps what it knows and goes on; what it has to tell raises
Away, and is told again later. Whatever is sent may arrive twice: reports are numbered, bytes have their place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import structlog

from hub.core import limits
from hub.jobs import remote
from hub.jobs.anywhere import wire
from hub.jobs.anywhere.wire import Coming, Place, Work
from hub.jobs.backends.timetable import Period
from hub.jobs.outputs import Given
from hub.jobs.port import Answer, Away, ClusterPort, Order, Overtaken, Question, Report, Standing, Sweep, Watched

log = structlog.get_logger()
T = TypeVar("T")

# How long a question waits at the hub for news. So long, too, an agent that was stopped seems to be there.
WAIT_SECONDS = 15.0
# How long one request may take, beside what it is kept waiting.
SECONDS = 30.0
CONNECT_SECONDS = 10.0
# Pauses after the first failure in a row, the second, and so on.
PAUSES_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0)
FILE_PIECE_BYTES = 4 << 20
READ_BYTES = 1 << 18


class Refused(Away):
    """The hub does not take this agent's token (any more); asking again is of no use."""


class HttpPort(ClusterPort):
    """One account's work, at a hub's address. `woken` is called from a thread whenever there is something new."""

    def __init__(
        self,
        url: str,
        token: str,
        home: Path,
        *,
        transport: httpx.BaseTransport | None = None,
        say: Callable[[str], None] = lambda line: None,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        timeout = httpx.Timeout(SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)
        self._url, self._home, self._say = url, home, say
        self.woken: Callable[[], None] = lambda: None
        # Another one for each process: whoever watched under it before is gone for good.
        self.name = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
        self.refused: Refused | None = None
        self.place_mark = ""
        self._lock = threading.Lock()
        # One report at a time: one that overtook another would make the hub take the other for a repetition.
        self._telling = threading.Lock()
        self._work = Work(epoch=None)
        self._heard = False  # whether the hub has ever answered
        self._changes = 0  # counts what was told, so that an older answer is known as one
        self._number = 0
        self._stop = threading.Event()
        self._pause = pause or self._stop.wait
        self._away = ""
        self._thread = threading.Thread(target=self._follow, name="hub", daemon=True)

    # --- the question that waits

    def start(self) -> None:
        """Begin to be, or to wait to be, the one that watches."""
        self._thread.start()

    def close(self) -> None:
        """Ask nothing any more; the lease runs out by itself."""
        self._stop.set()
        self._http.close()

    def _follow(self) -> None:
        failed = 0
        while not self._stop.is_set() and self.refused is None:
            try:
                self.ask_once(WAIT_SECONDS)
                failed = 0
            except Refused:
                self.woken()
            except Away:
                self._pause(PAUSES_SECONDS[min(failed, len(PAUSES_SECONDS) - 1)])
                failed += 1
            except Exception:
                log.warning("agent.question_failed", exc_info=True)
                self._pause(PAUSES_SECONDS[-1])

    def ask_once(self, seconds: float) -> None:
        """Ask what there is to do, and wait so long for anything new. Raises Away and Refused."""
        with self._lock:
            known, changes = self._work, self._changes
        asked = wire.Wait(agent=self.name, epoch=known.epoch, mark=known.mark, seconds=seconds)
        found = self._ask("work", asked, Work, timeout=httpx.Timeout(SECONDS + seconds, connect=CONNECT_SECONDS))
        if found.epoch is not None:
            self._bring_given(found)
        with self._lock:
            self._heard, self.place_mark = True, found.place
            if self._changes != changes:
                return  # Told in the meantime, so this may be from before: ask again.
            is_news = found.mark != self._work.mark or found.epoch != self._work.epoch
            if found.epoch != known.epoch:
                self._number = 0
                self._say(_leased(found.epoch))
            self._work = self._with_known_sizes(found)
        if is_news:
            self.woken()

    def _with_known_sizes(self, found: Work) -> Work:
        sizes = {(job.job, job.run): job.log_size for job in self._work.watched}
        watched = [
            msgspec.structs.replace(job, log_size=max(job.log_size, sizes.get((job.job, job.run), 0)))
            for job in found.watched
        ]
        return msgspec.structs.replace(found, watched=watched)

    def _bring_given(self, found: Work) -> None:
        """Of a run that another machine's agent has laid, how its inputs lie: without it no output is known as one."""
        for job in found.watched:
            given = self.folder(job.job, job.run) / "given.json"
            if job.state == "COLLECTING" and not given.exists():
                asked = wire.OfJob(epoch=found.epoch or 0, job=job.job)
                with contextlib.suppress(Overtaken, NotThere):
                    laid = self._ask("given", asked, dict[str, Given])
                    given.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    given.write_bytes(msgspec.json.encode(laid))

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to do."""
        with self._lock:
            return bool(self._work.watched or self._work.questions)

    # --- the port

    def account(self) -> Place:
        """Which account this is about. Raises Away and Refused."""
        found: Place = self._decoded(self._send("GET", "account"), Place)
        return found

    def ready(self, standing: Standing) -> None:
        """Tell how signing in went. Raises Away and Refused."""
        self._ask("ready", wire.Ready(standing=standing), wire.Done)

    def lease(self, agent: str) -> int | None:
        with self._lock:
            return self._work.epoch

    def watched(self, epoch: int) -> list[Watched]:
        with self._lock:
            if self._work.epoch != epoch:
                raise Overtaken
            return list(self._work.watched)

    def append_log(self, epoch: int, job: str, offset: int, piece: bytes) -> int:
        size = offset
        for at in range(0, len(piece), limits.AGENT_LOG_PIECE_BYTES):
            where = {"epoch": epoch, "job": job, "offset": offset + at}
            part = piece[at : at + limits.AGENT_LOG_PIECE_BYTES]
            with contextlib.suppress(NotThere):
                size = self._decoded(self._send("POST", "log", params=where, content=part), wire.Size).size
        with self._lock:
            watched = [
                msgspec.structs.replace(each, log_size=max(each.log_size, size)) if each.job == job else each
                for each in self._work.watched
            ]
            self._work = msgspec.structs.replace(self._work, watched=watched)
        return size

    def report(self, epoch: int, reports: Sequence[Report]) -> None:
        for at in range(0, len(reports), limits.AGENT_REPORTS):
            part = list(reports[at : at + limits.AGENT_REPORTS])
            with self._telling:
                with self._lock:
                    self._number += 1
                    self._changes += 1
                    number = self._number
                found = self._ask("report", wire.Told(epoch=epoch, number=number, reports=part), Work)
                with self._lock:
                    self._changes += 1
                    if self._work.epoch == epoch:
                        self._work = self._with_known_sizes(found)
            for each in part:
                self._say(_seen(each))

    def order(self, epoch: int, job: str) -> Order | None:
        order: Order | None = None
        with contextlib.suppress(NotThere):
            order = self._ask("order", wire.OfJob(epoch=epoch, job=job), Order | None)
        if order is not None:
            folder = self.folder(order.job, order.run)
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            laid = {each["path"]: Given(each["digest"], each["size"], order.at * 10**9) for each in order.inputs}
            (folder / "given.json").write_bytes(msgspec.json.encode(laid))
            self._say(f"{order.name} ({order.job}): to be submitted")
        return order

    def content(self, epoch: int, job: str, digest: str) -> Iterator[bytes]:
        """Resumed where it broke off, and checked at its end. Raises Away."""
        seen, offset, failed = hashlib.sha256(), 0, 0
        while True:
            where: dict[str, str | int] = {"epoch": epoch, "job": job, "digest": digest, "offset": offset}
            try:
                with self._http.stream("GET", "/api/agent/content", params=where) as response:
                    if not response.is_success:
                        response.read()
                        self._refusal(response)
                    for piece in response.iter_bytes(READ_BYTES):
                        seen.update(piece)
                        offset += len(piece)
                        failed = 0
                        yield piece
                break
            except httpx.HTTPError as error:
                failed += 1
                if failed >= len(PAUSES_SECONDS):
                    raise self._silence(error) from None
                self._pause(PAUSES_SECONDS[failed])
        if seen.hexdigest() != digest:
            raise Away("an input arrived with other bytes than it should have")

    def folder(self, job: str, run: int) -> Path:
        return self._home / f"{Path(job).name}.{run}"

    def fetched(self, epoch: int, job: str, run: int) -> None:
        """Send what was brought here home to the hub, from where it broke off, and clear it away. Raises Away."""
        home = self.folder(job, run)
        there = remote.kept(home)
        if there is None:
            raise FileNotFoundError(home / "remote.json")
        files = _laid(home / "work")
        asked = wire.Outputs(epoch=epoch, job=job, run=run, files=files, there=there)
        try:
            wanted = self._ask("outputs", asked, wire.Wanted)
        except NotThere:  # its answer to an earlier try was lost
            _clear(home)
            return
        for at, (file, offset) in enumerate(zip(files, wanted.offsets, strict=True)):
            if offset is not None:
                self._send_file(epoch, job, run, at, home / "work" / file.path, offset)
        self._ask("fetched", wire.Fetched(epoch=epoch, job=job, run=run), wire.Done)
        self._say(f"{job}: {len(files)} files sent to the hub")
        _clear(home)

    def _send_file(self, epoch: int, job: str, run: int, at: int, path: Path, offset: int) -> None:
        with path.open("rb") as source:
            source.seek(offset)
            while True:
                piece = source.read(FILE_PIECE_BYTES)
                where = {"epoch": epoch, "job": job, "run": run, "at": at, "offset": offset}
                self._decoded(self._send("PUT", "outputs", params=where, content=piece), wire.Size)
                offset += len(piece)
                if len(piece) < FILE_PIECE_BYTES:
                    return

    def stands(self, epoch: int, standing: Standing) -> None:
        self._ask("stands", wire.Stands(epoch=epoch, standing=standing), wire.Done)

    def questions(self, epoch: int) -> list[Question]:
        with self._lock:
            if self._work.epoch != epoch:
                raise Overtaken
            return list(self._work.questions)

    def answer(self, epoch: int, answers: Sequence[Answer]) -> None:
        self._ask("answer", wire.Answers(epoch=epoch, answers=list(answers)), wire.Done)
        known = {each.digest for each in answers}
        with self._lock:
            left = [each for each in self._work.questions if each.digest not in known]
            self._changes += 1
            self._work = msgspec.structs.replace(self._work, questions=left)

    def rate(self, epoch: int) -> tuple[Period, ...]:
        with self._lock:
            return self._work.rate

    def sweepable(self, epoch: int) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = self._ask("sweepable", wire.Due(epoch=epoch), list[tuple[str, int]])
        return found

    def swept(self, epoch: int, sweep: Sweep) -> None:
        self._ask("swept", wire.Swept(epoch=epoch, sweep=sweep), wire.Done)

    # --- the wire

    def _ask(self, path: str, asked: wire.Asked, answer: Any, **more: Any) -> Any:
        body = msgspec.json.encode(asked)
        headers = {"Content-Type": "application/json"}
        return self._decoded(self._send("POST", path, content=body, headers=headers, **more), answer)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """One request. Raises Away, Overtaken, NotThere and Refused."""
        if self.refused is not None:
            raise self.refused
        try:
            response = self._http.request(method, f"/api/agent/{path}", **request)
        except (httpx.HTTPError, RuntimeError) as error:  # a client that was closed raises the latter
            raise self._silence(error) from None
        if not response.is_success:
            self._refusal(response)
        if self._away:
            self._away = ""
            self._say(f"The hub at {self._url} answers again.")
        return response

    def _silence(self, error: Exception) -> Away:
        said = f"The hub at {self._url} cannot be reached: {error or type(error).__name__}"
        if not self._away and not self._stop.is_set():
            self._say(f"{said}. Jobs go on; what becomes of them is told later.")
        self._away = said
        return Away(said)

    def _refusal(self, response: httpx.Response) -> None:
        """Raises what an answer that is no success means."""
        try:
            told = msgspec.json.decode(response.content, type=Problem)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            told = Problem(code="", detail=f"status {response.status_code}")
        if response.status_code == 401:
            self.refused = Refused(told.detail)
            raise self.refused
        if told.code == "overtaken":
            with self._lock:
                self._work = Work(epoch=None)
            raise Overtaken
        if response.status_code == 404 and told.code:
            raise NotThere(told.detail)
        # A proxy that has no hub behind it, a hub that is busy: later.
        if response.status_code >= 500 or response.status_code in (404, 408, 425, 429):
            raise self._silence(Exception(told.detail))
        raise Unfit(f"{told.code}: {told.detail}")

    def _decoded(self, response: httpx.Response, answer: Any) -> Any:
        try:
            return msgspec.json.decode(response.content, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._silence(Exception(f"its answer cannot be read ({error})")) from None


class Problem(msgspec.Struct, frozen=True):
    """What the hub says of a request it did not carry out."""

    code: str
    detail: str


class NotThere(Exception):
    """The job is not at work any more."""


class Unfit(Exception):
    """The hub does not take what was sent; sending it again is of no use before something else has changed."""


def _laid(work: Path) -> list[Coming]:
    found = []
    for path in sorted(work.rglob("*")) if work.is_dir() else []:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
            seen = path.stat()
            found.append(Coming(str(path.relative_to(work)), seen.st_size, seen.st_mtime_ns, digest))
    return found


def _clear(home: Path) -> None:
    import shutil

    shutil.rmtree(home, ignore_errors=True)


def _leased(epoch: int | None) -> str:
    return "Another agent of this account is at work; this one stands by." if epoch is None else "Watching."


def _seen(report: Report) -> str:
    seen = report.seen
    native = f" as {seen.native}" if seen.native else ""
    code = f", exit code {seen.exit.code}" if seen.exit is not None and seen.exit.code is not None else ""
    detail = f": {seen.detail}" if seen.detail else ""
    return f"{time.strftime('%H:%M:%S')} {report.job} {seen.sight.replace('_', ' ')}{native}{code}{detail}"
