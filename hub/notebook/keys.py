"""Signing keys: made, found and revoked.

A key is *hub-held* (its private half sealed under its owner's key domain, used only in a signing window, shown as
lower assurance) or *client-held* (the hub knows the public half). Signing and revoking lock the key's row, so each is
before or after the other in the ledger, and a signature is judged by its line: a revoked key cannot back-date.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any, ClassVar

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.errors import Conflict, InvalidInput, NotFound
from hub.core.ids import looks_like_id, new_id
from hub.core.keys import seal, unseal
from hub.notebook import dsse, rules
from hub.notebook.statement import Custody
from hub.notebook.tables import signing_keys, signing_windows
from hub.notebook.verify import SignedKey
from hub.people import step_up

KEYS_PER_PERSON = 100

Name = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARACTERS)]
Code = Annotated[str, Meta(min_length=1, max_length=200)]


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key, without what signs."""

    key: str
    name: str
    custody: Custody
    algorithm: str
    public: str  # 32 bytes, hex
    fingerprint: str  # as `ssh-keygen -l` prints it
    created: str
    revoked: str | None


class CreateKey(Action, frozen=True, tag="key_create"):
    """Make a hub-held signing key, or register the public half of one you hold yourself."""

    name: Name
    public: Annotated[str, Meta(max_length=1000)] | None = None  # hex, base64, or a line of ssh-ed25519
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class RevokeKey(Action, frozen=True, tag="key_revoke"):
    """Revoke a signing key: what it signed before stays valid, what comes after never is."""

    key: Name


@handles(CreateKey, needs="key:create")
def create_key(act: CreateKey, ctx: Context) -> KeyView:
    """Seal a new private key under its owner's domain, or keep a public one after a step-up."""
    ctx.access.hub("key:create")
    rules.check_line(act.name, limits.NAME_CHARACTERS, "a key's name", "$.params.name")
    if not act.name.strip() or act.name.lstrip().startswith("{") or looks_like_id(act.name):
        raise InvalidInput("a key needs a name of its own", path="$.params.name", hint="for instance `laboratory-key`")
    _refuse_taken(ctx, act.name)
    key_id = new_id("key")
    if act.public is None:
        made = dsse.make_key()
        public, custody = made.public, "hub"
        sealed = seal(ctx.house.keys.domain_in(ctx.tx, ctx.actor.id), made.private, _about(key_id))
    else:
        # Without this, who stole a token could register a key of their own and sign in the person's name.
        step_up.prove(ctx, act.code, "registering a key that signs in your name")
        public, custody, sealed = _public_bytes(act.public), "client", None
        if ctx.execute(sa.select(signing_keys.c.id).where(signing_keys.c.public == public)).first() is not None:
            raise Conflict("this public key is registered already", code="key_known", path="$.params.public")
    ctx.execute(
        sa.insert(signing_keys).values(
            id=key_id,
            person=ctx.actor.id,
            name=act.name,
            algorithm="ed25519",
            public=public,
            private_sealed=sealed,
            custody=custody,
            created_at=ctx.now,
        )
    )
    ctx.about(
        "key",
        key_id,
        custody=custody,
        public=public.hex(),
        written=lambda line: _set(ctx, key_id, created_line=line),
    )
    return view(_row(ctx, key_id))


@handles(RevokeKey, needs="key:revoke")
def revoke_key(act: RevokeKey, ctx: Context) -> KeyView:
    """Lock the key, so that no signature of it is between the check and the line; its windows close."""
    ctx.access.hub("key:revoke")
    row = locked(ctx, named(ctx, act.key, "$.params.key").id)
    if row.revoked_at is not None:
        raise Conflict(f"the key was revoked on {iso(row.revoked_at)}", code="key_revoked", path="$.params.key")
    _set(ctx, row.id, revoked_at=ctx.now)
    ctx.execute(
        sa.update(signing_windows)
        .where(signing_windows.c.key == row.id, signing_windows.c.closed_at.is_(None))
        .values(closed_at=ctx.now)
    )
    ctx.about("key", row.id, written=lambda line: _set(ctx, row.id, revoked_line=line))
    return view(_row(ctx, row.id))


def mine(scope: Scope) -> list[KeyView]:
    """The actor's keys, newest first, revoked ones too."""
    rows = scope.execute(
        sa.select(signing_keys)
        .where(signing_keys.c.person == scope.actor.id)
        .order_by(signing_keys.c.created_at.desc())
    )
    return [view(row) for row in rows]


def named(scope: Scope, name: str, path: str) -> Any:
    """The row of one of the actor's own keys, by name or id. Raises NotFound."""
    row = find(scope, name)
    if row is None:
        raise NotFound(
            f"you have no signing key {rules.shown(name)}",
            code="key_not_found",
            path=path,
            hint="`key_create` makes one",
        )
    return row


def find(scope: Scope, name: str) -> Any | None:
    """The row of one of the actor's own keys, by name or id; the one in use before a revoked one of the same name."""
    of_that_name = signing_keys.c.id == name if looks_like_id(name, "key") else signing_keys.c.name == name
    return scope.execute(
        sa.select(signing_keys)
        .where(signing_keys.c.person == scope.actor.id, of_that_name)
        .order_by(signing_keys.c.revoked_at.is_(None).desc(), signing_keys.c.created_at.desc())
    ).first()


def locked(ctx: Context, key_id: str) -> Any:
    """The key's row, held until this action commits."""
    return ctx.execute(sa.select(signing_keys).where(signing_keys.c.id == key_id).with_for_update()).one()


def private_bytes(ctx: Context, row: Any) -> bytes:
    """The private half of a hub-held key. Raises TamperDetected when the row was swapped or changed."""
    return unseal(ctx.house.keys.domain_in(ctx.tx, row.person), row.private_sealed, _about(row.id))


def facts(row: Any) -> SignedKey:
    """What verification needs to know of a key."""
    return SignedKey(
        id=row.id,
        person=row.person,
        public=row.public,
        custody=row.custody,
        created_line=row.created_line,
        revoked_line=row.revoked_line,
    )


def view(row: Any) -> KeyView:
    """A key as its owner and those who check a signature see it."""
    return KeyView(
        key=row.id,
        name=row.name,
        custody=row.custody,
        algorithm=row.algorithm,
        public=row.public.hex(),
        fingerprint=fingerprint(row.public),
        created=iso(row.created_at),
        revoked=None if row.revoked_at is None else iso(row.revoked_at),
    )


def fingerprint(public: bytes) -> str:
    """SHA-256 of the key in SSH's wire form, so that `ssh-keygen -l` prints the same."""
    digest = hashlib.sha256(_SSH_PREFIX + public).digest()
    return "SHA256:" + base64.b64encode(digest).rstrip(b"=").decode()


_SSH_NAME = b"ssh-ed25519"
_SSH_PREFIX = len(_SSH_NAME).to_bytes(4, "big") + _SSH_NAME + (32).to_bytes(4, "big")


def _public_bytes(text: str) -> bytes:
    """The 32 bytes of a public key written in hex, in base64, or as OpenSSH writes it."""
    words = text.split()
    try:
        if len(words) >= 2 and words[0] == _SSH_NAME.decode():
            wire = base64.b64decode(words[1], validate=True)
            public = wire.removeprefix(_SSH_PREFIX) if wire.startswith(_SSH_PREFIX) else b""
        elif len(words) == 1 and len(words[0]) == 64:
            public = bytes.fromhex(words[0])
        else:
            public = base64.b64decode("".join(words), validate=True)
    except (ValueError, binascii.Error):
        public = b""
    if not dsse.is_sound_key(public):
        raise InvalidInput(
            "this is not an Ed25519 public key",
            code="bad_public_key",
            path="$.params.public",
            hint="give its 32 bytes in hex or base64, or the line of an id_ed25519.pub",
        )
    return public


def _refuse_taken(ctx: Context, name: str) -> None:
    own = ctx.execute(
        sa.select(signing_keys.c.name).where(signing_keys.c.person == ctx.actor.id, signing_keys.c.revoked_at.is_(None))
    ).scalars()
    names = set(own)
    if name in names:
        raise Conflict(f"you have a key {rules.shown(name)} already", code="key_name_taken", path="$.params.name")
    if len(names) >= KEYS_PER_PERSON:
        raise Conflict(f"{KEYS_PER_PERSON} keys in use are the most", code="too_many_keys", hint="revoke one first")


def _set(ctx: Context, key_id: str, **values: Any) -> None:
    ctx.execute(sa.update(signing_keys).where(signing_keys.c.id == key_id).values(**values))


def _row(ctx: Context, key_id: str) -> Any:
    return ctx.execute(sa.select(signing_keys).where(signing_keys.c.id == key_id)).one()


def _about(key_id: str) -> str:
    return f"signing_key:{key_id}"
