"""A backup of the whole hub while it runs: one encrypted file, read back whole before it counts.

First the database, then the contents it names: bytes are on disk before any row names them, so that nothing the copy
names can be too young to be there. What lapsed in between is listed as lapsed; what should be there and is not, as
missing. Not in it: Valkey (it only carries), working folders of jobs that run, uploads that are not finished, the logs
of the hub's own processes, and settings that come from the environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import BinaryIO

import msgspec
import sqlalchemy as sa

from hub.artifacts.disk import full_disk_is_said, sync_directory
from hub.artifacts.tables import blobs
from hub.core.clock import iso
from hub.core.decoding import UNREADABLE
from hub.core.errors import Conflict, NotFound, Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.history import sealed
from hub.history.archive import Manifest, Packer, Report, skip, unpacked
from hub.history.sealed import Opener, Sealer
from hub.history.snapshot import Snapshot, row_counts, taken
from hub.ledger.keys import CheckpointKey
from hub.ledger.verification import verify as verify_ledger

NEWEST = "newest.json"
ENDING = ".clgbackup"
# The plain copy of the database lies beside the database while the backup is made, never where backups go.
COPIES = ".backup-"


class BackupView(msgspec.Struct, frozen=True, kw_only=True):
    """A backup that was written and read back. `recovery_key` is there once, when it was made for this backup."""

    path: str
    size: int
    taken_at: str
    schema: str
    rows: int
    ledger_lines: int
    ledger_root: str
    ledger_holds: bool
    contents: int
    missing: tuple[str, ...] = ()
    recovery_key: str | None = None

    @property
    def is_sound(self) -> bool:
        return self.ledger_holds and not self.missing


def write(
    house: House,
    folder: Path | None = None,
    *,
    passphrase: str = "",
    recovery_key: str = "",
    report: Report = lambda done: None,
) -> BackupView:
    """Write a backup into `folder` (else the one that is set, else DATA/backups) and read it back whole.

    Without a passphrase or a recovery key a new recovery key is made, and given back this once.
    """
    made_key = None
    if not passphrase and not recovery_key:
        recovery_key = made_key = sealed.new_recovery_key()
    folder, data = place(house.settings, folder), house.settings.data.absolute()
    with full_disk_is_said(), _alone(data):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        name = f"collegium-{house.clock.now():%Y%m%d-%H%M%S-%f}{ENDING}"
        unfinished = folder / f".{name}.part"
        for left in folder.glob(f".collegium-*{ENDING}.part"):
            left.unlink()
        try:
            with _open_new(unfinished) as target, tempfile.TemporaryDirectory(prefix=COPIES, dir=data) as copies:
                with taken(house.db, Path(copies)) as snapshot:
                    _enough_space(folder, snapshot)
                    _pack(house, snapshot, _sealer(target, snapshot, passphrase, recovery_key), report)
                target.flush()
                os.fsync(target.fileno())
            view = verify(unfinished, passphrase or recovery_key, report=report)
            unfinished.replace(folder / name)
            sync_directory(folder)
        finally:
            unfinished.unlink(missing_ok=True)
    view = msgspec.structs.replace(view, path=str(folder / name), recovery_key=made_key)
    _note(house.settings, view)
    return view


def verify(path: Path | str, secret: str, *, report: Report = lambda done: None) -> BackupView:
    """Read a backup whole, without keeping any of it. Raises InvalidInput where it is not what was written."""
    path = Path(path)
    with opened(path, secret) as opener:
        manifest = unpacked(opener, skip, report)
    return BackupView(
        path=str(path),
        size=path.stat().st_size,
        taken_at=manifest.taken_at,
        schema=manifest.schema,
        rows=sum(manifest.rows.values()),
        ledger_lines=manifest.ledger_lines,
        ledger_root=manifest.ledger_root,
        ledger_holds=manifest.ledger_holds,
        contents=sum(member.name.startswith("blobs/") for member in manifest.members),
        missing=manifest.missing,
    )


@contextlib.contextmanager
def opened(path: Path, secret: str) -> Iterator[Opener]:
    """A backup's plaintext. Raises NotFound, or InvalidInput for what is no backup or another's."""
    try:
        source = path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"there is no backup {path}", code="no_backup") from None
    with source:
        yield Opener(source, secret)


def place(settings: Settings, folder: Path | None = None) -> Path:
    """Where backups go: the folder named, the one set, or one beside the data."""
    if folder is None and settings.backup_to:
        folder = Path(settings.backup_to).expanduser()
    return (folder or settings.data / "backups").absolute()


def newest(settings: Settings) -> BackupView | None:
    """The newest backup of this hub that was read back whole; it may have been taken away since."""
    try:
        return msgspec.json.decode((_notes(settings) / NEWEST).read_bytes(), type=BackupView)
    except (OSError, *UNREADABLE):
        return None


def version() -> str:
    try:
        return metadata.version("collegium")
    except metadata.PackageNotFoundError:
        return "unknown"


@contextlib.contextmanager
def _alone(data: Path) -> Iterator[None]:
    """One backup of a hub at a time; what a killed one left behind is taken away. Raises Conflict."""
    with (data / ".backup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another backup of this hub is being written", code="backup_runs") from None
        for left in data.glob(f"{COPIES}*"):
            shutil.rmtree(left)
        yield


def _pack(house: House, snapshot: Snapshot, sealer: Sealer, report: Report) -> None:
    data = house.settings.data.absolute()
    key = house.port(CheckpointKey)
    ledger = verify_ledger(snapshot.conn, key.origin, key.public)
    packer = Packer(sealer, report)
    try:
        packer.add_file(snapshot.file.name, snapshot.file)
        for path in sorted((data / "keys").iterdir()):
            if path.is_file() and not path.name.startswith("."):
                packer.add_file(f"keys/{path.name}", path)
        if (token := data / "operator.token").exists():
            packer.add_file(token.name, token)
        lapsed, missing = _pack_contents(house, snapshot, packer)
        for path in sorted((data / "logs").glob("*/*.log")):
            if path.parent.name != "processes":
                packer.add_file(f"logs/{path.parent.name}/{path.name}", path)
        packer.finish(
            Manifest(
                taken_at=iso(house.clock.now()),
                collegium=version(),
                schema=snapshot.schema,
                ledger_lines=ledger.lines,
                ledger_root=ledger.root,
                ledger_holds=ledger.holds,
                rows=row_counts(snapshot.conn),
                lapsed=lapsed,
                missing=missing,
            )
        )
    except BaseException:
        packer.abandon()
        raise


def _pack_contents(house: House, snapshot: Snapshot, packer: Packer) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every content the snapshot names; returns those that lapsed meanwhile and those that should be there."""
    root = house.settings.data.absolute() / "blobs"
    lapsed: list[str] = []
    missing: list[str] = []
    rows = snapshot.conn.execute(
        sa.select(blobs.c.domain, blobs.c.digest).order_by(blobs.c.domain, blobs.c.digest)
    ).all()
    for row in rows:
        name = f"{row.domain}/{row.digest[:2]}/{row.digest}"
        try:
            packer.add_file(f"blobs/{name}", root / name)
        except FileNotFoundError:
            (missing if _is_named(house, row.domain, row.digest) else lapsed).append(f"{row.domain}/{row.digest}")
    return tuple(lapsed), tuple(missing)


def _is_named(house: House, domain: str, digest: str) -> bool:
    with house.db.read() as conn:
        here = sa.select(blobs.c.digest).where(blobs.c.domain == domain, blobs.c.digest == digest)
        return conn.execute(here).first() is not None


def _sealer(target: BinaryIO, snapshot: Snapshot, passphrase: str, recovery_key: str) -> Sealer:
    return Sealer(target, collegium=version(), schema=snapshot.schema, passphrase=passphrase, recovery_key=recovery_key)


def _enough_space(folder: Path, snapshot: Snapshot) -> None:
    contents = snapshot.conn.execute(sa.select(sa.func.coalesce(sa.func.sum(blobs.c.size), 0))).scalar_one()
    free = shutil.disk_usage(folder).free
    # What is stored is compressed, so this errs on the side of asking for too much by little.
    if free < contents + snapshot.file.stat().st_size:
        raise Unavailable(
            f"{folder} has {free >> 20:,} MiB free; this backup may need {contents >> 20:,}; nothing was written",
            code="disk_full",
            hint="name a folder with more space",
        )


def _open_new(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _notes(settings: Settings) -> Path:
    return settings.data.absolute() / "backups"


def _note(settings: Settings, view: BackupView) -> None:
    """Remember the newest backup; never its key."""
    notes = _notes(settings)
    notes.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = notes / f".{NEWEST}.{os.getpid()}"
    unfinished.write_bytes(msgspec.json.encode(msgspec.structs.replace(view, recovery_key=None)))
    unfinished.replace(notes / NEWEST)
