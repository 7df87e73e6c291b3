"""Who takes part in a session: one row a person, with every way they came in, and until when; and who may be there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.roles import SessionRole, strongest
from hub.people import views as people
from hub.people.tables import persons, sign_ins
from hub.sessions.grants import lasting, link_holds
from hub.sessions.tables import grants, invitations, links, sessions


class WayView(msgspec.Struct, frozen=True, kw_only=True):
    """One way somebody came in: `owner`, `share` (added by hand), `link`, `invitation`, or a feature's own word."""

    via: str
    role: str
    since: str
    expires: str | None
    by: people.PersonView | None  # who added them, or made the link or the invitation
    link: str | None = None
    label: str = ""  # of the link


class ParticipantView(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with a role in a session: the strongest of what they were given, until the last of it ends."""

    person: people.PersonView
    role: str
    via: str
    expires: str | None
    ways: list[WayView]
    disabled: bool = False  # the account is; then no role counts


def participants(scope: Scope, session_id: str) -> list[ParticipantView]:
    """Owner first, then everybody granted a role, in the order they came. The caller checked the right to look."""
    session = scope.execute(sa.select(sessions).where(sessions.c.id == session_id)).one()
    rows = scope.execute(
        sa.select(grants)
        .join(persons, persons.c.id == grants.c.subject)
        .where(grants.c.session == session_id, lasting(scope.now))
        .order_by(grants.c.at, grants.c.via)
    ).all()
    givers, labels = _givers(scope, [row.via for row in rows])
    for row in rows:
        if row.by is not None:
            givers.setdefault((row.subject, row.via), row.by)
    subjects = {session.owner, *(row.subject for row in rows)}
    known = people.people(scope, subjects | set(givers.values()))
    held: dict[str, list[tuple[WayView, dt.datetime | None]]] = {session.owner: []}
    made = WayView(via="owner", role="owner", since=iso(session.created_at), expires=None, by=None)
    held[session.owner].append((made, None))
    for row in rows:
        giver = givers.get((row.subject, row.via)) or givers.get(("", row.via))
        kind, _, ident = row.via.partition(":")
        way = WayView(
            via=kind,
            role=row.role,
            since=iso(row.at),
            expires=None if row.expires_at is None else iso(row.expires_at),
            by=None if giver is None else known[giver],
            link=ident if kind == "link" else None,
            label=labels.get(row.via, ""),
        )
        held.setdefault(row.subject, []).append((way, row.expires_at))
    disabled = set(
        scope.execute(
            sa.select(persons.c.id).where(persons.c.id.in_(subjects), persons.c.disabled_at.is_not(None))
        ).scalars()
    )
    return [_merged(known[subject], ways, subject in disabled) for subject, ways in held.items()]


def _merged(
    person: people.PersonView, held: list[tuple[WayView, dt.datetime | None]], disabled: bool
) -> ParticipantView:
    roles: list[Any] = [way.role for way, _ in held]
    role: SessionRole = strongest(roles) or roles[0]
    ends = [end for _, end in held if end is not None]
    return ParticipantView(
        person=person,
        role=role,
        via=next(way.via for way, _ in held if way.role == role),
        expires=iso(max(ends)) if len(ends) == len(held) else None,
        ways=[way for way, _ in held],
        disabled=disabled,
    )


def _givers(scope: Scope, vias: list[str]) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """Who made the links and invitations people came by, and what the links are called."""
    ids = {kind: [v.partition(":")[2] for v in vias if v.startswith(kind + ":")] for kind in ("link", "invitation")}
    givers: dict[tuple[str, str], str] = {}
    labels: dict[str, str] = {}
    for row in scope.execute(
        sa.select(links.c.id, links.c.created_by, links.c.label).where(links.c.id.in_(ids["link"]))
    ):
        givers["", f"link:{row.id}"], labels[f"link:{row.id}"] = row.created_by, row.label
    for row in scope.execute(
        sa.select(invitations.c.id, invitations.c.by).where(invitations.c.id.in_(ids["invitation"]))
    ):
        givers["", f"invitation:{row.id}"] = row.by
    return givers, labels


def may_be_here(scope: Scope, session_id: str, actors: Collection[str]) -> set[str]:
    """Those of some people and guests by a link, named by the ids they act under, whose right to be here has not ended.

    It ends with their last grant, their account, the link they came by, or the openness of the session.
    """
    guests = {actor.removeprefix("guest:") for actor in actors if actor.startswith("guest:")}
    session = scope.execute(sa.select(sessions.c.owner, sessions.c.visibility).where(sessions.c.id == session_id)).one()
    granted = sa.select(grants.c.subject).where(grants.c.session == session_id, lasting(scope.now))
    belongs = (persons.c.id == session.owner) | persons.c.id.in_(granted)
    if session.visibility == "hub":
        belongs |= persons.c.hub_role.in_(("operator", "member"))
    found = set(
        scope.execute(
            sa.select(persons.c.id).where(persons.c.id.in_(set(actors)), persons.c.disabled_at.is_(None), belongs)
        ).scalars()
    )
    if guests:
        signed_in = sa.and_(sign_ins.c.ended_at.is_(None), sign_ins.c.expires_at > scope.now)
        came = (
            sa.select(sign_ins.c.id)
            .join(links, links.c.id == sign_ins.c.link)
            .where(sign_ins.c.id.in_(guests), signed_in, links.c.session == session_id, link_holds(scope.now))
        )
        found |= {f"guest:{each}" for each in scope.execute(came).scalars()}
    return found
