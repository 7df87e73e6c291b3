"""Signing a version: with a hub-held key in a signing window, or by taking a detached signature made elsewhere.

Both end in `_keep`, under the key's lock. A detached envelope is accepted by the very function that verifies it later,
so nothing is stored that would not be shown as valid. Any string that is neither an envelope nor the name of one of the
signer's keys is refused.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Context, Scope
from hub.core.errors import Conflict, InvalidInput
from hub.core.ids import new_id
from hub.notebook import dsse, keys, rules, statement, windows
from hub.notebook.rules import Attachment, check_meaning, check_stated_time
from hub.notebook.statement import Meaning, Predicate, Statement
from hub.notebook.tables import entry_attachments, entry_versions, signatures
from hub.notebook.verify import Record, SignedVersion, verify


def sign(ctx: Context, version: SignedVersion, signature: str, meaning: Meaning, path: str) -> str:
    """Sign a version by `signature`: a detached DSSE envelope, or the name of a key. Returns the signature's id."""
    if signature.lstrip().startswith("{"):
        return _take(ctx, version, signature, meaning, path)
    row = keys.find(ctx, signature) if 0 < len(signature) <= limits.NAME_CHARACTERS else None
    if row is None:
        raise InvalidInput(
            f"{rules.shown(signature)} is neither a DSSE envelope nor the name of one of your keys; nothing was stored",
            code="unknown_signature",
            path=path,
            hint="sign the entry's statement with your own key, or make a key with `key_create`",
        )
    if row.custody != "hub":
        raise InvalidInput(
            f"you hold the key {rules.shown(row.name)} yourself; the hub cannot sign with it",
            code="not_hub_held",
            path=path,
            hint="sign the entry's statement with it and send the envelope",
        )
    return _by_hub(ctx, version, row, meaning, path)


def signed_version(scope: Scope, entry: str, session: str, version: int) -> SignedVersion:
    """A version as signatures cover it, read back from what is stored."""
    row = scope.execute(
        sa.select(entry_versions.c.body, entry_versions.c.body_digest).where(
            entry_versions.c.entry == entry, entry_versions.c.version == version
        )
    ).one()
    return SignedVersion(
        entry=entry,
        session=session,
        version=version,
        body=row.body,
        body_digest=row.body_digest,
        attachments=tuple(
            Attachment(each.name, each.digest)
            for each in scope.execute(
                sa.select(entry_attachments)
                .where(entry_attachments.c.entry == entry, entry_attachments.c.version == version)
                .order_by(entry_attachments.c.place)
            )
        ),
    )


def _by_hub(ctx: Context, version: SignedVersion, row: Any, meaning: Meaning, path: str) -> str:
    window = windows.require_open(ctx, row.id)
    row = keys.locked(ctx, row.id)
    _refuse_revoked(row, path)
    payload = statement.state(
        version.body,
        version.attachments,
        Predicate(
            meaning=meaning,
            signer=ctx.actor.id,
            key=row.id,
            custody="hub",
            session=version.session,
            entry=version.entry,
            version=version.version,
            at=ctx.now,
        ),
    )
    envelope = dsse.seal(payload, keys.private_bytes(ctx, row), row.id)
    return _keep(ctx, version, row, envelope, payload, statement.read(payload), path, window=window)


def _take(ctx: Context, version: SignedVersion, signature: str, meaning: Meaning, path: str) -> str:
    envelope = signature.encode()
    sealed = dsse.unseal(envelope)
    stated = statement.read(sealed.payload)
    row = keys.find(ctx, stated.predicate.key)
    if row is None or row.custody != "client":
        raise InvalidInput(
            "the signature names no key that you registered as held by yourself",
            code="signature_not_valid",
            path=path,
            hint="`key_create` with `public` registers one",
        )
    row = keys.locked(ctx, row.id)
    _refuse_revoked(row, path)
    found = verify(
        Record(
            envelope=envelope,
            person=ctx.actor.id,
            key=row.id,
            meaning=meaning,
            custody="client",
            stated_at=stated.predicate.at,
            line=row.created_line + 1,
        ),
        version,
        keys.facts(row),
    )
    if not found.valid:
        raise InvalidInput(
            "the signature does not hold for this version; nothing was stored",
            code="signature_not_valid",
            path=path,
            errors=[check.words for check in found.checks if not check.holds],
            hint="sign what `GET /api/entries/{entry}/statement` answers",
        )
    return _keep(ctx, version, row, envelope, sealed.payload, stated, path)


def _keep(
    ctx: Context,
    version: SignedVersion,
    row: Any,
    envelope: bytes,
    payload: bytes,
    stated: Statement,
    path: str,
    **facts: str,
) -> str:
    said = stated.predicate
    _check_signer(ctx, version, said)
    signature_id = new_id("sig")
    _refuse_twice(ctx, version, said, payload, path)
    ctx.execute(
        sa.insert(signatures).values(
            id=signature_id,
            entry=version.entry,
            version=version.version,
            person=ctx.actor.id,
            key=row.id,
            meaning=said.meaning,
            custody=row.custody,
            envelope=envelope,
            statement_digest=rules.digest(payload),
            stated_at=said.at,
            at=ctx.now,
        )
    )
    ctx.about(
        "signature",
        signature_id,
        version.session,
        action="note_sign",
        written=lambda line: _set_line(ctx, signature_id, line),
        entry=version.entry,
        version=version.version,
        key=row.id,
        meaning=said.meaning,
        custody=row.custody,
        statement=rules.digest(payload),
        envelope=rules.digest(envelope),
        **facts,
    )
    return signature_id


def _check_signer(ctx: Context, version: SignedVersion, said: Predicate) -> None:
    rows = ctx.execute(
        sa.select(entry_versions.c.version, entry_versions.c.author, entry_versions.c.at).where(
            entry_versions.c.entry == version.entry, entry_versions.c.version <= version.version
        )
    ).all()
    signed = next(row for row in rows if row.version == version.version)
    check_meaning(said.meaning, ctx.actor.id, {row.author for row in rows}, signed.author)
    check_stated_time(said.at, signed.at, ctx.now)


def _refuse_revoked(row: Any, path: str) -> None:
    if row.revoked_at is not None:
        raise Conflict(
            f"the key {rules.shown(row.name)} was revoked; nothing was stored", code="key_revoked", path=path
        )


def _refuse_twice(ctx: Context, version: SignedVersion, said: Predicate, payload: bytes, path: str) -> None:
    taken = ctx.execute(
        sa.select(signatures.c.id).where(
            sa.or_(
                signatures.c.statement_digest == rules.digest(payload),
                sa.and_(
                    signatures.c.entry == version.entry,
                    signatures.c.version == version.version,
                    signatures.c.person == ctx.actor.id,
                    signatures.c.meaning == said.meaning,
                ),
            )
        )
    ).first()
    if taken is not None:
        raise Conflict(
            f"you signed this as {said.meaning} already", code="signed_already", path=path, errors=[taken.id]
        )


def _set_line(ctx: Context, signature_id: str, line: int) -> None:
    ctx.execute(sa.update(signatures).where(signatures.c.id == signature_id).values(line=line))
