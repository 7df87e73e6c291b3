"""Encrypted frames: how the bytes of one blob lie on disk.

A framed file is a header, then frames, then an index and a footer once it is complete:

    header  b"CLGBLOB1" | blob id (16) | length of the sealed key (u16) | data key, sealed by its key domain
    frame   plaintext length (u32) | compressed? (top bit) and stored length (u32) | nonce (12) | ciphertext and tag
    index   nonce (12) | sealed list of the frames' two length words
    footer  offset of the index (u64) | its length (u32) | b"CLGEND1\n"

A frame holds at most 1 MiB of plaintext, so that memory is constant and a range costs only the frames it touches.
Each frame is AES-256-GCM under the blob's own data key with a random nonce; its associated data is the blob id, its
offset and its lengths, so frames cannot be moved, swapped or dropped. The index is bound to the SHA-256 of the whole
and to the key domain, so one blob's file cannot stand in for another's.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import BinaryIO

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.core.errors import TamperDetected

FRAME_BYTES = 1 << 20
KEY_BYTES = 32
ID_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
WORTH_COMPRESSING = 0.97  # A frame that zstd shrinks by less than 3 % is stored raw: reading it back is then cheaper.

_MAGIC = b"CLGBLOB1"
_END = b"CLGEND1\n"
_HEADER = struct.Struct(">8s16sH")
_LENGTHS = struct.Struct(">II")
_FOOTER = struct.Struct(">QI8s")
_COMPRESSED = 1 << 31
_LARGEST_STORED = FRAME_BYTES + NONCE_BYTES + TAG_BYTES


def damaged(why: str) -> TamperDetected:
    """The one error for bytes on disk that are not what was written."""
    return TamperDetected(f"stored bytes do not verify: {why}", code="blob_damaged", hint="restore it from a backup")


class FrameKey:
    """Seals and opens the frames of one blob. Not for two threads at once."""

    def __init__(self, key: bytes, blob_id: bytes) -> None:
        self.blob_id = blob_id
        self._cipher = AESGCM(key)
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._decompressor = zstandard.ZstdDecompressor()

    def seal(self, plaintext: bytes, offset: int) -> bytes:
        """One whole frame, its length words included."""
        packed = self._compressor.compress(plaintext)
        body, flag = (packed, _COMPRESSED) if len(packed) < len(plaintext) * WORTH_COMPRESSING else (plaintext, 0)
        lengths = _LENGTHS.pack(len(plaintext), flag | (len(body) + NONCE_BYTES + TAG_BYTES))
        nonce = os.urandom(NONCE_BYTES)
        return lengths + nonce + self._cipher.encrypt(nonce, body, self._about(offset, lengths))

    def open(self, lengths: bytes, sealed: bytes, offset: int) -> bytes:
        try:
            body = self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._about(offset, lengths))
        except (InvalidTag, ValueError):
            raise damaged(f"the frame at byte {offset} was changed") from None
        plain, stored = _LENGTHS.unpack(lengths)
        if stored & _COMPRESSED:
            try:
                body = self._decompressor.decompress(body, max_output_size=plain)
            except zstandard.ZstdError:
                raise damaged(f"the frame at byte {offset} does not decompress") from None
        if len(body) != plain:
            raise damaged(f"the frame at byte {offset} has another length than it says")
        return body

    def seal_index(self, lengths: bytes, digest: str, domain: str) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, lengths, self._about_whole(digest, domain))

    def open_index(self, sealed: bytes, digest: str, domain: str) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._about_whole(digest, domain))
        except (InvalidTag, ValueError):
            raise damaged("the index belongs to other content or was changed") from None

    def _about(self, offset: int, lengths: bytes) -> bytes:
        return b"frame\0" + self.blob_id + struct.pack(">Q", offset) + lengths

    def _about_whole(self, digest: str, domain: str) -> bytes:
        return b"index\0" + self.blob_id + bytes.fromhex(digest) + domain.encode()


def write_header(file: BinaryIO, blob_id: bytes, sealed_key: bytes) -> None:
    file.write(_HEADER.pack(_MAGIC, blob_id, len(sealed_key)) + sealed_key)


def read_header(fd: int) -> tuple[bytes, bytes, int]:
    """Blob id, sealed data key, and where the first frame begins."""
    head = os.pread(fd, _HEADER.size, 0)
    if len(head) < _HEADER.size:
        raise damaged("the file ends inside its header")
    magic, blob_id, key_length = _HEADER.unpack(head)
    if magic != _MAGIC:
        raise damaged("this is not a blob file")
    sealed_key = os.pread(fd, key_length, _HEADER.size)
    if len(sealed_key) != key_length:
        raise damaged("the file ends inside its header")
    return blob_id, sealed_key, _HEADER.size + key_length


def write_end(file: BinaryIO, key: FrameKey, lengths: bytes, digest: str, domain: str) -> None:
    """Closes a file of frames: from here on it can be read by range."""
    index = key.seal_index(lengths, digest, domain)
    start = file.tell()
    file.write(index + _FOOTER.pack(start, len(index), _END))


class FrameIndex:
    """Where each frame of a complete file lies, in plaintext and on disk."""

    def __init__(self, lengths: bytes, first: int) -> None:
        self.words = [lengths[i : i + _LENGTHS.size] for i in range(0, len(lengths), _LENGTHS.size)]
        pairs = [_LENGTHS.unpack(word) for word in self.words]
        self.plain_starts = list(accumulate((plain for plain, _ in pairs), initial=0))
        stored = ((word & ~_COMPRESSED) + _LENGTHS.size for _, word in pairs)
        self.file_starts = list(accumulate(stored, initial=first))

    @property
    def size(self) -> int:
        return int(self.plain_starts[-1])

    def frames(self, offset: int, end: int) -> range:
        """The numbers of the frames that hold the plaintext bytes [offset, end)."""
        if offset >= end:
            return range(0)
        return range(bisect_right(self.plain_starts, offset) - 1, bisect_right(self.plain_starts, end - 1))


def read_index(fd: int, key: FrameKey, first: int, digest: str, domain: str) -> FrameIndex:
    length = os.fstat(fd).st_size
    footer = os.pread(fd, _FOOTER.size, max(0, length - _FOOTER.size))
    if len(footer) < _FOOTER.size:
        raise damaged("the file ends before its index")
    start, index_length, end = _FOOTER.unpack(footer)
    if end != _END or start + index_length + _FOOTER.size != length:
        raise damaged("the file was cut or added to")
    lengths = key.open_index(os.pread(fd, index_length, start), digest, domain)
    index = FrameIndex(lengths, first)
    if index.file_starts[-1] != start:
        raise damaged("frames are missing")
    return index


def read_frame(fd: int, key: FrameKey, index: FrameIndex, number: int) -> bytes:
    start, end = index.file_starts[number], index.file_starts[number + 1]
    frame = os.pread(fd, end - start, start)
    words, sealed = frame[: _LENGTHS.size], frame[_LENGTHS.size :]
    if words != index.words[number]:
        raise damaged(f"the frame at byte {index.plain_starts[number]} is not the one in the index")
    return key.open(words, sealed, index.plain_starts[number])


def lengths_of(frame: bytes) -> bytes:
    """The two length words of a sealed frame, as the index keeps them."""
    return frame[: _LENGTHS.size]


def scan(fd: int, first: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Walks the whole frames of an unfinished file: length words, file start, file end, plaintext length.

    Ends before a frame that was cut off, which is what a power failure leaves behind.
    """
    length, start = os.fstat(fd).st_size, first
    while True:
        words = os.pread(fd, _LENGTHS.size, start)
        if len(words) < _LENGTHS.size:
            return
        plain, stored = _LENGTHS.unpack(words)
        stored &= ~_COMPRESSED
        end = start + _LENGTHS.size + stored
        if not 0 < plain <= FRAME_BYTES or stored > _LARGEST_STORED or end > length:
            return
        yield words, start, end, plain
        start = end


def open_scanned(fd: int, key: FrameKey, words: bytes, start: int, end: int, offset: int) -> bytes:
    return key.open(words, os.pread(fd, end - start - _LENGTHS.size, start + _LENGTHS.size), offset)
