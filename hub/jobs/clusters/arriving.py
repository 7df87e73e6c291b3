"""Outputs that an agent elsewhere brings: announced whole, then piece by piece, and believed by their digests only.

They are laid where an agent in the house would lay them, and collected from there as everything is. Only names that
were announced and checked are ever written, each with the size that was announced.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from hub.artifacts import rules as paths
from hub.core import limits
from hub.core.errors import Conflict, InvalidInput, NotFound, TooLarge
from hub.jobs import outputs, remote
from hub.jobs.anywhere.wire import Coming
from hub.jobs.remote import Remote

_LIST = "coming.json"
PIECE_BYTES = 1 << 20


class Arriving:
    """What is to come home of one run, in the run's folder on this hub."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._work, self._parts = home / "work", home / "arriving"

    def announce(self, files: list[Coming], there: Remote, fetch: Sequence[str] = ()) -> list[int | None]:
        """Keep the list; says from which byte each is wanted. Raises InvalidInput and TooLarge.

        Only what matches `fetch` may be larger than what comes by itself.
        """
        _check(files, there, fetch)
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = msgspec.json.encode((files, there))
        known = self._home / _LIST
        if not known.exists() or known.read_bytes() != kept:
            # What lies here already is of another list: pieces are found by their place in it, and digests stand there.
            for folder in (self._work, self._parts):
                shutil.rmtree(folder, ignore_errors=True)
            temporary = known.with_suffix(".new")
            temporary.write_bytes(kept)
            temporary.replace(known)
        for folder in (self._work, self._parts):
            folder.mkdir(exist_ok=True, mode=0o700)
        return [self._wanted(at, file) for at, file in enumerate(files)]

    def add(self, at: int, offset: int, piece: bytes) -> int:
        """Keep bytes of the file at this place of the list; returns how many of it are here. Raises HubError."""
        files, _ = self._list()
        if at >= len(files):
            raise NotFound("no file was announced at this place", code="file_not_found", path="at")
        file, part = files[at], self._parts / str(at)
        if self._wanted(at, file) is None:
            return file.size
        there = part.stat().st_size if part.exists() else 0
        if offset > there:
            raise Conflict(f"the bytes from {there} on are missing", code="offset_differs", path="offset")
        if offset + len(piece) > file.size:
            raise TooLarge("more bytes than were announced", code="file_too_long", path="offset")
        with part.open("r+b" if part.exists() else "xb") as target:
            target.seek(offset)
            target.write(piece)
            there = max(there, target.tell())
        if there == file.size:
            self._settle(part, file)
        return there

    def whole(self) -> None:
        """Everything announced is here: what does not come is written down. Raises Conflict."""
        files, there = self._list()
        missing = [file.path for at, file in enumerate(files) if self._wanted(at, file) is not None]
        if missing:
            raise Conflict(
                f"{len(missing)} files have not arrived", code="files_missing", path="run", errors=missing[:20]
            )
        remote.keep(self._home, there)

    def _settle(self, part: Path, file: Coming) -> None:
        digest = hashlib.sha256()
        with part.open("rb") as source:
            while piece := source.read(PIECE_BYTES):
                digest.update(piece)
        if digest.hexdigest() != file.digest:
            part.unlink()
            raise Conflict("the bytes that came are not those that were announced", code="digest_differs", path="at")
        target = self._work / file.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.replace(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):  # a name that is a file's and a folder's
            raise InvalidInput(f"{file.path} cannot lie there", path="at") from None
        os.utime(target, ns=(file.mtime_ns, file.mtime_ns))

    def _wanted(self, at: int, file: Coming) -> int | None:
        with contextlib.suppress(OSError):
            seen = (self._work / file.path).lstat()
            if (seen.st_size, seen.st_mtime_ns) == (file.size, file.mtime_ns):
                return None
        part = self._parts / str(at)
        return part.stat().st_size if part.exists() else 0

    def _list(self) -> tuple[list[Coming], Remote]:
        try:
            kept = (self._home / _LIST).read_bytes()
        except FileNotFoundError:
            raise Conflict("the outputs of this run were not announced", code="not_announced", path="run") from None
        return msgspec.json.decode(kept, type=tuple[list[Coming], Remote])


def _check(files: list[Coming], there: Remote, fetch: Sequence[str]) -> None:
    unasked = [(at, file.size) for at, file in enumerate(files) if not outputs.asked(file.path, fetch)]
    for at, size in unasked:
        if size > limits.COLLECT_FILE_BYTES:
            raise TooLarge(
                f"at most {limits.COLLECT_FILE_BYTES} bytes of a file come unasked", path=f"$.files[{at}].size"
            )
    if sum(size for _, size in unasked) > limits.COLLECT_BYTES:
        raise TooLarge(f"at most {limits.COLLECT_BYTES} bytes of a run come home unasked", path="$.files")
    if sum(file.size for file in files) > limits.COLLECT_BYTES + limits.COLLECT_ASKED_BYTES:
        raise TooLarge(f"at most {limits.COLLECT_ASKED_BYTES} bytes of a run are fetched", path="$.files")
    seen: set[str] = set()
    for at, file in enumerate(files):
        where = f"$.files[{at}].path"
        if _normal(file.path, where) != file.path:
            raise InvalidInput("this is not the normal form of a path", path=where)
        if file.path in seen:
            raise InvalidInput("this name was announced before", path=where)
        seen.add(file.path)
    if len(there.refer) > limits.COLLECT_FILES:
        raise TooLarge(f"at most {limits.COLLECT_FILES} files are referred to", path="$.there.refer")
    for at, referred in enumerate(there.refer):
        _normal(referred.path, f"$.there.refer[{at}].path")
        if not (0 <= referred.size < 1 << 62 and 0 <= referred.mtime_ns < 1 << 62):
            raise InvalidInput("this is out of range", path=f"$.there.refer[{at}]")
    texts = [there.cluster, there.folder, there.failed, *there.missing]
    if any("\0" in text or len(text) > 4096 for text in texts) or len(there.missing) > limits.COLLECT_FILES:
        raise InvalidInput("words have at most 4096 characters and no NUL", path="$.there")


def _normal(path: str, where: str) -> str:
    """Raises InvalidInput for whatever is not the plain name of a file below a folder."""
    try:
        path.encode()
        normal = paths.normal_path(path)
    except (UnicodeEncodeError, InvalidInput):
        normal = ""
    if not normal or any(len(part.encode()) > 255 for part in normal.split("/")):
        raise InvalidInput("this cannot be the path of a file", path=where)
    return normal
