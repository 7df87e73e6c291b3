"""Writing a line: the last statements of an action's transaction."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any

import msgspec

from hub.core.database import Tx
from hub.ledger import rules
from hub.ledger.tables import ledger, ledger_bodies, ledger_pending


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line says; people appear by opaque id only. Its JSON bytes are what is hashed, kept verbatim."""

    v: int = 1
    at: str
    actor: str
    action: str
    object_kind: str
    object: str
    session: str | None = None
    by_service: str | None = None
    link: str | None = None
    came_by: str | None = None  # the chat channel it was said in, so that its card can be posted there
    request: str | None = None  # sha256 of the action as it was decoded
    facts: dict[str, Any] = {}


def append(tx: Tx, body: Body, at: dt.datetime) -> int:
    """Record one line; returns the line (not its sequence: the sequencer gives that after commit)."""
    encoded = msgspec.json.encode(body)
    nonce = secrets.token_bytes(32)
    inserted = tx.insert(
        ledger,
        at=at,
        actor=body.actor,
        action=body.action,
        object_kind=body.object_kind,
        object=body.object,
        session=body.session,
        commitment=rules.commitment(nonce, encoded),
    )
    assert inserted.inserted_primary_key is not None
    line: int = inserted.inserted_primary_key[0]
    tx.insert(ledger_bodies, line=line, nonce=nonce, bytes=encoded)
    tx.insert(ledger_pending, line=line)
    return line
