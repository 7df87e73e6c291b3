"""What the live process asks of the hub: redeem a ticket, look at members' rights again.

A ticket is made by somebody who may join the room, is good for half a minute, and opens one socket. The claim in it
ties the socket to the credential that was used, so the socket ends with it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Actor, Scope
from hub.core.database import Tx
from hub.core.errors import InvalidInput, NotAllowed
from hub.core.house import House
from hub.core.ids import new_secret
from hub.core.roles import NOT_BY_LINK, held
from hub.ledger import followers
from hub.ledger.keys import CheckpointKey
from hub.people import once
from hub.rooms import views as rooms
from hub.rooms.doors import views as doors
from hub.sessions import views as sessions
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
    door: str = "open"  # open | lobby | locked | out: how it stands for this member


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
    refuse_others(actor)
    ticket = body.get("ticket") if isinstance(body, dict) else None
    if not isinstance(ticket, str):
        raise InvalidInput("no ticket", path="$.ticket")
    used = house.db.write(lambda tx: once.use(tx, ticket, "ticket", house.clock.now()))
    member = member_of(house, used.facts["session"], used.facts["claim"])
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
            door=doors.stands(scope, view.id),
        )


def knock(house: House, actor: Actor, body: Any) -> dict[str, str]:
    """POST /api/live/knock {"session", "claim"}, by the live process: somebody stands in a room's lobby."""
    refuse_others(actor)
    try:
        asked = msgspec.convert(body, Claim)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    person = _actor(house, asked.claim)
    if person is None:
        raise NotAllowed("the right to join this room has ended", code="revoked")
    with house.scope(person) as scope:
        scope.access.find("session", asked.session, "room:join")
        stands = doors.stands(scope, asked.session)
    now = house.clock.now()
    if stands == "lobby" and house.db.write(lambda tx: doors.ask(tx, asked.session, person.id, person.name, now)):
        house.bus.publish(f"session:{asked.session}", {"kind": "for_moderators", "what": "lobby"})
    return {"door": stands}


def recheck(house: House, actor: Actor, body: Any) -> list[Standing]:
    """POST /api/live/recheck {"members": [{"session", "claim"}]}, by the live process."""
    refuse_others(actor)
    try:
        asked = msgspec.convert(body, Recheck)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    with house.db.read() as conn:
        offered = sessions.features(conn, {one.session for one in asked.members})
    found = [
        Standing(
            session=one.session,
            claim=one.claim,
            member=member_of(house, one.session, one.claim),
            features=offered.get(one.session, {}),
        )
        for one in asked.members
    ]
    doors.inside(house, [(one.session, one.member.id, one.member.name) for one in found if one.member is not None])
    return found


def messages(house: House, actor: Actor, body: Any) -> rooms.MessagePage:
    """POST /api/live/messages {"session", "after", "limit"}, by the live process: what a room has to be told."""
    refuse_others(actor)
    try:
        asked = msgspec.convert(body, Missed)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error)) from None
    with house.scope(actor) as scope:
        return rooms.page(scope, asked.session, asked.after, asked.limit)


def refuse_others(actor: Actor) -> None:
    """Raises NotAllowed for everyone but the hub's own services."""
    if actor.kind != "service":
        raise NotAllowed(SERVICE_ONLY, code="service_only")


def _actor(house: House, claim: str) -> Actor | None:
    with house.db.read() as conn:
        return by_claim(conn, claim, house.clock.now())


def member_of(house: House, session_id: str, claim: str) -> Member | None:
    """Somebody with what they may do in a room now; None when they may not be there any more."""
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
    permissions = held(role, scope.access.in_room(session_id))
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
