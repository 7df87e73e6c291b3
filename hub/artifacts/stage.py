"""What has arrived of an upload: an encrypted file of frames that only grows.

The file is the truth about how much is there. Whoever resumes scans it and cuts off a frame that a crash left torn,
so an acknowledged offset is never taken back and no row has to be written per request. Only one may add at a time.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from hub.artifacts.disk import DomainKeys, full_disk_is_said, make_directory, sync_directory
from hub.artifacts.frames import (
    FRAME_BYTES,
    ID_BYTES,
    KEY_BYTES,
    FrameKey,
    open_scanned,
    read_header,
    scan,
    write_header,
)
from hub.core.errors import Conflict, NotFound, TamperDetected
from hub.core.keys import seal, unseal

SYNC_BYTES = 32 * FRAME_BYTES  # How much may be lost of a request that the hub itself did not survive.


def create(path: Path, keys: DomainKeys, domain: str) -> None:
    """An empty stage, durable before anybody is told of it."""
    with full_disk_is_said():
        make_directory(path.parent)
        data_key, blob_id = secrets.token_bytes(KEY_BYTES), secrets.token_bytes(ID_BYTES)
        with path.open("xb") as file:
            write_header(file, blob_id, seal(keys.domain(domain), data_key, f"stage:{blob_id.hex()}"))
            file.flush()
            os.fsync(file.fileno())
        sync_directory(path.parent)


def arrived(path: Path) -> int:
    """How many bytes are there, without disturbing whoever is adding."""
    fd = _open(path, os.O_RDONLY)
    try:
        return sum(plain for _, _, _, plain in scan(fd, read_header(fd)[2]))
    finally:
        os.close(fd)


def _open(path: Path, how: int) -> int:
    try:
        return os.open(path, how | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound("this upload is gone", code="upload_not_found", hint="begin it anew") from None


class Stage:
    """A stage held by one writer. Raises Conflict when another holds it."""

    def __init__(self, path: Path, keys: DomainKeys, domain: str) -> None:
        self._fd = -1
        self._fd = _open(path, os.O_RDWR)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            blob_id, sealed_key, self._first = read_header(self._fd)
            self._key = FrameKey(unseal(keys.domain(domain), sealed_key, f"stage:{blob_id.hex()}"), blob_id)
        except BlockingIOError:
            self.close()
            raise Conflict(
                "this upload is being written by another request",
                code="upload_busy",
                hint="wait a moment, ask for the offset with HEAD and resume there",
            ) from None
        except BaseException:
            self.close()
            raise
        self.offset, self._end, self._unsynced = 0, self._first, 0
        for _, _, end, plain in scan(self._fd, self._first):
            self.offset, self._end = self.offset + plain, end
        os.ftruncate(self._fd, self._end)

    def append(self, piece: bytes) -> None:
        """Adds at most one frame of bytes. On a full disk the stage stays as it was."""
        frame = self._key.seal(piece, self.offset)
        with full_disk_is_said():
            try:
                written = 0
                while written < len(frame):
                    written += os.pwrite(self._fd, frame[written:], self._end + written)
            except OSError:
                os.ftruncate(self._fd, self._end)
                raise
            self._end += len(frame)
            self.offset += len(piece)
            self._unsynced += len(piece)
            if self._unsynced >= SYNC_BYTES:
                self.sync()

    def sync(self) -> None:
        """After this, what was appended survives a power failure."""
        with full_disk_is_said():
            os.fsync(self._fd)
        self._unsynced = 0

    def pieces(self) -> Iterator[bytes]:
        """All that arrived, decrypted. A frame that rotted is cut off with what follows, to be sent again."""
        offset = 0
        for words, start, end, plain in scan(self._fd, self._first):
            try:
                yield open_scanned(self._fd, self._key, words, start, end, offset)
            except TamperDetected:
                os.ftruncate(self._fd, start)
                raise Conflict(
                    f"what arrived after byte {offset} was damaged on the hub's disk",
                    code="upload_damaged",
                    hint="ask for the offset with HEAD and resume there",
                ) from None
            offset += plain

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def forget(held: Stage, path: Path) -> None:
    """Throws away a stage that we hold ourselves."""
    path.unlink(missing_ok=True)
    held.close()


def remove(path: Path) -> bool:
    """Throws a stage away, unless somebody is adding to it just now."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
