"""Encryption at rest: one key-encryption key -> key domains -> data keys.

A *key domain* is a session, a person or the hub; its key is random, kept in SQL wrapped by the key-encryption key, and
erasing it erases the content sealed under it while digests and the ledger still prove. Sealing is AES-256-GCM with a
fresh random nonce; the additional data names what is sealed, so that rows cannot be swapped.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.core.database import Database, Instant, Tx, metadata
from hub.core.errors import NotFound, TamperDetected

if TYPE_CHECKING:
    from hub.core.clock import Clock

key_domains = sa.Table(
    "key_domains",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("wrapped", sa.LargeBinary, nullable=True),  # NULL once erased
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("erased_at", Instant),
)
NONCE = 12


def seal(key: bytes, plaintext: bytes, about: str) -> bytes:
    """Nonce and ciphertext of `plaintext`, bound to what it is `about`."""
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, about.encode())


def unseal(key: bytes, sealed: bytes, about: str) -> bytes:
    """What `seal` was given. Raises TamperDetected when key, bytes or `about` are not the ones it was sealed with."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], about.encode())
    except (InvalidTag, ValueError):
        raise TamperDetected(f"sealed bytes of {about} do not open") from None


def secret_file(path: Path, length: int = 32) -> bytes:
    """The bytes of a secret file, made (mode 600) when absent; two processes that race end with the same one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(length))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    return path.read_bytes()


class KeyRing:
    """Opens key domains; keeps opened keys in memory only."""

    def __init__(self, db: Database, kek: bytes, clock: Clock) -> None:
        self._db, self._kek, self._clock = db, kek, clock
        self._open: dict[str, bytes] = {}

    def domain(self, domain: str) -> bytes:
        """The 32-byte key of a domain, made at first use. Raises NotFound once the domain was erased."""
        if (key := self._open.get(domain)) is not None:
            return key
        with self._db.read() as conn:
            row = conn.execute(sa.select(key_domains).where(key_domains.c.id == domain)).first()
        if row is None:
            return self._db.write(lambda tx: self.domain_in(tx, domain))
        self._keep(domain, self._unwrap(domain, row.wrapped))
        return self._open[domain]

    def domain_in(self, tx: Tx, domain: str) -> bytes:
        """As `domain`, within a unit of work that is already running."""
        if (key := self._open.get(domain)) is not None:
            return key
        key = secrets.token_bytes(32)
        wrapped = seal(self._kek, key, f"domain:{domain}")
        made = tx.insert_new(key_domains, id=domain, wrapped=wrapped, created_at=self._clock.now())
        if not made:
            row = tx.execute(sa.select(key_domains).where(key_domains.c.id == domain)).one()
            key = self._unwrap(domain, row.wrapped)
        # Kept only after COMMIT: a transaction that rolls back must not leave a key nobody stored.
        tx.after_commit(lambda: self._keep(domain, key))
        return key

    def forget(self, domain: str) -> None:
        """Drop an opened key from memory, because its domain was erased."""
        self._open.pop(domain, None)

    def _keep(self, domain: str, key: bytes) -> None:
        self._open[domain] = key

    def _unwrap(self, domain: str, wrapped: bytes | None) -> bytes:
        if wrapped is None:
            raise NotFound("this content was erased together with its key", code="erased")
        return unseal(self._kek, wrapped, f"domain:{domain}")
