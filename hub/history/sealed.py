"""One encrypted file: a header, then AES-256-GCM chunks in order, the last one marked as the last.

    header  b"CLGBKUP1" | length of the JSON (u16) | JSON: format, version, how the key is made, salt, key check
    chunk   ciphertext and tag of at most 1 MiB; nonce = prefix (7) | number (u32) | 1 for the last chunk (u8)

This is the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár, 2015): a chunk that was cut off, moved,
doubled or changed does not open, and a file that ends before its last chunk is known to be cut. The header is the
associated data of every chunk. The key comes from a passphrase by scrypt, or is a recovery key of 256 random bits.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import io
import secrets
import struct
import unicodedata
from typing import BinaryIO, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from hub.core.errors import Conflict, InvalidInput

FORMAT = 1
CHUNK_BYTES = 1 << 20
PASSPHRASE_CHARACTERS = 12
# Memory that scrypt takes is 1 KiB times this number: 64 MiB when writing, and at most 1 GiB when reading.
SCRYPT_COST = 1 << 16
SCRYPT_COST_MOST = 1 << 20

_MAGIC = b"CLGBKUP1"
_LENGTH = struct.Struct(">H")
_TAG_BYTES = 16
_LAST_CHUNK = 2**32 - 1
_KEY_PREFIX = "clgb-"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What can be read of a backup without its key."""

    format: int
    collegium: str
    schema: str
    key: Literal["scrypt", "recovery"]
    cost: int
    salt: str
    check: str
    prefix: str


def new_recovery_key() -> str:
    """256 random bits as a person can write them down."""
    text = base64.b32encode(secrets.token_bytes(32)).decode().rstrip("=").lower()
    return _KEY_PREFIX + "-".join(text[at : at + 4] for at in range(0, len(text), 4))


class Sealer(io.RawIOBase):
    """A file to write to; what is written is encrypted into `target`, and complete only after `close`."""

    def __init__(
        self, target: BinaryIO, *, collegium: str, schema: str, passphrase: str = "", recovery_key: str = ""
    ) -> None:
        if bool(passphrase) == bool(recovery_key):
            raise ValueError("one of passphrase and recovery key")
        if passphrase and len(passphrase) < PASSPHRASE_CHARACTERS:
            raise InvalidInput(
                f"the passphrase has fewer than {PASSPHRASE_CHARACTERS} characters", code="weak_passphrase"
            )
        salt, kind = secrets.token_bytes(16), "scrypt" if passphrase else "recovery"
        key, check = _keys(passphrase or recovery_key, kind, SCRYPT_COST, salt)
        prefix = secrets.token_bytes(7)
        header = _packed(
            Header(
                format=FORMAT,
                collegium=collegium,
                schema=schema,
                key="scrypt" if passphrase else "recovery",
                cost=SCRYPT_COST,
                salt=salt.hex(),
                check=check.hex(),
                prefix=prefix.hex(),
            )
        )
        self._target, self._chunks, self._waiting = target, _Chunks(key, prefix, header), bytearray()
        target.write(header)

    def writable(self) -> bool:
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self._waiting += piece
        # One chunk is always kept back, since only `close` knows which is the last.
        while len(self._waiting) > CHUNK_BYTES:
            self._target.write(self._chunks.seal(bytes(self._waiting[:CHUNK_BYTES]), is_last=False))
            del self._waiting[:CHUNK_BYTES]
        return len(piece)

    def finish(self) -> None:
        """Write the last chunk. Without it the file does not open, so what failed half-way is known to be cut."""
        self._target.write(self._chunks.seal(bytes(self._waiting), is_last=True))
        self._waiting.clear()


class Opener(io.RawIOBase):
    """The plaintext of such a file, each chunk checked before a byte of it is given out."""

    def __init__(self, source: BinaryIO, secret: str) -> None:
        self.header, packed = read_header(source)
        if not 1 < self.header.cost <= SCRYPT_COST_MOST:
            raise _damaged("its header asks for an impossible key")
        key, check = _keys(secret, self.header.key, self.header.cost, bytes.fromhex(self.header.salt))
        if not hmac.compare_digest(check, bytes.fromhex(self.header.check)):
            what = "passphrase" if self.header.key == "scrypt" else "recovery key"
            raise InvalidInput(f"this {what} does not open this backup; nothing was read", code="wrong_key")
        self._source, self._chunks = source, _Chunks(key, bytes.fromhex(self.header.prefix), packed)
        self._waiting, self._next, self._ended = b"", source.read(CHUNK_BYTES + _TAG_BYTES), False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(CHUNK_BYTES), b""))
        if not self._waiting and not self._ended:
            self._advance()
        piece, self._waiting = self._waiting[:size], self._waiting[size:]
        return piece

    def _advance(self) -> None:
        chunk, self._next = self._next, self._source.read(CHUNK_BYTES + _TAG_BYTES)
        self._ended = not self._next
        self._waiting = self._chunks.open(chunk, is_last=self._ended)


class _Chunks:
    """The numbered chunks of one file under one key."""

    def __init__(self, key: bytes, prefix: bytes, header: bytes) -> None:
        self._cipher, self._prefix, self._about = AESGCM(key), prefix, hashlib.sha256(header).digest()
        self._number = 0

    def seal(self, piece: bytes, *, is_last: bool) -> bytes:
        return self._cipher.encrypt(self._nonce(is_last), piece, self._about)

    def open(self, chunk: bytes, *, is_last: bool) -> bytes:
        number = self._number
        try:
            return self._cipher.decrypt(self._nonce(is_last), chunk, self._about)
        except (InvalidTag, ValueError):
            where = f"at {number * CHUNK_BYTES:,} bytes"
            why = "the file is cut off, or changed at its end" if is_last else "its bytes were changed"
            raise _damaged(f"{where} {why}") from None

    def _nonce(self, is_last: bool) -> bytes:
        if self._number > _LAST_CHUNK:
            raise OverflowError("a backup has at most 4 PiB")
        nonce = self._prefix + struct.pack(">IB", self._number, is_last)
        self._number += 1
        return nonce


def read_header(source: BinaryIO) -> tuple[Header, bytes]:
    """The header and its very bytes. Raises InvalidInput for another file, Conflict for one of a newer version."""
    start = source.read(len(_MAGIC) + _LENGTH.size)
    if len(start) < len(_MAGIC) + _LENGTH.size or not start.startswith(_MAGIC):
        raise InvalidInput("this file is not a backup of Collegium", code="not_a_backup")
    text = source.read(_LENGTH.unpack(start[len(_MAGIC) :])[0])
    try:
        format_number = msgspec.json.decode(text, type=_Format).format
        if format_number > FORMAT:
            raise Conflict(
                f"this backup has format {format_number}; this version of Collegium reads up to {FORMAT}",
                code="backup_newer",
                hint="restore it with the version that wrote it, or a newer one",
            )
        header = msgspec.json.decode(text, type=Header)
        lengths = [len(bytes.fromhex(field)) for field in (header.salt, header.check, header.prefix)]
    except (msgspec.MsgspecError, ValueError):
        raise _damaged("its header cannot be read") from None
    if lengths != [16, 16, 7]:
        raise _damaged("its header cannot be read")
    return header, start + text


class _Format(msgspec.Struct):
    format: int


def _packed(header: Header) -> bytes:
    text = msgspec.json.encode(header)
    return _MAGIC + _LENGTH.pack(len(text)) + text


def _keys(secret: str, kind: str, cost: int, salt: bytes) -> tuple[bytes, bytes]:
    """The key of the file, and what tells a wrong secret before anything is read."""
    if kind == "scrypt":
        text = unicodedata.normalize("NFKC", secret).encode()
        master = Scrypt(salt=salt, length=32, n=cost, r=8, p=1).derive(text)
    else:
        master = _recovery_bytes(secret)
    made = HKDF(hashes.SHA256(), 48, salt, b"collegium backup").derive(master)
    return made[:32], made[32:]


def _recovery_bytes(text: str) -> bytes:
    letters = "".join(text.lower().removeprefix(_KEY_PREFIX).split()).replace("-", "").upper()
    try:
        key = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise InvalidInput(
            "this is not a recovery key: 13 groups of 4 letters and digits",
            code="wrong_key",
            hint="it begins with clgb-",
        )
    return key


def _damaged(why: str) -> InvalidInput:
    return InvalidInput(f"this backup is damaged: {why}; nothing was restored", code="backup_damaged")
