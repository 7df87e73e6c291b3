"""Who can see this? Every way to an object, said to those who may see who takes part.

The answer is made from the same rows the decisions are made from: grants, links that are open, the visibility, and the
services of the hub, which act for people and never with more rights than those have.
"""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core.access import GUARDS
from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.roles import Visibility
from hub.people import views as people
from hub.people.tables import persons, tokens
from hub.people.views import PersonView
from hub.sessions import belonging, names, objects
from hub.sessions.belonging import ParticipantView
from hub.sessions.grants import link_holds
from hub.sessions.tables import links

OPERATORS = "They do not take part, but can make a sign-in link for any account, and so come in as anybody."
SERVICES = "They act for the people above when these use them, with their rights and never more."


class OpenLink(msgspec.Struct, frozen=True, kw_only=True):
    """A link that lets whoever has it come in."""

    id: str
    label: str
    role: str
    by: PersonView
    expires: str
    uses: int
    uses_left: int | None
    has_passphrase: bool


class Service(msgspec.Struct, frozen=True):
    """A service account of the hub."""

    id: str
    name: str


class WhoView(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody who can see an object. `links` are told to those who may see links, to others only how many."""

    kind: str
    object: str
    session: str
    session_name: str
    visibility: Visibility
    people: list[ParticipantView]
    links: list[OpenLink] | None
    links_open: int
    members: int  # how many members of the hub may look because the session is open to them; 0 when it is not
    services: list[Service]
    services_say: str
    operators: list[PersonView]
    operators_say: str


def who_sees(scope: Scope, ref: str) -> WhoView:
    """Who can see whatever this names."""
    return who(scope, *objects.meant(ref))


def who(scope: Scope, kind: str, ref: str) -> WhoView:
    """Who can see a thing of this kind."""
    object_id = scope.access.find(kind, ref, objects.reading(kind))
    guarded = GUARDS[kind](scope.conn, object_id)
    assert guarded is not None and guarded.session_id is not None
    session_id = scope.access.session(guarded.session_id, "people:read")
    visibility = scope.access.visibility(kind, object_id)
    assert visibility is not None
    takes_part = [each for each in belonging.participants(scope, session_id) if not each.disabled]
    if visibility == "private":
        takes_part = [each for each in takes_part if each.person.id in (guarded.owner_id, guarded.shared_with)]
    is_private = visibility == "private"
    found = [] if is_private else _open_links(scope, session_id)
    belongs = {each.person.id for each in takes_part}
    # Who looks around by a link learns of the people here, and nothing of the hub around them.
    is_guest = scope.actor.kind == "link"
    beside = [] if is_guest else [each for each in _operators(scope) if each not in belongs]
    known = people.people(scope, set(beside))
    return WhoView(
        kind=kind,
        object=object_id,
        session=session_id,
        session_name=names.full_name(scope, session_id),
        visibility=visibility,
        people=takes_part,
        links=found if scope.access.may(session_id, "link:read") else None,
        links_open=len(found),
        members=_members(scope) if visibility == "hub" else 0,
        services=[] if is_guest else _services(scope),
        services_say=SERVICES,
        operators=[known[each] for each in beside],
        operators_say=OPERATORS,
    )


def _open_links(scope: Scope, session_id: str) -> list[OpenLink]:
    """Links that let somebody in, or that somebody who came by them still looks around with."""
    rows = scope.execute(
        sa.select(links).where(links.c.session == session_id, link_holds(scope.now)).order_by(links.c.created_at)
    ).all()
    known = people.people(scope, {row.created_by for row in rows})
    return [
        OpenLink(
            id=row.id,
            label=row.label,
            role=row.role,
            by=known[row.created_by],
            expires=iso(row.expires_at),
            uses=row.uses,
            uses_left=row.uses_left,
            has_passphrase=row.passphrase is not None,
        )
        for row in rows
        if row.uses > 0 or row.uses_left != 0
    ]


def _operators(scope: Scope) -> list[str]:
    return list(
        scope.execute(
            sa.select(persons.c.id)
            .where(persons.c.hub_role == "operator", persons.c.disabled_at.is_(None))
            .order_by(persons.c.created_at)
        ).scalars()
    )


def _members(scope: Scope) -> int:
    return int(
        scope.execute(
            sa.select(sa.func.count()).where(
                persons.c.disabled_at.is_(None), persons.c.hub_role.in_(["operator", "member"])
            )
        ).scalar_one()
    )


def _services(scope: Scope) -> list[Service]:
    rows = scope.execute(
        sa.select(tokens.c.id, tokens.c.name)
        .where(
            tokens.c.person.is_(None),
            tokens.c.revoked_at.is_(None),
            sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > scope.now),
        )
        .order_by(tokens.c.name, tokens.c.id)
    )
    return [Service(row.id, row.name) for row in rows]
