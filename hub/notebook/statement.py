"""What a signature says: an in-toto Statement over an entry's text and every file it cites.

The statement names by SHA-256 the body of one version and each attachment, and in its predicate who signs, with which
key, in whose custody, as what (author, reviewed, witnessed, rejected), and when the signer says it was. Its bytes are
made once, signed and stored; nobody ever serialises them again. Format: in-toto Attestation Framework v1,
github.com/in-toto/attestation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, get_args

import msgspec

from hub.core.errors import InvalidInput
from hub.notebook.rules import Attachment, digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:collegium:signature:v1"
BODY_SUBJECT = "urn:collegium:entry:body"
STATEMENT_BYTES = 256 * 1024

# A detached signature may come together with the entry it signs; the entry has no id yet when it is made.
NEW_ENTRY = "new"

Meaning = Literal["author", "reviewed", "witnessed", "rejected"]
Custody = Literal["hub", "client"]
MEANINGS: tuple[Meaning, ...] = get_args(Meaning)


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A thing signed, by digest."""

    name: str
    digest: dict[str, str]


class Predicate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is said about the subjects. `locations` are files cited by place only: their content is not signed."""

    meaning: Meaning
    signer: str
    key: str
    custody: Custody
    session: str
    entry: str
    version: int
    at: datetime
    locations: tuple[str, ...] = ()


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    type: str = msgspec.field(name="_type", default=STATEMENT_TYPE)
    subject: tuple[Subject, ...]
    predicate_type: str = msgspec.field(name="predicateType", default=PREDICATE_TYPE)
    predicate: Predicate


def state(body: bytes, attachments: Sequence[Attachment], predicate: Predicate) -> bytes:
    """The bytes to sign. Attachments without a digest go into `locations`, whatever the predicate said before."""
    stated = Statement(
        subject=subjects(body, attachments),
        predicate=msgspec.structs.replace(predicate, locations=locations(attachments)),
    )
    return msgspec.json.encode(stated, order="sorted")


def subjects(body: bytes, attachments: Sequence[Attachment]) -> tuple[Subject, ...]:
    """The body first, then the attachments in the order the entry names them."""
    named = [Subject(each.name, {"sha256": each.digest}) for each in attachments if each.digest is not None]
    return (Subject(BODY_SUBJECT, {"sha256": digest(body)}), *named)


def locations(attachments: Sequence[Attachment]) -> tuple[str, ...]:
    return tuple(each.name for each in attachments if each.digest is None)


def read(payload: bytes) -> Statement:
    """The statement in these bytes; InvalidInput says why there is none.

    A name that stands twice in one object is refused: two readers could see two different statements in the same
    signed bytes.
    """
    if len(payload) > STATEMENT_BYTES:
        raise _not_a_statement(f"it is longer than {STATEMENT_BYTES:,} bytes")
    try:
        json.loads(payload, object_pairs_hook=_names_once)
        stated = msgspec.json.decode(payload, type=Statement)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise _not_a_statement(str(problem)[:200]) from None
    if stated.type != STATEMENT_TYPE or stated.predicate_type != PREDICATE_TYPE:
        raise _not_a_statement(f"expected {STATEMENT_TYPE} with predicate {PREDICATE_TYPE}")
    if stated.predicate.at.tzinfo is None:
        raise _not_a_statement("its time has no zone")
    return stated


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in one object")
    return dict(pairs)


def _not_a_statement(reason: str) -> InvalidInput:
    return InvalidInput(f"the signed payload is not a signature statement: {reason}", code="bad_statement")
