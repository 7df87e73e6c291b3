"""What lies in a backup: named members in a tar stream, compressed, sealed; the manifest with every digest comes last.

hub.sqlite3 | hub.pgdump      the database as it was at one moment
keys/..., operator.token      the hub's secrets: without them nothing in it opens
blobs/<domain>/<2>/<digest>   contents, as encrypted on disk
logs/<2>/<job>.log            what jobs wrote
manifest.json                 all members with size and SHA-256, rows by table, the ledger's size and root
"""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
import zstandard

from hub.core.decoding import UNREADABLE
from hub.core.errors import HubError, InvalidInput
from hub.history.sealed import Opener, Sealer

MANIFEST = "manifest.json"
MANIFEST_BYTES = 1 << 30
BUFFER_BYTES = 1 << 20
DATABASES = ("hub.sqlite3", "hub.pgdump")
_NAMES = re.compile(
    r"hub\.sqlite3|hub\.pgdump|manifest\.json|operator\.token|keys/[A-Za-z0-9_][A-Za-z0-9._-]{0,80}"
    r"|blobs/[A-Za-z0-9][A-Za-z0-9_-]{0,127}/[0-9a-f]{2}/[0-9a-f]{64}|logs/[A-Za-z0-9_-]{1,8}/[A-Za-z0-9_-]{1,80}\.log"
)
Report = Callable[[int], None]


class Member(msgspec.Struct, frozen=True):
    """A file of the archive."""

    name: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive holds and how the hub stood when it was taken."""

    taken_at: str
    collegium: str
    schema: str
    ledger_lines: int
    ledger_root: str
    ledger_holds: bool
    rows: dict[str, int]
    # Contents the database still named that had lapsed by the time they were to be copied, and such as were not there.
    lapsed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()


class Packer:
    """Writes an archive member by member."""

    def __init__(self, sealer: Sealer, report: Report = lambda written: None) -> None:
        self._sealer = sealer
        self._squeezed: Any = zstandard.ZstdCompressor(level=1, threads=0).stream_writer(
            cast(BinaryIO, sealer), closefd=False
        )
        self._tar = tarfile.open(fileobj=self._squeezed, mode="w|", bufsize=BUFFER_BYTES, format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._report = report
        self.members: list[Member] = []

    def add(self, name: str, source: BinaryIO, size: int) -> None:
        """`size` bytes of `source`; of a log that grows meanwhile, the first ones."""
        seen = _Counted(source, self._report)
        self._tar.addfile(_described(name, size), seen)
        self.members.append(Member(name, size, seen.hashed.hexdigest()))

    def add_file(self, name: str, path: Path) -> None:
        with path.open("rb") as source:
            self.add(name, source, path.stat().st_size)

    def abandon(self) -> None:
        """Write nothing more, not even an end: what failed half-way must not look whole."""
        stream: Any = self._tar.fileobj
        stream.closed = True

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest and the end."""
        text = msgspec.json.encode(msgspec.structs.replace(manifest, members=tuple(self.members)))
        self._tar.addfile(_described(MANIFEST, len(text)), io.BytesIO(text))
        self._tar.close()
        self._squeezed.close()
        self._sealer.finish()


def unpacked(
    opener: Opener, take: Callable[[str, Iterator[bytes]], None], report: Report = lambda read: None
) -> Manifest:
    """Hand every member to `take` and check it against the manifest. Raises InvalidInput for whatever does not fit."""
    found: list[Member] = []
    manifest: Manifest | None = None
    plain: Any = zstandard.ZstdDecompressor().stream_reader(cast(BinaryIO, opener), closefd=False)
    try:
        with tarfile.open(fileobj=plain, mode="r|", bufsize=BUFFER_BYTES) as tar:
            for entry in tar:
                if manifest is not None or not entry.isreg() or not _NAMES.fullmatch(entry.name):
                    raise _odd(f"it holds “{entry.name[:100]}”, which no backup has")
                source = tar.extractfile(entry)
                assert source is not None
                if entry.name == MANIFEST:
                    manifest = msgspec.json.decode(source.read(MANIFEST_BYTES), type=Manifest)
                    continue
                pieces = _Pieces(source, report)
                take(entry.name, iter(pieces))
                found.append(Member(entry.name, pieces.size, pieces.hashed.hexdigest()))
        # Tar stops at its own end; only the end of the file proves that nothing was cut off.
        while plain.read(1 << 20):
            pass
        while opener.read(1 << 20):
            pass
    except (tarfile.TarError, zstandard.ZstdError, *UNREADABLE) as error:
        raise _odd(str(error)) from None
    if manifest is None or tuple(found) != manifest.members:
        raise _odd("what it holds is not what its manifest lists")
    return manifest


def skip(_name: str, pieces: Iterator[bytes]) -> None:
    """Read a member and keep nothing of it."""
    for _ in pieces:
        pass


def _described(name: str, size: int) -> tarfile.TarInfo:
    if not _NAMES.fullmatch(name):
        raise HubError(f"“{name}” has no place in a backup", code="odd_member")
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


class _Counted(io.RawIOBase):
    """A file on its way into the archive, hashed as it is read."""

    def __init__(self, source: BinaryIO, report: Report) -> None:
        self._source, self._report, self.hashed = source, report, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self.hashed.update(piece)
        self._report(len(piece))
        return piece


class _Pieces:
    """A file on its way out, hashed as it is read."""

    def __init__(self, source: Any, report: Report) -> None:
        self._source, self._report, self.hashed, self.size = source, report, hashlib.sha256(), 0

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._source.read(1 << 20):
            self.hashed.update(piece)
            self.size += len(piece)
            self._report(len(piece))
            yield piece


def _odd(why: str) -> InvalidInput:
    return InvalidInput(f"this backup cannot be used: {why}", code="backup_damaged")
