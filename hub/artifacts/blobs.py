"""The blob port: bytes kept under the SHA-256 of their content, within one key domain.

Two domains never share bytes, not even equal ones: sharing would tell one tenant what another has, and erasing a
domain's key must erase its content. `put` has read everything back before it answers. `open` yields pieces and never
holds more than one frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import BinaryIO, Protocol, runtime_checkable

from hub.artifacts.frames import FRAME_BYTES
from hub.core.errors import NotFound, TooLarge

Stream = Iterable[bytes] | BinaryIO


@dataclass(frozen=True, slots=True)
class Blob:
    digest: str  # SHA-256 of the whole content, 64 lower-case hexadecimal digits
    size: int


class BlobStore(Protocol):
    def put(self, stream: Stream, domain: str, *, limit_bytes: int | None = None) -> Blob:
        """Keeps all bytes of the stream durably, or nothing. TooLarge past the limit, Unavailable on a full disk."""

    def open(self, digest: str, domain: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The bytes [offset, offset + length), clipped to what there is. NotFound; TamperDetected when altered."""

    def has(self, digest: str, domain: str) -> bool: ...

    def delete(self, digest: str, domain: str) -> None:
        """Removes the bytes; deleting what is not there is no error."""

    def keeping(self, domain: str) -> AbstractContextManager[None]:
        """Held from before `put` until the rows that name the digest are committed, so that a sweep waits for it."""

    def clearing(self, domain: str) -> AbstractContextManager[bool]:
        """Held by a sweep while it forgets rows and deletes bytes. False: somebody is keeping, try again later."""


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def pieces(stream: Stream, limit_bytes: int | None = None) -> Iterator[bytes]:
    """The stream regrouped into full frames; only the last is shorter."""
    taken, waiting = 0, bytearray()
    for piece in _parts(stream):
        taken += len(piece)
        if limit_bytes is not None and taken > limit_bytes:
            raise TooLarge(f"the content is longer than the {limit_bytes} bytes allowed here", code="blob_too_large")
        if not waiting and len(piece) == FRAME_BYTES:
            yield bytes(piece)
            continue
        waiting += piece
        while len(waiting) >= FRAME_BYTES:
            yield bytes(waiting[:FRAME_BYTES])
            del waiting[:FRAME_BYTES]
    if waiting:
        yield bytes(waiting)


def _parts(stream: Stream) -> Iterator[bytes]:
    # A binary file is iterable too, but by lines, and a 2 GiB file may be one line.
    if isinstance(stream, _Readable):
        while piece := stream.read(FRAME_BYTES):
            yield piece
    else:
        yield from stream


def missing(digest: str) -> NotFound:
    return NotFound(f"no content with the digest sha256:{digest} is kept here", code="content_not_found")


def clip(size: int, offset: int, length: int | None) -> tuple[int, int]:
    """Start and end of the asked range within what there is."""
    start = min(max(offset, 0), size)
    return start, size if length is None else min(size, start + max(length, 0))


class MemoryBlobs:
    """A blob store for tests: the same promises, kept in a dictionary."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], bytes] = {}
        self._lock = Lock()

    def put(self, stream: Stream, domain: str, *, limit_bytes: int | None = None) -> Blob:
        content = b"".join(pieces(stream, limit_bytes))
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            self._kept[domain, digest] = content
        return Blob(digest, len(content))

    def open(self, digest: str, domain: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        content = self._kept.get((domain, digest))
        if content is None:
            raise missing(digest)
        start, end = clip(len(content), offset, length)
        return (content[at : min(end, at + FRAME_BYTES)] for at in range(start, end, FRAME_BYTES))

    def has(self, digest: str, domain: str) -> bool:
        return (domain, digest) in self._kept

    def delete(self, digest: str, domain: str) -> None:
        self._kept.pop((domain, digest), None)

    def keeping(self, domain: str) -> AbstractContextManager[None]:
        return nullcontext()

    def clearing(self, domain: str) -> AbstractContextManager[bool]:
        return nullcontext(True)
