"""Does the backup place keep what is written there, is it away from the data, and is there room?"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shutil
from pathlib import Path

import sqlalchemy as sa

from hub.artifacts.tables import blobs
from hub.core.errors import HubError
from hub.core.house import House
from hub.core.settings import Settings
from hub.history import backup, sealed
from hub.setup.rules import Check, checked_backup_place

STALE = dt.timedelta(hours=26)


def test(house: House, settings: Settings, by: str | None) -> list[Check]:
    """Write something sealed, read it back and take it away; without proof, look only."""
    if not settings.backup_to:
        return [Check("place", False, "None is set.", "Name a folder on another disk.")]
    place = Path(settings.backup_to).expanduser()
    data = settings.data.absolute()
    try:
        if by is not None:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
        # As it really lies: a symbolic link may lead back into the data folder.
        checked_backup_place(str(place.resolve(strict=True)), data.resolve())
        found = [_written_and_read(place) if by is not None else _writable(place), _room(house, place)]
    except HubError as error:
        return [Check("place", False, f"{error.message}.", error.hint)]
    except OSError as error:
        words = f"{place}: {(error.strerror or str(error)).lower()}."
        return [Check("place", False, words, "Make the folder, and let the user the hub runs as write to it.")]
    return [*found, _newest(house, settings)] if by is None else found


def _written_and_read(place: Path) -> Check:
    """A tiny backup: sealed as a real one is, opened again from the disk, removed."""
    said, key = secrets.token_bytes(4096), sealed.new_recovery_key()
    probe = place / f".collegium-test-{secrets.token_hex(8)}"
    try:
        with probe.open("xb") as target:
            sealer = sealed.Sealer(target, collegium=backup.version(), schema="test", recovery_key=key)
            sealer.write(said)
            sealer.finish()
            target.flush()
            os.fsync(target.fileno())
        with probe.open("rb") as file:
            kept = sealed.Opener(file, key).read()
    finally:
        probe.unlink(missing_ok=True)
    if kept != said:
        return Check("place", False, f"{place} gave back something else than was written.", "Check that disk.")
    return Check("place", True, f"{place} keeps what is written there, sealed.")


def _writable(place: Path) -> Check:
    is_writable = os.access(place, os.W_OK | os.X_OK)
    words = f"{place} can be written to." if is_writable else f"{place} cannot be written to."
    return Check("place", is_writable, words, "" if is_writable else "Let the user the hub runs as write to it.")


def _room(house: House, place: Path) -> Check:
    with house.db.read() as conn:
        needed = int(conn.execute(sa.select(sa.func.coalesce(sa.func.sum(blobs.c.size), 0))).scalar_one())
    free = shutil.disk_usage(place).free
    is_enough = free > 2 * needed
    is_apart = place.stat().st_dev != house.settings.data.absolute().stat().st_dev
    words = f"{_gib(free)} free, a backup takes up to {_gib(needed)}."
    if not is_apart:
        words += " It is the disk of the data itself: should that fail, both are gone."
    return Check("room", is_enough, words, "" if is_enough else "Name a folder with more space.")


def _newest(house: House, settings: Settings) -> Check:
    newest = backup.newest(settings)
    if newest is None:
        return Check("newest backup", False, "There is none yet.", "Make one: collegium backup.")
    age = house.clock.now() - dt.datetime.fromisoformat(newest.taken_at)
    hours = int(age.total_seconds() // 3600)
    if not Path(newest.path).exists():
        return Check("newest backup", False, f"{newest.path} is gone.", "Make one: collegium backup.")
    if not newest.is_sound:
        return Check(
            "newest backup", False, "Its contents do not hold.", "Run collegium verify, then collegium backup."
        )
    words = f"{hours} hours old, read back whole."
    return Check("newest backup", age < STALE, words, "" if age < STALE else "Make one: collegium backup; then daily.")


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
