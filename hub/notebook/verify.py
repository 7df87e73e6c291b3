"""Whether a signature holds: one pure function over what is stored, with every reason in words.

Nothing that the database says of a signature is believed because it stands there. Each fact is compared with what was
signed: the bytes of the body and the digest of every attachment, the entry, its version and session, the signer, the
key, its custody, the meaning and the time. A fact moved from one record to another makes some check fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

from hub.core.errors import InvalidInput
from hub.notebook import dsse, statement
from hub.notebook.rules import Attachment, digest
from hub.notebook.statement import Statement


class SignedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key as the hub keeps it. Lines are the ledger's: an order that nobody can set back."""

    id: str
    person: str
    public: bytes
    custody: str
    created_line: int
    revoked_line: int | None = None


class SignedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """The version a signature is kept with."""

    entry: str
    session: str
    version: int
    body: bytes
    body_digest: str
    attachments: tuple[Attachment, ...]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A signature as the hub keeps it: the envelope's very bytes, and what the hub says of them."""

    envelope: bytes
    person: str
    key: str
    meaning: str
    custody: str
    stated_at: datetime
    line: int | None  # None: the ledger has no line that names this signature


CheckName = Literal[
    "envelope", "signature", "key", "signer", "record", "text", "attachments", "meaning", "time", "ledger"
]


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at, and what was found, in a sentence."""

    name: CheckName
    holds: bool
    words: str


class Verification(msgspec.Struct, frozen=True):
    """Valid only when every check holds; `words` says it in a sentence."""

    valid: bool
    words: str
    checks: tuple[Check, ...]


def verify(record: Record, version: SignedVersion, key: SignedKey) -> Verification:
    """Check a stored signature against the version and the key it is kept with."""
    try:
        sealed = dsse.unseal(record.envelope)
        stated = statement.read(sealed.payload)
    except InvalidInput as problem:
        return _verdict([Check("envelope", False, problem.message)])
    said = stated.predicate
    of_type = sealed.payload_type == dsse.PAYLOAD_TYPE
    checks = [
        _check(
            "envelope", of_type, "a DSSE envelope with an in-toto statement", "the envelope's payload has another type"
        ),
        _check(
            "signature",
            dsse.fits(sealed, key.public),
            "the signature fits the key and the statement's bytes",
            "the signature does not fit the key and the statement's bytes",
        ),
        _check(
            "key",
            key.id == record.key == said.key == sealed.key and key.custody == record.custody == said.custody,
            f"made with the key on record ({_custody(said.custody)})",
            "the statement names another key, or another custody, than the record",
        ),
        _check(
            "signer",
            key.person == record.person == said.signer,
            "the key belongs to the signer",
            "the key, the record and the statement do not name the same signer",
        ),
        _check(
            "record",
            _names(stated, version),
            f"says it is about version {version.version} of this entry",
            f"says it is about version {said.version} of {said.entry} in {said.session}, not about this one",
        ),
        _text(stated, version),
        _attachments(stated, version.attachments),
        _check(
            "meaning",
            said.meaning == record.meaning,
            f"signed as “{said.meaning}”",
            f"signed as “{said.meaning}”, recorded as “{record.meaning}”",
        ),
        _check(
            "time",
            said.at == record.stated_at,
            "the time stated is the time recorded",
            "the time recorded is not the time stated",
        ),
        _ledger(record, key),
    ]
    return _verdict(checks)


def _names(stated: Statement, version: SignedVersion) -> bool:
    said = stated.predicate
    # A statement made before the entry had an id can only be about its first version; the hub takes it once.
    about = said.entry == version.entry or (said.entry == statement.NEW_ENTRY and version.version == 1)
    return about and said.version == version.version and said.session == version.session


def _text(stated: Statement, version: SignedVersion) -> Check:
    actual = digest(version.body)
    if actual != version.body_digest:
        return Check("text", False, "the text kept is not the text that was saved: its digest has changed")
    signed = stated.subject[0].digest if stated.subject and stated.subject[0].name == statement.BODY_SUBJECT else {}
    return _check(
        "text",
        signed == {"sha256": actual},
        "the text is what was signed",
        "the text is not what was signed",
    )


def _attachments(stated: Statement, attachments: Sequence[Attachment]) -> Check:
    """Every attachment under the same name with the same digest in the same order, and nothing besides."""
    signed = [(each.name, each.digest) for each in stated.subject[1:]]
    cited = [(each.name, {"sha256": each.digest}) for each in attachments if each.digest is not None]
    by_place = statement.locations(attachments)
    if signed == cited and stated.predicate.locations == by_place:
        files = f"{len(cited)} attachment{'' if len(cited) == 1 else 's'}"
        located = f"; {len(by_place)} by location only, content not signed" if by_place else ""
        return Check(
            "attachments", True, f"covers {files} by digest{located}" if cited or by_place else "no attachments"
        )
    differing = sorted({name for name, _ in _in_one_only(signed, cited)})
    return Check(
        "attachments",
        False,
        f"the attachments are not those that were signed: {', '.join(differing[:5]) or 'their order or places differ'}",
    )


def _in_one_only(
    signed: list[tuple[str, dict[str, str]]], cited: list[tuple[str, dict[str, str]]]
) -> list[tuple[str, dict[str, str]]]:
    """What stands in one list and not in the other."""
    return [each for each in signed if each not in cited] + [each for each in cited if each not in signed]


def _ledger(record: Record, key: SignedKey) -> Check:
    if record.line is None:
        return Check("ledger", False, "the ledger has no line for this signature")
    if record.line <= key.created_line:
        return Check("ledger", False, "the ledger has the signature before it has the key")
    if key.revoked_line is not None and record.line > key.revoked_line:
        return Check("ledger", False, f"the key was revoked at line {key.revoked_line}, before line {record.line}")
    later = "; the key was revoked later" if key.revoked_line is not None else ""
    return Check("ledger", True, f"the key was good at line {record.line}{later}")


def _custody(custody: str) -> str:
    return "held by this hub: lower assurance" if custody == "hub" else "held by the signer"


def _check(name: CheckName, holds: bool, yes: str, no: str) -> Check:
    return Check(name, holds, yes if holds else no)


def _verdict(checks: list[Check]) -> Verification:
    failed = [each for each in checks if not each.holds]
    if not failed:
        return Verification(True, "Verified: the text and every attachment are what was signed.", tuple(checks))
    return Verification(False, f"Not valid: {'; '.join(each.words for each in failed)}.", tuple(checks))
