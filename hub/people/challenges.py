"""The challenges that passkeys answer: where they are good, what a browser is asked, and taking an answer apart.

A challenge is 32 random bytes, stored as a digest, and used up with the answer. The WebAuthn library is imported where
it is used: it is large, and most processes of a hub never meet a passkey.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import ipaddress
import secrets
from typing import Any
from urllib.parse import urlsplit

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.context import Actor, Context
from hub.core.database import Tx
from hub.core.decoding import UNREADABLE
from hub.core.errors import InvalidInput, Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import guesses, once, step_up
from hub.people.tables import passkeys

NEW, USE = "passkey_new", "passkey_use"


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


def options_to_add(house: House, actor: Actor) -> dict[str, Any]:
    """What a browser needs to make a passkey for this person."""
    import webauthn
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    with house.scope(actor) as scope:
        if not step_up.is_fresh(scope):
            raise step_up.required(scope, "adding a passkey")
        known = list(scope.execute(sa.select(passkeys.c.credential).where(passkeys.c.person == actor.id)).scalars())
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
    return webauthn.helpers.options_to_json_dict(made)


def options_to_use(house: House, actor: Actor) -> dict[str, Any]:
    """What a browser needs to sign in, or to prove anew, with whichever passkey it has for this hub."""
    import webauthn
    from webauthn.helpers.structs import UserVerificationRequirement

    where, challenge = place(house.settings), secrets.token_bytes(32)
    subject = f"challenge:{guesses.block(actor.address)}"
    guesses.take(house, {subject: limits.PASSKEY_CHALLENGES_PER_ADDRESS})
    made = webauthn.generate_authentication_options(
        rp_id=where.host, challenge=challenge, user_verification=UserVerificationRequirement.REQUIRED
    )
    _issue(house, challenge, USE, None)
    return webauthn.helpers.options_to_json_dict(made)


def _issue(house: House, challenge: bytes, kind: str, person: str | None) -> None:
    expires = house.clock.now() + dt.timedelta(seconds=limits.PASSKEY_CHALLENGE_SECONDS)

    text = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()

    def work(tx: Tx) -> None:
        once.issue(tx, text, kind, person=person, expires_at=expires)

    house.db.write(work)


def parsed(text: str) -> dict[str, Any]:
    try:
        answer = msgspec.json.decode(text)
    except UNREADABLE:
        raise not_valid() from None
    if not isinstance(answer, dict):
        raise not_valid()
    return answer


def spend(ctx: Context, answer: dict[str, Any], kind: str, person: str | None) -> bytes:
    """Use up the challenge that the answer says it answers; whether it truly does is verified after."""
    response = answer.get("response")
    client = _json_of(decoded(response.get("clientDataJSON") if isinstance(response, dict) else None))
    challenge = client.get("challenge")
    if not isinstance(challenge, str):
        raise not_valid()
    once.consume(ctx, challenge, kind=kind, person=person)
    return decoded(challenge)


def _json_of(data: bytes) -> dict[str, Any]:
    try:
        return parsed(data.decode())
    except UnicodeDecodeError:
        raise not_valid() from None


def decoded(value: Any) -> bytes:
    if not isinstance(value, str):
        raise not_valid()
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise not_valid() from None


def not_valid() -> InvalidInput:
    return InvalidInput(
        "this is not what a passkey of this hub answers", code="passkey_not_valid", hint="try again from the page"
    )
