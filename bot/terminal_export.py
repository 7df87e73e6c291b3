"""An export as a terminal carries it: what is fetched, how fast, how long still; at its end a line a session."""

import time
from pathlib import Path
from typing import Any

from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from bot import words
from bot.cards import ExportLive
from bot.door import Door
from bot.export.folder import ExportFolder
from bot.export.session import SessionExport, sessions_of
from bot.problems import CONFLICT, NOT_ALLOWED, NOT_FOUND, OTHER, Problem
from bot.screen import Screen
from bot.text import printable
from bot.words import counted

_DRAW_SECONDS = 0.2
_LINE_SECONDS = 30.0
# A session that closes while the others are still open ends its own export and not theirs.
_ONE_SESSION = (NOT_ALLOWED, NOT_FOUND, CONFLICT)


def export(live: ExportLive, door: Door, screen: Screen, here: Path) -> int:
    """Bring the sessions into the folder. What stops half-way is said in INCOMPLETE.txt and by the exit code."""
    sessions = sessions_of(door.hub) if live.session is None else [_session(door, live.session)]
    root = here / Path(live.folder).expanduser()
    folder = ExportFolder(root, door.hub.url)
    reasons: list[str] = []
    problem: Problem | None = None
    try:
        reasons = _bring(sessions, folder, door, screen)
    except Problem as stopped:
        reasons, problem = [stopped.detail.rstrip(".")], stopped
    except BaseException:
        reasons = ["it was interrupted"]
        raise
    finally:
        screen.clear()
        folder.finish(door.now().isoformat(timespec="seconds"), reasons)
    if problem is not None:
        raise Problem(
            problem.code, problem.detail, status=problem.status, exit_code=problem.exit_code,
            hint=f"{_shown(root, here)} is not complete; the same command again goes on from there.",
        ) from problem  # fmt: skip
    return _told(folder, root, here, screen, reasons)


def _session(door: Door, ref: str) -> dict[str, Any]:
    found = door.hub.session(ref)
    return door.hub.view(f"/api/sessions/{found.id}", dict[str, Any])


def _bring(sessions: list[dict[str, Any]], folder: ExportFolder, door: Door, screen: Screen) -> list[str]:
    """Bring one session after the other; returns what was refused."""
    line, reasons, found = _Line(screen), list[str](), list[tuple[dict[str, Any], SessionExport]]()
    for session in sessions:
        one = SessionExport(door.hub, folder, session)
        try:
            line.total += one.look()
        except Problem as problem:
            reasons.append(_refused(session, problem))
            continue
        found.append((session, one))
    for session, one in found:
        line.about = session["name"]
        try:
            folder.manifest.sessions[session["name"]] = one.carry_out(line.report, line.say)
        except Problem as problem:
            reasons.append(_refused(session, problem))
        folder.save()
    return reasons


def _refused(session: dict[str, Any], problem: Problem) -> str:
    if problem.exit_code not in _ONE_SESSION:
        raise problem
    return f"{session['name']}: {problem.detail.rstrip('.')}"


def _told(folder: ExportFolder, root: Path, here: Path, screen: Screen, reasons: list[str]) -> int:
    held = folder.manifest.sessions
    if screen.as_json:
        screen.json({"folder": str(root), "complete": not reasons, "reasons": reasons, "sessions": held})
        return OTHER if reasons else 0
    for name, one in held.items():
        screen.lines(
            [
                f"{name}: {counted(one['entries'], 'entry', 'entries')}, {counted(one['files'], 'file')} "
                f"in {counted(one['versions'], 'version')}, {counted(one.get('drafts', 0), 'draft')}, "
                f"{counted(one['jobs'], 'job')}, "
                f"{counted(one['messages'], 'message')}"
                + "".join(f"; left out: {printable(each)}" for each in one["left_out"])
            ]
        )
    if reasons:
        screen.aside(f"Not complete: {'; '.join(reasons)}")
        return OTHER
    screen.lines([f"All in {_shown(root, here)}. Check it: cd {_shown(root, here)} && sha256sum -c SHA256SUMS"])
    return 0


def _shown(root: Path, here: Path) -> Path:
    return root.relative_to(here) if root.is_relative_to(here) and root != here else root


class _Line:
    """How far the export is. Off a terminal, a line every half a minute."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.total, self.about = 0, ""
        self._done, self._name = 0, ""
        self._began = time.monotonic()
        self._drawn_at, self._lined_at = 0.0, self._began

    def say(self, name: str) -> None:
        self._name = name
        self.report(0)

    def report(self, more_bytes: int) -> None:
        self._done += more_bytes
        now = time.monotonic()
        if self._screen.is_plain and now - self._lined_at >= _LINE_SECONDS:
            self._lined_at = now
            self._screen.aside(f"{self.about}: {self._name}. {self._said(now)}")
        if now - self._drawn_at >= _DRAW_SECONDS:
            self._drawn_at = now
            row = Grid.grid(padding=(0, 2))
            row.add_row(
                Text(printable(f"{self.about} {self._name}"[:60])),
                ProgressBar(total=max(self.total, 1), completed=min(self._done, self.total), width=24),
                Text(self._said(now)),
            )
            self._screen.progress(row)

    def _said(self, now: float) -> str:
        rate = self._done / max(now - self._began, 0.001)
        said = f"{words.size(self._done)} of {words.size(self.total)}, {words.size(int(rate))}/s"
        if self._done and self._done < self.total:
            said += f", {words.duration((self.total - self._done) / rate)} left"
        return said
