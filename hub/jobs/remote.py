"""What lies in a run's folder on a cluster and did not come home: kept beside what did, for whoever collects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from hub.jobs.outputs import Found


class Remote(msgspec.Struct, frozen=True):
    """Where it lies, what is only referred to, and what was passed over (`remote.json`)."""

    cluster: str
    folder: str
    refer: list[Found]
    ignored: int = 0
    missing: list[str] = []
    odd: int = 0
    unlisted: int = 0
    failed: str = ""


def keep(home: Path, there: Remote) -> None:
    """Whole or not at all: where it is, everything else of the run is."""
    fresh = home / "remote.json.new"
    fresh.write_bytes(msgspec.json.encode(there))
    fresh.replace(home / "remote.json")


def kept(home: Path) -> Remote | None:
    """None for a run of this machine."""
    try:
        return msgspec.json.decode((home / "remote.json").read_bytes(), type=Remote)
    except FileNotFoundError:
        return None


def notes(there: Remote) -> Iterator[str]:
    """What the submitter is told of it, beside what is told of every job."""
    where = f"{there.cluster}:{there.folder}/work"
    if there.failed:
        yield f"Its outputs could not be fetched and lie at {where}: {there.failed}"
    if there.unlisted:
        yield f"It made so many files that {there.unlisted} of them are not even named here; they lie at {where}."
