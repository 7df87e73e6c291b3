"""Files that come and go through a terminal: a bar while they travel, a digest at their end."""

import contextlib
import hashlib
import os
import time
from pathlib import Path

from rich.progress_bar import ProgressBar
from rich.table import Table as Grid
from rich.text import Text

from bot import words
from bot.cards import FileLive
from bot.door import Door
from bot.hub_client import NoAnswer
from bot.problems import CONFLICT, INVALID, Problem
from bot.screen import Screen
from bot.text import printable

_DRAW_SECONDS = 0.2
_FETCH_ATTEMPTS = 6


class UploadLine:
    """A bar while a file travels to the hub."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._drawn_at = 0.0

    def report(self, name: str, sent_bytes: int, size_bytes: int) -> None:
        now = time.monotonic()
        if sent_bytes < size_bytes and now - self._drawn_at < _DRAW_SECONDS:
            return
        self._drawn_at = now
        if sent_bytes >= size_bytes:
            self._screen.clear()
            return
        self._screen.progress(_bar(f"sending {name}", sent_bytes, size_bytes))


def _bar(said: str, done_bytes: int, size_bytes: int) -> Grid:
    row = Grid.grid(padding=(0, 2))
    row.add_row(
        Text(printable(said)),
        ProgressBar(total=max(size_bytes, 1), completed=done_bytes, width=30),
        Text(f"{words.percent(done_bytes / max(size_bytes, 1))} of {words.size(size_bytes)}"),
    )
    return row


def fetch(live: FileLive, door: Door, screen: Screen, here: Path) -> int:
    """An artifact's bytes into a file, checked by digest before it gets its name; or onto standard output."""
    if live.save_as == "-":
        return _onto_standard_output(live, door, screen)
    place = here / Path(live.save_as).expanduser()
    if place.is_dir():
        place /= Path(live.name).name
    shown = place.relative_to(here) if place.is_relative_to(here) else place
    if place.exists() and not live.overwrite:
        raise Problem(
            "file_exists",
            f"{shown} exists.",
            hint="--force replaces it; --output FILE names another.",
            exit_code=CONFLICT,
        )
    unfinished = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _check(live, _download(live, unfinished, door, screen))
        unfinished.replace(place)
    except OSError as error:
        raise Problem("not_written", f"{shown} cannot be written: {error.strerror}.", exit_code=INVALID) from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    if screen.as_json:
        screen.json({"saved": str(place), "digest": live.digest})
    else:
        screen.lines([f"Saved {shown}, {words.size(live.size_bytes)}, digest verified."])
    return 0


def _onto_standard_output(live: FileLive, door: Door, screen: Screen) -> int:
    seen = hashlib.sha256()
    for content in door.hub.content(live.artifact):
        screen.raw(content)
        seen.update(content)
    _check(live, seen.hexdigest())
    return 0


def _check(live: FileLive, hexadecimal: str) -> None:
    if hexadecimal != live.digest.removeprefix("sha256:"):
        raise Problem("wrong_bytes", f"What came is not {live.name}: its digest is sha256:{hexadecimal}.", status=502)


def _download(live: FileLive, unfinished: Path, door: Door, screen: Screen) -> str:
    seen = hashlib.sha256()
    received, fruitless, drawn_at = 0, 0, 0.0
    with unfinished.open("wb") as file:
        while received < live.size_bytes:
            before = received
            try:
                for content in door.hub.content(live.artifact, offset=received):
                    file.write(content)
                    seen.update(content)
                    received += len(content)
                    if time.monotonic() - drawn_at > _DRAW_SECONDS:
                        drawn_at = time.monotonic()
                        screen.progress(_bar(f"fetching {live.name}", received, live.size_bytes))
            except NoAnswer:
                if fruitless >= _FETCH_ATTEMPTS:
                    raise
                door.hub.pause(1.0)
            fruitless = 0 if received > before else fruitless + 1
            if fruitless > _FETCH_ATTEMPTS:
                raise Problem("cut_short", f"{live.name} ends after {received:,} bytes.", status=502)
    screen.clear()
    return seen.hexdigest()
