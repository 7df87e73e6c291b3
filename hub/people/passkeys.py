"""Passkeys (WebAuthn): made for a person, and good for sign-in and for proving anew, without any password.

A count that goes backwards may mean that a passkey was copied: it is let in, and the ledger and its owner are told.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Actor, Context, Scope
from hub.core.errors import Conflict, NotFound, NotSignedIn, TooMany
from hub.core.house import House
from hub.core.ids import new_id
from hub.people import accounts, challenges, guesses, rules, sign_ins, step_up
from hub.people.authenticators import Changed
from hub.people.passwords import Code
from hub.people.sign_ins import SignedInView
from hub.people.tables import passkeys

Answer = Annotated[str, Meta(min_length=1, max_length=limits.PASSKEY_ANSWER_CHARACTERS)]


class SignInByPasskey(Action, frozen=True, tag="sign_in_passkey"):
    """Sign in with what an authenticator answered to a challenge of this hub, as JSON."""

    passkey: Answer
    secret_fields: ClassVar[tuple[str, ...]] = ("passkey",)


class AddPasskey(Action, frozen=True, tag="account_passkey_add"):
    """Add a passkey, from what an authenticator answered to a challenge of this hub, as JSON."""

    passkey: Answer
    name: Annotated[str, Meta(max_length=limits.NAME_CHARACTERS)] = ""
    secret_fields: ClassVar[tuple[str, ...]] = ("passkey",)


class RemovePasskey(Action, frozen=True, tag="account_passkey_remove"):
    """Remove one of your passkeys; it opens nothing any more."""

    passkey: Annotated[str, Meta(max_length=64)]
    code: Code | None = None
    secret_fields: ClassVar[tuple[str, ...]] = ("code",)


class PasskeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """One of your passkeys."""

    passkey: str
    name: str
    made: str
    used: str | None
    warned: str | None


def _count_guess(act: SignInByPasskey, house: House, actor: Actor) -> None:
    guesses.take(house, {f"address:{guesses.block(actor.address)}": limits.GUESSES_PER_ADDRESS})


@handles(SignInByPasskey, needs="sign_in:use", before=_count_guess)
def sign_in_by_passkey(act: SignInByPasskey, ctx: Context) -> SignedInView:
    """Possession and the device's own check of its user are two factors: no second page."""
    ctx.access.hub("sign_in:use")
    person = accept(ctx, act.passkey)
    if person is None or accounts.actor_of(ctx.conn, person) is None:
        raise NotSignedIn("this passkey is not known here", code="sign_in_refused", hint="sign in another way")
    guesses.give_back(ctx.tx, {f"address:{guesses.block(ctx.actor.address)}": 0})
    return sign_ins.begin(ctx, person, "passkey")


@handles(AddPasskey, needs="account:secure")
def add(act: AddPasskey, ctx: Context) -> Changed:
    """The challenge was issued to this person, who had proved to be here."""
    import webauthn
    from webauthn.helpers.exceptions import WebAuthnException

    person = sign_ins.the_person(ctx)
    answer = challenges.parsed(act.passkey)
    challenge = challenges.spend(ctx, answer, challenges.NEW, person)
    where = challenges.place(ctx.settings)
    try:
        made = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=where.host,
            expected_origin=where.origins,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise challenges.not_valid() from error
    have = _rows(ctx.conn, person)
    if len(have) >= limits.PASSKEYS_PER_PERSON:
        raise TooMany(f"you have {len(have)} passkeys; remove one first", code="too_many_passkeys")
    name = rules.visible_name(act.name)[: limits.NAME_CHARACTERS] or f"Passkey {len(have) + 1}"
    passkey = new_id("pky")
    if not ctx.tx.insert_new(
        passkeys,
        id=passkey,
        person=person,
        credential=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        name=name,
        made_at=ctx.now,
    ):
        raise Conflict("this passkey is registered already", code="passkey_known")
    sign_ins.end_all(ctx.tx, person, ctx.now, but=ctx.actor.sign_in_id)
    ctx.about("passkey", passkey, person=person)
    return Changed(person=person, cookie=sign_ins.renew(ctx))


@handles(RemovePasskey, needs="account:secure")
def remove(act: RemovePasskey, ctx: Context) -> Changed:
    """Another's passkey is as unknown as none."""
    person = sign_ins.the_person(ctx)
    step_up.prove(ctx, act.code, "removing a passkey")
    gone = ctx.execute(sa.delete(passkeys).where(passkeys.c.id == act.passkey, passkeys.c.person == person))
    if gone.rowcount != 1:
        raise NotFound("you have no such passkey", code="passkey_not_found", path="$.params.passkey")
    ctx.about("passkey", act.passkey, person=person)
    return Changed(person=person, cookie=sign_ins.renew(ctx))


def accept(ctx: Context, text: str, expected: str | None = None) -> str | None:
    """Whose passkey answered our challenge; None for one that is not known here or is not `expected`'s."""
    import webauthn
    from webauthn.helpers.exceptions import WebAuthnException

    answer = challenges.parsed(text)
    challenge = challenges.spend(ctx, answer, challenges.USE, None)
    row = ctx.execute(
        sa.select(passkeys).where(passkeys.c.credential == challenges.decoded(answer.get("rawId"))).with_for_update()
    ).first()
    if row is None or (expected is not None and row.person != expected):
        return None
    where = challenges.place(ctx.settings)
    try:
        found = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=where.host,
            expected_origin=where.origins,
            credential_public_key=row.public_key,
            credential_current_sign_count=0,  # looked at below: backwards is a warning, not a refusal
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise challenges.not_valid() from error
    values: dict[str, Any] = {"sign_count": found.new_sign_count, "used_at": ctx.now}
    if (row.sign_count or found.new_sign_count) and found.new_sign_count <= row.sign_count:
        values["warned_at"] = ctx.now
        ctx.about(
            "passkey",
            row.id,
            action="account_passkey_warning",
            person=row.person,
            count_before=row.sign_count,
            count=found.new_sign_count,
        )
    ctx.execute(sa.update(passkeys).where(passkeys.c.id == row.id).values(**values))
    return str(row.person)


def mine(scope: Scope) -> list[PasskeyRow]:
    """Your passkeys, the oldest first."""
    return [
        PasskeyRow(
            passkey=row.id,
            name=row.name,
            made=iso(row.made_at),
            used=None if row.used_at is None else iso(row.used_at),
            warned=None if row.warned_at is None else iso(row.warned_at),
        )
        for row in _rows(scope.conn, scope.actor.id)
    ]


def _rows(conn: sa.Connection, person: str) -> list[Any]:
    return list(
        conn.execute(sa.select(passkeys).where(passkeys.c.person == person).order_by(passkeys.c.made_at, passkeys.c.id))
    )
