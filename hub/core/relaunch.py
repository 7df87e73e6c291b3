"""How a process of the house asks its launcher to look again at what the house consists of.

It is a file whose time changes: `collegium up` looks at it once a second, which needs no bus and survives everything.
A hub whose processes somebody else runs has no such launcher, and its operator restarts them.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import structlog

from hub.core.decoding import UNREADABLE
from hub.core.settings import Settings

HUB_FILE = "hub.json"
log = structlog.get_logger()


class Running(msgspec.Struct, frozen=True):
    """What the shell client needs to find an embedded hub: kept in DATA/hub.json while it runs."""

    url: str
    pid: int


def running(data: Path) -> Running | None:
    """The hub that `collegium up` runs on this data folder now."""
    try:
        found = msgspec.json.decode((data / HUB_FILE).read_bytes(), type=Running)
        os.kill(found.pid, 0)
    except PermissionError:
        return found  # It runs, as somebody else.
    except (OSError, *UNREADABLE):
        return None
    return found


def ask(settings: Settings) -> None:
    """Ask for it; where nobody listens, nothing happens."""
    try:
        settings.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        _file(settings).touch()
    except OSError as error:
        log.warning("relaunch.not_asked", error=str(error))


def asked(settings: Settings) -> int:
    """A number that changes whenever somebody asks."""
    try:
        return _file(settings).stat().st_mtime_ns
    except OSError:
        return 0


def _file(settings: Settings) -> Path:
    return settings.run / "relaunch"
