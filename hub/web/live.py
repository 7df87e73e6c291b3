"""What the live process asks of the hub: redeem a ticket, look at members' rights again.

A ticket is made by somebody who may join the room, is good for half a minute, and opens one socket. The claim in it
ties the socket to the credential that was used, so the socket ends with it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Actor, Scope
from hub.core.database import Tx
from hub.core.errors import InvalidInput, NotAllowed
from hub.core.house import House
from hub.core.ids import new_secret
from hub.core.roles import NOT_BY_LINK, SESSION_PERMISSIONS
from hub.ledger import followers
from hub.ledger.keys import CheckpointKey
from hub.people import once
from hub.rooms import views as rooms
from hub.sessions import views as sessions
from hub.sessions.tables import sessions as sessions_table
from hub.web.identity import by_claim, claim_of

SERVICE_ONLY = "only a service of this hub may ask this"


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """Opens one socket, once."""

    ticket: str
    url: str
    expires: str


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in a room, and what they may do there; `claim` is what the live process shows to ask again."""

    claim: str
    id: str
    name: str
    handle: str
    role: str
    permissions: list[str]


class Redeemed(msgspec.Struct, frozen=True, kw_only=True):
    """What a ticket stood for."""

    member: Member
    session: str
    name: str
    features: dict[str, bool]
    epoch: str  # which record the numbers below belong to
    sequence: int  # the room's newest message
    event: int  # the ledger's newest line


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A member as the live process knows them."""

    session: str
    claim: str


class Recheck(msgspec.Struct, frozen=True, kw_only=True):
    """Members whose rights are to be looked at again."""

    members: list[Claim]


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of a room that are to be told."""

    session: str
    after: int
    limit: int = limits.PAGE_ITEMS


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a member may stay, and as what."""

    session: str
    claim: str
    member: Member | None  # None: not any more
    features: dict[str, bool]


def make_ticket(house: House, actor: Actor, body: Any) -> Ticket:
    """POST /api/tickets {"session": REF}"""
    ref = body.get("session") if isinstance(body, dict) else None
    if not isinstance(ref, str):
        raise InvalidInput("name the session whose room you want to join", path="$.session")
    with house.scope(actor) as scope:
        session_id = scope.access.session(ref, "room:join")
    secret = new_secret("clgt")
    expires = house.clock.now() + dt.timedelta(seconds=limits.TICKET_SECONDS)

    def work(tx: Tx) -> None:
        once.issue(tx, secret, "ticket", person=None, expires_at=expires, session=session_id, claim=claim_of(actor))

    house.db.write(work)
    origin = house.settings.origin.replace("http", "ws", 1)
    return Ticket(ticket=secret, url=f"{origin}/ws?ticket={secret}", expires=iso(expires))


def redeem(house: House, actor: Actor, body: Any) -> Redeemed:
    """POST /api/live/redeem {"ticket": ...}, by the live process."""
    _refuse_others(actor)
    ticket = body.get("ticket") if isinstance(body, dict) else None
    if not isinstance(ticket, str):
        raise InvalidInput("no ticket", path="$.ticket")
    used = house.db.write(lambda tx: once.use(tx, ticket, "ticket", house.clock.now()))
    member = _member(house, used.facts["session"], used.facts["claim"])
    if member is None:
        raise NotAllowed("the right to join this room has ended", code="revoked")
    person = _actor(house, used.facts["claim"])
    assert person is not None
    with house.scope(person) as scope:
        view = sessions.session(scope, used.facts["session"])
        return Redeemed(
            member=member,
            session=view.id,
            name=view.name,
            features=view.features,
            epoch=scope.port(CheckpointKey).origin,
            sequence=rooms.head(scope.conn, view.id),
            event=followers.newest(scope.conn),
        )


def recheck(house: House, actor: Actor, body: Any) -> list[Standing]:
    """POST /api/live/recheck {"members": [{"session", "claim"}]}, by the live process."""
    _refuse_others(actor)
    try:
        asked = msgspec.convert(body, Recheck)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    offered = {session: _features(house, session) for session in {one.session for one in asked.members}}
    return [
        Standing(
            session=one.session,
            claim=one.claim,
            member=_member(house, one.session, one.claim),
            features=offered[one.session],
        )
        for one in asked.members
    ]


def messages(house: House, actor: Actor, body: Any) -> rooms.MessagePage:
    """POST /api/live/messages {"session", "after", "limit"}, by the live process: what a room has to be told."""
    _refuse_others(actor)
    try:
        asked = msgspec.convert(body, Missed)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    with house.scope(actor) as scope:
        return rooms.page(scope, asked.session, asked.after, asked.limit)


def _features(house: House, session_id: str) -> dict[str, bool]:
    """What a session's room offers now."""
    with house.db.read() as conn:
        found = conn.execute(sa.select(sessions_table.c.features).where(sessions_table.c.id == session_id)).scalar()
    return dict(found or {})


def _refuse_others(actor: Actor) -> None:
    if actor.kind != "service":
        raise NotAllowed(SERVICE_ONLY, code="service_only")


def _actor(house: House, claim: str) -> Actor | None:
    with house.db.read() as conn:
        return by_claim(conn, claim, house.clock.now())


def _member(house: House, session_id: str, claim: str) -> Member | None:
    actor = _actor(house, claim)
    if actor is None:
        return None
    with house.scope(actor) as scope:
        if not scope.access.may(session_id, "room:join"):
            return None
        return _as_member(scope, session_id, claim)


def _as_member(scope: Scope, session_id: str, claim: str) -> Member:
    actor = scope.actor
    role = scope.access.role(session_id) or "read"
    permissions = SESSION_PERMISSIONS[role]
    if actor.kind == "link":
        permissions -= NOT_BY_LINK
    if actor.scopes is not None:
        permissions &= actor.scopes
    return Member(
        claim=claim,
        id=actor.id,
        name=actor.name,
        handle=actor.handle,
        role=role,
        permissions=sorted(permissions),
    )
