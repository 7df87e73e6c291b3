"""Signed tree heads, as C2SP checkpoints in signed notes (c2sp.org/tlog-checkpoint, c2sp.org/signed-note)."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.core.database import Tx
from hub.core.errors import TamperDetected
from hub.ledger import rules
from hub.ledger.sequencer import read_frontier
from hub.ledger.tables import checkpoints

_ED25519 = b"\x01"


def public_bytes(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name: str, public: bytes) -> bytes:
    """The 4-byte key hash of a signed note."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """The key in the note's text form: what a person pins to check this hub from outside."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def body(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"


def sign(key: Ed25519PrivateKey, origin: str, size: int, root: bytes) -> str:
    """A signed note over (origin, size, root)."""
    text = body(origin, size, root)
    signature = key.sign(text.encode())
    blob = base64.b64encode(key_id(origin, public_bytes(key.public_key())) + signature).decode()
    return f"{text}\n— {origin} {blob}\n"


def open_note(note: str, origin: str, public: bytes) -> tuple[int, bytes]:
    """(size, root) of a note whose signature holds. Raises TamperDetected when it does not."""
    try:
        text, _, signatures = note.partition("\n\n")
        text += "\n"
        name, size, root = text.rstrip("\n").split("\n")
        dash, signer, blob = signatures.rstrip("\n").split(" ")
        raw = base64.b64decode(blob, validate=True)
        if dash != "—" or name != origin or signer != origin or raw[:4] != key_id(origin, public):
            raise ValueError("another origin or key")
        Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
        return int(size), base64.b64decode(root, validate=True)
    except (ValueError, InvalidSignature):
        raise TamperDetected("a checkpoint's signature does not hold") from None


def make(tx: Tx, key: Ed25519PrivateKey, origin: str, now: dt.datetime) -> int | None:
    """Sign the tree as it stands, unless its size has a checkpoint already; returns the size signed."""
    size, frontier = read_frontier(tx.conn)
    if size == 0:
        return None
    root = rules.root(frontier)
    made = tx.insert_new(checkpoints, size=size, root=root, at=now, note=sign(key, origin, size, root))
    return size if made else None


def newest(conn: sa.Connection) -> sa.Row[tuple[int, bytes, dt.datetime, str]] | None:
    return conn.execute(sa.select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).first()
