"""What an entry's signatures are worth, checked now; what is to be signed; and what it takes to check it elsewhere."""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.artifacts.tables import versions as artifact_versions
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.errors import InvalidInput
from hub.ledger.tables import ledger
from hub.notebook import dsse, keys, names, rules, statement
from hub.notebook.signing import signed_version
from hub.notebook.statement import Custody, Meaning, Predicate
from hub.notebook.tables import entries, entry_attachments, entry_versions, signatures, signing_keys
from hub.notebook.verify import Check, Record, SignedKey, SignedVersion, Verification, verify
from hub.people import views as people
from hub.people.views import PersonView


class SignatureView(msgspec.Struct, frozen=True, kw_only=True):
    """Who signed a version, as what, with which key, and whether that holds now."""

    id: str
    signer: PersonView
    meaning: Meaning
    custody: Custody
    custody_words: str
    key: str
    key_name: str
    fingerprint: str
    key_revoked: str | None
    stated_at: str  # the signer's clock
    at: str  # the hub's clock
    line: int | None  # of the ledger; None within the action that signs
    valid: bool
    words: str
    checks: tuple[Check, ...]


class SignedBytes(msgspec.Struct, frozen=True, kw_only=True):
    """One signature with all that is needed to check it without this hub."""

    signature: SignatureView
    envelope: str  # the very bytes, base64
    public: str  # the key's 32 bytes, hex


class EntryVerification(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a version is what was saved and what was signed, in words, with every check."""

    entry: str
    name: str
    version: int
    valid: bool
    signed: bool
    words: str
    digest: str
    body: str  # the canonical bytes of the version, base64
    checks: list[Check]
    signatures: list[SignedBytes]


class StatementView(msgspec.Struct, frozen=True, kw_only=True):
    """The bytes a detached signature of this version must carry, and how to make one."""

    payload_type: str
    payload: str  # base64; sign and send these bytes unchanged
    pae: str  # base64; what Ed25519 signs: the payload with its type and length in front
    statement: msgspec.Raw
    key: str
    how: str


def signatures_of(scope: Scope, entry: Any, version: int) -> list[SignatureView]:
    """The signatures of a version in the order they were made, each verified now."""
    return [view for view, _ in _checked(scope, entry, version)]


def verification(scope: Scope, ref: str, version: int | None = None) -> EntryVerification:
    """Check a version: its bytes, its place in the entry's history, what it cites, every signature."""
    entry_id = scope.access.find("entry", ref, "entry:read")
    row = scope.execute(sa.select(entries).where(entries.c.id == entry_id)).one()
    number = names.checked_version(row, version)
    kept = signed_version(scope, entry_id, row.session, number)
    checks = [_body_check(scope, kept), _history_check(scope, entry_id), _store_check(scope, entry_id, number)]
    signed = _checked(scope, row, number)
    valid = all(check.holds for check in checks) and all(view.valid for view, _ in signed)
    return EntryVerification(
        entry=entry_id,
        name=names.name(scope, row.session, row.number),
        version=number,
        valid=valid,
        signed=bool(signed),
        words=_words(checks, [view for view, _ in signed]),
        digest=kept.body_digest,
        body=_base64(kept.body),
        checks=checks,
        signatures=[
            SignedBytes(signature=view, envelope=_base64(each.envelope), public=each.public.hex())
            for view, each in signed
        ],
    )


def to_sign(scope: Scope, ref: str, key: str, meaning: Meaning = "author", version: int | None = None) -> StatementView:
    """The statement the actor would sign with this key of theirs, held by themselves."""
    entry_id = scope.access.find("entry", ref, "entry:read")
    row = scope.execute(sa.select(entries).where(entries.c.id == entry_id)).one()
    number = names.checked_version(row, version)
    own = keys.named(scope, key, "key")
    if own.custody != "client":
        raise InvalidInput("the hub holds this key; sign by its name", code="not_client_held", path="key")
    kept = signed_version(scope, entry_id, row.session, number)
    payload = statement.state(
        kept.body,
        kept.attachments,
        Predicate(
            meaning=meaning,
            signer=scope.actor.id,
            key=own.id,
            custody="client",
            session=row.session,
            entry=entry_id,
            version=number,
            at=scope.now.replace(microsecond=0).astimezone(dt.UTC),
        ),
    )
    return StatementView(
        payload_type=dsse.PAYLOAD_TYPE,
        payload=_base64(payload),
        pae=_base64(dsse.to_be_signed(payload)),
        statement=msgspec.Raw(payload),
        key=own.id,
        how="Sign `pae` with Ed25519 and send {payload, payloadType, signatures: [{keyid: key, sig}]} as `signature`.",
    )


def _checked(scope: Scope, entry: Any, version: int) -> list[tuple[SignatureView, Any]]:
    rows = scope.execute(
        sa.select(
            signatures,
            signing_keys.c.name.label("key_name"),
            signing_keys.c.person.label("key_person"),
            signing_keys.c.public,
            signing_keys.c.custody.label("key_custody"),
            signing_keys.c.created_line,
            signing_keys.c.revoked_at,
            signing_keys.c.revoked_line,
            ledger.c.object.label("line_object"),
        )
        .join(signing_keys, signing_keys.c.id == signatures.c.key)
        .outerjoin(ledger, ledger.c.line == signatures.c.line)
        .where(signatures.c.entry == entry.id, signatures.c.version == version)
        .order_by(signatures.c.id)
    ).all()
    if not rows:
        return []
    signing = isinstance(scope, Context)
    kept = signed_version(scope, entry.id, entry.session, version)
    signers = people.people(scope, {row.person for row in rows})
    return [(_view(row, signers[row.person], _verified(row, kept, signing=signing)), row) for row in rows]


def _verified(row: Any, kept: SignedVersion, *, signing: bool) -> Verification:
    line = row.line if row.line_object == row.id else None
    if signing and row.line is None:
        # Its line is written last of all, so it will come after everything that is known of the key now.
        line = row.created_line + 1
    return verify(
        Record(
            envelope=row.envelope,
            person=row.person,
            key=row.key,
            meaning=row.meaning,
            custody=row.custody,
            stated_at=row.stated_at,
            line=line,
        ),
        kept,
        SignedKey(
            id=row.key,
            person=row.key_person,
            public=row.public,
            custody=row.key_custody,
            created_line=row.created_line,
            revoked_line=row.revoked_line,
        ),
    )


def _view(row: Any, signer: PersonView, found: Verification) -> SignatureView:
    return SignatureView(
        id=row.id,
        signer=signer,
        meaning=row.meaning,
        custody=row.custody,
        custody_words="Key held by this hub: lower assurance" if row.custody == "hub" else "Key held by the signer",
        key=row.key,
        key_name=row.key_name,
        fingerprint=keys.fingerprint(row.public),
        key_revoked=None if row.revoked_at is None else iso(row.revoked_at),
        stated_at=iso(row.stated_at),
        at=iso(row.at),
        line=row.line,
        valid=found.valid,
        words=found.words,
        checks=found.checks,
    )


def _body_check(scope: Scope, kept: SignedVersion) -> Check:
    """The text shown is read from columns; it must be the text in the bytes that are signed."""
    row = scope.execute(
        sa.select(entry_versions).where(entry_versions.c.entry == kept.entry, entry_versions.c.version == kept.version)
    ).one()
    body = rules.body_bytes(
        rules.EntryText(row.title, row.content, tuple(row.tools_used), row.conclusions),
        kept.attachments,
        session=kept.session,
        author=row.author,
        previous=row.previous_digest,
    )
    holds = body == kept.body and rules.digest(body) == kept.body_digest
    return Check("text", holds, "the text is what was saved" if holds else "the text is not what was saved")


def _history_check(scope: Scope, entry: str) -> Check:
    """Each version names the digest of the one before, from the first to the newest."""
    previous, expected = None, 1
    for row in scope.execute(
        sa.select(entry_versions.c.version, entry_versions.c.body_digest, entry_versions.c.previous_digest)
        .where(entry_versions.c.entry == entry)
        .order_by(entry_versions.c.version)
    ):
        if row.version != expected or row.previous_digest != previous:
            return Check("record", False, f"the history breaks at version {row.version}")
        previous, expected = row.body_digest, expected + 1
    return Check("record", True, f"the history is whole: {expected - 1} version{'' if expected == 2 else 's'}")


def _store_check(scope: Scope, entry: str, version: int) -> Check:
    """The artifacts on record are still those cited."""
    rows = scope.execute(
        sa.select(entry_attachments.c.name, entry_attachments.c.digest, artifact_versions.c.digest.label("kept"))
        .outerjoin(artifact_versions, artifact_versions.c.id == entry_attachments.c.version_id)
        .where(entry_attachments.c.entry == entry, entry_attachments.c.version == version)
    ).all()
    changed = sorted(row.name for row in rows if row.digest is not None and row.kept != row.digest)
    if changed:
        return Check("attachments", False, f"on record with another digest than cited: {rules.listed(changed[:5])}")
    return Check("attachments", True, f"{len(rows)} cited, all on record" if rows else "nothing is cited")


def _words(checks: list[Check], signed: list[SignatureView]) -> str:
    broken = [check.words for check in checks if not check.holds]
    broken += [f"{view.signer.name}'s signature: {view.words}" for view in signed if not view.valid]
    if broken:
        return f"Not verified: {'; '.join(broken)}"
    if not signed:
        return "The text is what was saved. Nobody has signed this version."
    count = {1: "once", 2: "twice"}.get(len(signed), f"{len(signed)} times")
    return f"Verified: signed {count}, and the text and every attachment are what was signed."


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
