"""Who is asking: a bearer token, a service that names a person, a browser's cookie, or nobody we know."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa
from starlette.requests import HTTPConnection

from hub.core.context import ANYONE, Actor
from hub.core.database import Tx
from hub.core.errors import InvalidInput, NotAllowed, NotSignedIn
from hub.core.house import House
from hub.people import accounts, factors
from hub.people.tables import sign_ins
from hub.sessions import links
from hub.web import browsers

ACT_AS = "collegium-act-as"
CAME_BY = "collegium-came-by"
CAME_BY_CHARACTERS = 200


def cookie_name(origin: str) -> str:
    """`__Host-` binds the cookie to this very host; browsers honour it under https only."""
    return "__Host-collegium" if origin.startswith("https://") else "collegium"


def identify(house: House, connection: HTTPConnection) -> Actor:
    """The actor of a request; ANYONE when it carries no credential. Raises NotSignedIn for a credential that fails."""
    actor = _identified(house, connection)
    # The address is the server's own idea of it: the front door says so on its socket, and nobody else is believed.
    address = connection.client.host if connection.client else ""
    agent = browsers.told(connection.headers.get("user-agent", ""))
    return msgspec.structs.replace(actor, address=address, agent=agent)


def is_anyone(actor: Actor) -> bool:
    """Whether nobody we know is asking."""
    return actor.id == ANYONE.id


def _identified(house: House, connection: HTTPConnection) -> Actor:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    now = house.clock.now()
    if scheme:
        if scheme.lower() != "bearer" or not token:
            raise NotSignedIn("use `Authorization: Bearer <token>`")
        with house.db.read() as conn:
            return _by_token(conn, token.strip(), connection.headers.get(ACT_AS), connection.headers.get(CAME_BY), now)
    cookie = connection.cookies.get(cookie_name(house.settings.origin))
    if not cookie:
        return ANYONE
    with house.db.read() as conn:
        row = accounts.live_sign_in(conn, cookie, now)
        actor = _signed_in(conn, row, now)
        if actor is None or row is None:
            return ANYONE
        if actor.kind == "person" and factors.must_enrol(conn, house.settings, actor.id, actor.hub_role):
            actor = msgspec.structs.replace(actor, must_enrol=True, scopes=factors.ENROLLING)
    _see(house, row, now)
    return actor


def _see(house: House, row: sa.Row[Any], now: dt.datetime) -> None:
    """Note the hour in which a sign-in was last seen: one small write an hour, which nobody waits for."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    if row.seen_at is not None and row.seen_at >= hour:
        return

    def work(tx: Tx) -> None:
        tx.execute(sa.update(sign_ins).where(sign_ins.c.id == row.id).values(seen_at=hour))

    house.db.submit(work)


def _by_token(conn: sa.Connection, token: str, act_as: str | None, came_by: str | None, now: dt.datetime) -> Actor:
    actor = accounts.actor_by_token(conn, token, now)
    if actor is None:
        raise NotSignedIn("this token is not valid", hint="make a new one with `token_create`")
    if actor.kind != "service":
        if act_as is not None or came_by is not None:
            raise NotAllowed("only a service of the hub may act as somebody", code="act_as_refused")
        return actor
    if act_as is None:
        return actor
    person = by_claim(conn, act_as, now)
    if person is None:
        if act_as.startswith("chat:"):
            raise NotSignedIn(
                "the hub does not know this chat account yet", code="chat_not_linked", hint="link it to your account"
            )
        raise NotSignedIn("the person this service acts for cannot sign in")
    if came_by is not None and (len(came_by) > CAME_BY_CHARACTERS or not came_by.isprintable()):
        raise InvalidInput(f"this header has at most {CAME_BY_CHARACTERS} printable characters", path=CAME_BY)
    return msgspec.structs.replace(person, by_service=actor.id, signed_in_at=None, came_by=came_by)


def _signed_in(conn: sa.Connection, row: sa.Row[Any] | None, now: dt.datetime) -> Actor | None:
    if row is None:
        return None
    if row.link is not None:
        return links.guest(conn, row.link, row.id, now)
    actor = accounts.actor_of(conn, row.person)
    if actor is None:
        return None
    return msgspec.structs.replace(actor, sign_in_id=row.id, signed_in_at=row.proved_at or row.at)


def by_claim(conn: sa.Connection, claim: str, now: dt.datetime) -> Actor | None:
    """The actor a service may speak for: a person's id, `chat:PLATFORM:WORKSPACE:USER`, or a credential still good.

    `sign_in:<id>` and `token:<id>` tie what a service does to the very credential that somebody used, so that it ends
    with it.
    """
    kind, _, ident = claim.partition(":")
    if not ident:
        return accounts.actor_of(conn, claim)
    if kind == "sign_in":
        return _signed_in(conn, accounts.live_sign_in_by_id(conn, ident, now), now)
    if kind == "token":
        actor = accounts.actor_by_token_id(conn, ident, now)
        return None if actor is None or actor.kind == "service" else actor
    if kind == "chat":
        return accounts.actor_by_chat(conn, ident)
    return None


def claim_of(actor: Actor) -> str:
    """The claim under which a service may later speak for this actor."""
    if actor.sign_in_id is not None:
        return f"sign_in:{actor.sign_in_id}"
    if actor.token_id is not None:
        return f"token:{actor.token_id}"
    return actor.id
