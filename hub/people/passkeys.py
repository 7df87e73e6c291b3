"""Passkeys (WebAuthn): made for a person, and good for sign-in and for proving anew, without any password.

The challenge an authenticator signs was issued by us, is stored as a digest, and is used up with the answer. A count
that goes backwards may mean that a passkey was copied: it is let in, and both the ledger and its owner are told.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa
import webauthn
from msgspec import Meta
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json_dict
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from hub.core import limits
from hub.core.actions import Action, handles
from hub.core.clock import iso
from hub.core.context import Actor, Context, Scope
from hub.core.database import Tx
from hub.core.errors import Conflict, InvalidInput, NotFound, NotSignedIn, TooMany, Unavailable
from hub.core.house import House
from hub.core.ids import new_id
from hub.core.settings import Settings
from hub.people import accounts, guesses, once, rules, sign_ins, step_up
from hub.people.authenticators import Changed
from hub.people.passwords import Code
from hub.people.sign_ins import SignedInView
from hub.people.tables import passkeys

NEW, USE = "passkey_new", "passkey_use"
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


class Place(msgspec.Struct, frozen=True):
    """Where passkeys of this hub are good: a host name, and the origins a browser may come from."""

    host: str
    origins: list[str]


def place(settings: Settings) -> Place:
    """Raises Unavailable where there is no name to bind a passkey to; browsers take no bare IP address."""
    origins = sorted(settings.origins)
    for origin in [settings.origin, *origins]:
        host = urlsplit(origin).hostname or ""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if origin.startswith("https://") or host == "localhost":
                return Place(host, [each for each in origins if urlsplit(each).hostname == host])
    raise Unavailable(
        "passkeys need this hub to be reached by a name over https, or as localhost",
        code="passkeys_need_a_name",
        hint="the operator sets COLLEGIUM_PUBLIC_URL; on one's own machine, http://localhost:PORT will do",
    )


def are_possible(settings: Settings) -> bool:
    """Whether a browser would make passkeys for this hub at all."""
    try:
        place(settings)
    except Unavailable:
        return False
    return True


def options_to_add(house: House, actor: Actor) -> dict[str, Any]:
    """What a browser needs to make a passkey for this person."""
    with house.scope(actor) as scope:
        if not step_up.is_fresh(scope):
            raise step_up.required(scope, "adding a passkey")
        known = [row.credential for row in _rows(scope.conn, actor.id)]
    where, challenge = place(house.settings), secrets.token_bytes(32)
    made = webauthn.generate_registration_options(
        rp_id=where.host,
        rp_name="Collegium",
        user_id=actor.id.encode(),
        user_name=actor.handle,
        user_display_name=actor.name,
        challenge=challenge,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in known],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
    )
    _issue(house, challenge, NEW, actor.id)
    return options_to_json_dict(made)


def options_to_use(house: House, actor: Actor) -> dict[str, Any]:
    """What a browser needs to sign in, or to prove anew, with whichever passkey it has for this hub."""
    where, challenge = place(house.settings), secrets.token_bytes(32)
    subject = f"challenge:{guesses.block(actor.address)}"
    guesses.take(house, {subject: limits.PASSKEY_CHALLENGES_PER_ADDRESS})
    made = webauthn.generate_authentication_options(
        rp_id=where.host, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    _issue(house, challenge, USE, None)
    return options_to_json_dict(made)


def _issue(house: House, challenge: bytes, kind: str, person: str | None) -> None:
    expires = house.clock.now() + dt.timedelta(seconds=limits.PASSKEY_CHALLENGE_SECONDS)

    def work(tx: Tx) -> None:
        once.issue(tx, bytes_to_base64url(challenge), kind, person=person, expires_at=expires)

    house.db.write(work)


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
    person = sign_ins.the_person(ctx)
    answer = _parsed(act.passkey)
    challenge = _spend(ctx, answer, NEW, person)
    where = place(ctx.settings)
    try:
        made = webauthn.verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=where.host,
            expected_origin=where.origins,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as error:
        raise _not_valid() from error
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
    answer = _parsed(text)
    challenge = _spend(ctx, answer, USE, None)
    row = ctx.execute(
        sa.select(passkeys).where(passkeys.c.credential == _decoded(answer.get("rawId"))).with_for_update()
    ).first()
    if row is None or (expected is not None and row.person != expected):
        return None
    where = place(ctx.settings)
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
        raise _not_valid() from error
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


def _parsed(text: str) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise _not_valid() from None
    if not isinstance(answer, dict):
        raise _not_valid()
    return answer


def _spend(ctx: Context, answer: dict[str, Any], kind: str, person: str | None) -> bytes:
    """Use up the challenge that the answer says it answers; whether it truly does is verified after."""
    response = answer.get("response")
    client = _parsed_bytes(_decoded(response.get("clientDataJSON") if isinstance(response, dict) else None))
    challenge = client.get("challenge")
    if not isinstance(challenge, str):
        raise _not_valid()
    once.consume(ctx, challenge, kind=kind, person=person)
    return _decoded(challenge)


def _parsed_bytes(data: bytes) -> dict[str, Any]:
    try:
        return _parsed(data.decode())
    except UnicodeDecodeError:
        raise _not_valid() from None


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise _not_valid()
    try:
        return base64url_to_bytes(value)
    except ValueError:
        raise _not_valid() from None


def _not_valid() -> InvalidInput:
    return InvalidInput(
        "this is not what a passkey of this hub answers", code="passkey_not_valid", hint="try again from the page"
    )
