"""A run's folder as one archive: the same bytes whoever makes it, so that an upload that broke off can go on."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

# Above this an archive is uploaded as a file; below, it travels with the command that submits the job.
INLINE_BYTES = 64 << 10


class Content(msgspec.Struct, frozen=True):
    """A file to lay: where below the run's folder, how large, and its bytes when somebody asks for them."""

    path: str
    size: int
    pieces: Iterable[bytes]
    executable: bool = False


class Laid(msgspec.Struct, frozen=True):
    """A run's folder as it will lie there: its files, and folders that would be missing without being named."""

    contents: list[Content]
    folders: list[str]

    @property
    def size(self) -> int:
        """How many bytes its files have."""
        return sum(each.size for each in self.contents)

    @property
    def packed_bytes(self) -> int:
        """How many bytes its files have when they are compressed, about; of what is held in memory."""
        packing = zlib.compressobj(1)
        return sum(len(packing.compress(piece)) for each in self.contents for piece in each.pieces) + len(
            packing.flush()
        )

    def written(self) -> dict[str, str]:
        """The files that the hub writes itself, by path; inputs are named elsewhere."""
        ours = (each for each in self.contents if not each.path.startswith("work/"))
        return {each.path: b"".join(each.pieces).decode(errors="replace") for each in ours}


class _Pieces(io.RawIOBase):
    """Pieces read as a file; a piece too many or too few is a fault of whoever said the size."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._left:
            if (piece := next(self._pieces, None)) is None:
                return 0
            self._left = piece
        taken = self._left[: len(buffer)]
        buffer[: len(taken)] = taken
        self._left = self._left[len(taken) :]
        return len(taken)


def bundle(target: BinaryIO, runs: Iterable[tuple[str, Laid, int]]) -> None:
    """Write an archive, compressed, of runs' folders: below which folder in it, what is laid, and its files' time.

    By that time an untouched input is known later.
    """
    # No name and no time in gzip's head: two workers must make the same bytes.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for below, laid, at in runs:
            prefix = f"{below}/" if below else ""
            parents = {parent.as_posix() for each in laid.contents for parent in PurePosixPath(each.path).parents}
            for folder in sorted({*laid.folders, *parents} - {"."}):
                head = tarfile.TarInfo(prefix + folder)
                head.type, head.mode, head.mtime = tarfile.DIRTYPE, 0o700, at
                archive.addfile(head)
            for each in laid.contents:
                head = tarfile.TarInfo(prefix + each.path)
                head.size, head.mtime, head.mode = each.size, at, 0o700 if each.executable else 0o600
                archive.addfile(head, io.BufferedReader(_Pieces(iter(each.pieces))))


def lay(target: Path, laid: Laid, at: int) -> None:
    """Write a run's folder as an archive, with the folders that its files stand in."""
    with target.open("wb") as file:
        bundle(file, [("", laid, at)])


def held(laid: Laid) -> Laid:
    """The same with all bytes in memory, to be written as often as need be. Raises OSError for a wrong size."""
    contents = []
    for each in laid.contents:
        data = b"".join(each.pieces)
        if len(data) != each.size:
            raise OSError(f"{each.path} has {len(data)} bytes, and should have {each.size}")
        contents.append(msgspec.structs.replace(each, pieces=[data]))
    return Laid(contents, laid.folders)


def text(path: str, said: str | bytes, *, executable: bool = False) -> Content:
    """A small file that is written here."""
    data = said.encode() if isinstance(said, str) else said
    return Content(path, len(data), [data], executable)


def small(path: Path) -> bytes | None:
    """The archive's bytes, when it is small enough to travel with a command."""
    return path.read_bytes() if path.stat().st_size <= INLINE_BYTES else None
