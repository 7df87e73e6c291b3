"""Blobs on a local disk: one framed, encrypted file each.

    blobs/<domain>/<first two digits>/<digest>     complete blobs
    blobs/<domain>/.writing/<random>               being written; swept when nobody holds the domain

A blob appears by rename only after it was written, synced, read back, decrypted and hashed again. Content that is
already here is written anew all the same: presence is no proof of health, and the fresh copy replaces a rotten one.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from hub.artifacts.blobs import Blob, Stream, clip, missing, pieces
from hub.artifacts.frames import (
    ID_BYTES,
    KEY_BYTES,
    FrameIndex,
    FrameKey,
    damaged,
    lengths_of,
    read_frame,
    read_header,
    read_index,
    write_end,
    write_header,
)
from hub.core.errors import InvalidInput, Unavailable
from hub.core.keys import seal, unseal

_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DomainKeys(Protocol):
    """What of the key ring is needed here: the key of a domain, which wraps the data key of each of its blobs."""

    def domain(self, domain: str) -> bytes: ...


@contextmanager
def full_disk_is_said() -> Iterator[None]:
    """A full disk is the operator's matter and the sender's patience, never a traceback."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Unavailable(
            "the hub's disk is full; nothing of this was kept",
            code="disk_full",
            hint="free some space under the data folder and try again",
        ) from None


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Like mkdir -p, and durable: each new name is synced into its parent."""
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True, mode=0o700)
    sync_directory(path.parent)


class DiskBlobs:
    def __init__(self, root: Path, keys: DomainKeys) -> None:
        self._root = root
        self._keys = keys

    def put(self, stream: Stream, domain: str, *, limit_bytes: int | None = None) -> Blob:
        folder = self._domain(domain)
        with full_disk_is_said(), self.keeping(domain):
            writing = folder / ".writing"
            make_directory(writing)
            temporary = writing / secrets.token_hex(16)
            try:
                blob = self._write(temporary, stream, domain, limit_bytes)
                self._verify(temporary, blob, domain)
                path = self._path(blob.digest, domain)
                make_directory(path.parent)
                temporary.replace(path)
                sync_directory(path.parent)
                return blob
            finally:
                temporary.unlink(missing_ok=True)

    def open(self, digest: str, domain: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        reader = _Reader(self._path(digest, domain), self._keys, digest, domain)
        start, end = clip(reader.index.size, offset, length)
        return reader.read(start, end)

    def has(self, digest: str, domain: str) -> bool:
        return self._path(digest, domain).is_file()

    def delete(self, digest: str, domain: str) -> None:
        path = self._path(digest, domain)
        with suppress(FileNotFoundError):
            path.unlink()
            sync_directory(path.parent)

    @contextmanager
    def keeping(self, domain: str) -> Iterator[None]:
        with self._lock(domain, fcntl.LOCK_SH):
            yield

    @contextmanager
    def clearing(self, domain: str) -> Iterator[bool]:
        with self._lock(domain, fcntl.LOCK_EX | fcntl.LOCK_NB) as alone:
            if alone:
                # Nobody is writing, so whatever still lies here was left by a process that died.
                for left in (self._domain(domain) / ".writing").glob("*"):
                    left.unlink(missing_ok=True)
            yield alone

    @contextmanager
    def _lock(self, domain: str, how: int) -> Iterator[bool]:
        folder = self._domain(domain)
        make_directory(folder)
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, how)
                locked = True
            except BlockingIOError:
                locked = False
            yield locked
        finally:
            os.close(fd)

    def _write(self, path: Path, stream: Stream, domain: str, limit_bytes: int | None) -> Blob:
        data_key, blob_id = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(ID_BYTES)
        key, hashed, size, lengths = FrameKey(data_key, blob_id), hashlib.sha256(), 0, bytearray()
        with path.open("xb") as file:
            write_header(file, blob_id, seal(self._keys.domain(domain), data_key, f"blob:{blob_id.hex()}"))
            for piece in pieces(stream, limit_bytes):
                frame = key.seal(piece, size)
                file.write(frame)
                lengths += lengths_of(frame)
                hashed.update(piece)
                size += len(piece)
            digest = hashed.hexdigest()
            write_end(file, key, bytes(lengths), digest, domain)
            file.flush()
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):  # so that reading back reads the disk, not the page cache
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return Blob(digest, size)

    def _verify(self, path: Path, blob: Blob, domain: str) -> None:
        reader, hashed = _Reader(path, self._keys, blob.digest, domain), hashlib.sha256()
        for piece in reader.read(0, reader.index.size):
            hashed.update(piece)
        if hashed.hexdigest() != blob.digest or reader.index.size != blob.size:
            raise damaged("the disk gave back other bytes than were written")

    def _domain(self, domain: str) -> Path:
        if not _DOMAIN.fullmatch(domain):
            raise InvalidInput("that is not the name of a key domain", code="bad_domain")
        return self._root / domain

    def _path(self, digest: str, domain: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput("a digest is 64 lower-case hexadecimal digits", code="bad_digest")
        return self._domain(domain) / digest[:2] / digest


class _Reader:
    """An open blob file. The descriptor goes with the object, so a reader nobody finishes leaks nothing."""

    def __init__(self, path: Path, keys: DomainKeys, digest: str, domain: str) -> None:
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise missing(digest) from None
        blob_id, sealed_key, first = read_header(self._fd)
        self._key = FrameKey(unseal(keys.domain(domain), sealed_key, f"blob:{blob_id.hex()}"), blob_id)
        self.index: FrameIndex = read_index(self._fd, self._key, first, digest, domain)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        for number in self.index.frames(start, end):
            begin = self.index.plain_starts[number]
            frame = read_frame(self._fd, self._key, self.index, number)
            yield frame[max(0, start - begin) : end - begin]

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
