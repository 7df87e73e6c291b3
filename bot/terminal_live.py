"""The live parts of a reply as a terminal carries them: a job's card, its log, a session's events, a file."""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bot import words
from bot.cards import EventsLive, ExportLive, FileLive, JobLive, LogLive, Reply
from bot.door import Door
from bot.faces.job import job_card
from bot.faces.ledger import event_line
from bot.hub_client import LogPiece, NoAnswer
from bot.hub_views import Job
from bot.problems import OTHER, Problem
from bot.screen import Screen
from bot.terminal_export import export
from bot.terminal_files import fetch
from bot.text import printable, safe_for_terminal

_POLL_SECONDS = 1.0
_DRAW_SECONDS = 0.2
_SILENCE_SECONDS = 60.0
_EVENTS_WAIT_SECONDS = 20.0


def carry(reply: Reply, door: Door, screen: Screen, here: Path) -> int:
    """Carry a reply's live part to its end; files are named from `here`. Returns the exit code."""
    live = reply.live
    if isinstance(live, JobLive):
        return _follow_job(live, door, screen)
    if isinstance(live, LogLive):
        return _write_log(live, door, screen)
    if isinstance(live, EventsLive):
        return _follow_events(live, door, screen)
    if isinstance(live, FileLive):
        return fetch(live, door, screen, here)
    if isinstance(live, ExportLive):
        return export(live, door, screen, here)
    return reply.exit_code


def _follow_job(live: JobLive, door: Door, screen: Screen) -> int:
    """The job's card until it ends, with its log above it when asked for."""
    log = _LogReader(door, live) if live.log else None
    asked_at = -_POLL_SECONDS
    watch = _Watch(door, live.job)
    job: Job | None = None
    try:
        while True:
            if log is not None:
                for text in log.lines():
                    screen.above(text)
            if time.monotonic() - asked_at >= _POLL_SECONDS:
                job, asked_at = watch.look(), time.monotonic()
                if not job.is_over:
                    card = job_card(job, door, tail=log.tail if log else "")
                    screen.update(_beside_log(card, screen) if log else card, door.now())
            if job is not None and job.is_over and (log is None or log.is_done):
                break
            time.sleep(_DRAW_SECONDS)
    except KeyboardInterrupt:
        screen.settle()
        screen.aside(f"The job goes on. {door.written('job', 'watch', live.job)}: watch again. "
                     f"{door.written('job', 'cancel', live.job)}: stop it.")  # fmt: skip
        raise
    screen.update(job_card(job, door), door.now())
    screen.settle()
    return _exit_code(job)


def _beside_log(card: Reply, screen: Screen) -> Reply:
    """A card below a log keeps to what changes; between full lines only states are told, for the log tells the rest."""
    progress = None if screen.is_plain else card.progress
    return msgspec.structs.replace(card, progress=progress, fields=(), next=(), url="")


def ended_job(reply: Reply, door: Door) -> tuple[Job, int]:
    """The job of a live part when it has ended, without a word until then."""
    assert isinstance(reply.live, JobLive)
    watch = _Watch(door, reply.live.job)
    while not (job := watch.look()).is_over:
        door.hub.pause(_POLL_SECONDS)
    return job, _exit_code(job)


def _exit_code(job: Job) -> int:
    return 0 if job.is_success else OTHER


class _Watch:
    """A job looked at again and again. While the hub restarts, what was known of the job stands; not for ever."""

    def __init__(self, door: Door, ref: str) -> None:
        self._door, self._ref = door, ref
        self._answered_at = time.monotonic()
        self.job: Job | None = None

    def look(self) -> Job:
        try:
            self.job = self._door.hub.job(self._ref)
            self._answered_at = time.monotonic()
        except NoAnswer:
            if self.job is None or time.monotonic() - self._answered_at > _SILENCE_SECONDS:
                raise
        return self.job


class _LogReader:
    """A job's log, read in a thread, handed over as whole lines."""

    def __init__(self, door: Door, live: JobLive) -> None:
        self._pieces: queue.Queue[LogPiece | Problem | None] = queue.Queue(maxsize=64)
        self._open = _Lines()
        self.is_done = False
        threading.Thread(target=self._read, args=(door, live), daemon=True, name="log").start()

    @property
    def tail(self) -> str:
        """The line that is still being written, such as a progress bar."""
        return self._open.unfinished

    def lines(self) -> Iterator[str]:
        with contextlib.suppress(queue.Empty):
            while True:
                piece = self._pieces.get_nowait()
                if isinstance(piece, LogPiece):
                    yield from self._open.add(piece.content)
                    continue
                self.is_done = True
                yield from self._open.end()
                if isinstance(piece, Problem):
                    yield f"(the log breaks off here: {piece.detail})"

    def _read(self, door: Door, live: JobLive) -> None:
        try:
            for piece in door.hub.log(live.job, offset=live.log_offset, follow=True):
                self._pieces.put(piece)
            self._pieces.put(None)
        except Problem as problem:
            self._pieces.put(problem)


class _Lines:
    """Bytes into lines that are safe to show. A carriage return starts the line again, as it does on a terminal."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def unfinished(self) -> str:
        return _shown(self._rest)

    def add(self, content: bytes) -> Iterator[str]:
        *whole, self._rest = (self._rest + content).split(b"\n")
        if whole:
            yield "\n".join(_shown(line) for line in whole)

    def end(self) -> Iterator[str]:
        if self._rest:
            yield _shown(self._rest)
        self._rest = b""


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").rstrip("\r")
    return safe_for_terminal(text.rsplit("\r", 1)[-1])


def _write_log(live: LogLive, door: Door, screen: Screen) -> int:
    """The log's bytes: exactly as they are into a pipe, made harmless on a terminal."""
    if live.tail_lines is not None:
        return _write_tail(live, live.tail_lines, door, screen)
    offset = live.offset
    lines = _Lines()
    try:
        for piece in door.hub.log(live.job, offset=live.offset, follow=live.follow):
            try:
                if screen.is_terminal:
                    for text in lines.add(piece.content):
                        screen.write(text + "\n")
                else:
                    screen.raw(piece.content)
            finally:
                # Bytes once handed over are written in the end, also when Ctrl-C comes while they are.
                offset = piece.next_offset
    except KeyboardInterrupt:
        again = door.written("job", "logs", live.job, "--follow", "--offset", str(offset))
        screen.aside(f"Stopped after byte {offset}. Go on: {again}")
        raise
    for text in lines.end():
        screen.write(text + "\n")
    return 0


def _write_tail(live: LogLive, count: int, door: Door, screen: Screen) -> int:
    last: deque[bytes] = deque(maxlen=count)
    rest = b""
    for piece in door.hub.log(live.job):
        *whole, rest = (rest + piece.content).split(b"\n")
        last.extend(whole)
    if rest:
        last.append(rest)
    for line in last:
        if screen.is_terminal:
            screen.write(_shown(line) + "\n")
        else:
            screen.raw(line + b"\n")
    return 0


def _follow_events(live: EventsLive, door: Door, screen: Screen) -> int:
    """What happens in a session, one line an event, until Ctrl-C."""
    after = live.after
    while True:
        page = door.hub.events(after, session=live.session, wait_seconds=_EVENTS_WAIT_SECONDS)
        screen.lines(f"{words.moment(event.at)} {printable(event_line(event))}" for event in page.events)
        after = page.next
