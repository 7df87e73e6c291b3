"""People and links of a session: who may come in, by what, until when; and the forms that change it."""

from __future__ import annotations

import datetime as dt
from typing import cast

import msgspec

from hub.core.context import Scope
from hub.core.roles import SessionRole, strongest
from hub.sessions import views as sessions
from hub.sessions.views import LinkRow, ParticipantView
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Person, State

_ROLES = (("read", "Read"), ("read_write", "Read and write"), ("admin", "Read, write and share"))
_LINK_ROLES = (("read", "look around"), ("read_write", "look around and write"))
_EXPIRIES = (("One hour", 1), ("One day", 24), ("One week", 168), ("Four weeks", 672))
_VIA = {"owner": "made this session", "share": "added by hand", "link": "came by a link", "invitation": "was invited"}
_ENDS = {
    "expired": State("Ended", "stopped"),
    "revoked": State("Taken back", "failed"),
    "used up": State("Used up", "good"),
}


class PersonRow(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody in the list, with the form that changes their role if the reader may."""

    person: Person
    text: str
    role: str
    role_word: str
    change: bool


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link in the list."""

    id: str
    title: str
    text: str
    live: bool
    state: State | None


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/people"""
    session = sessions.session(scope, frames.ref(params))
    found = sessions.participants(scope, session.id)
    may_share = scope.access.may(session.id, "session:share")
    may_link = scope.access.may(session.id, "link:create")
    links = [_link(scope, row) for row in sessions.session_links(scope, session.id)] if may_link else []
    is_open = sum(link.live for link in links)
    belong = _one_each(found.participants)
    return render.html(
        "people.html",
        frames.within(scope, session, "People and links", "People"),
        now=scope.now,
        says=_says(len(belong), len(found.invitations), is_open),
        session=session.id,
        next=f"{frames.home_of(session)}/people",
        people=[_row(scope, each, may_share) for each in belong],
        invited=[(each.email, frames.role_word(each.role)) for each in found.invitations],
        roles=_ROLES,
        may_share=may_share,
        may_link=may_link,
        links=links,
        links_say=f"{words.number(is_open)} open" if links else "none yet",
        link_roles=_LINK_ROLES,
        expiries=[(_after(scope.now, hours), word) for word, hours in _EXPIRIES],
    )


def rows(scope: Scope, session_id: str) -> list[PersonRow]:
    """Who belongs to a session, for the room's side."""
    return [_row(scope, each, False) for each in _one_each(sessions.participants(scope, session_id).participants)]


def _one_each(participants: list[ParticipantView]) -> list[list[ParticipantView]]:
    """What each person holds, in the order they came: somebody may have been added and have opened a link as well."""
    held: dict[str, list[ParticipantView]] = {}
    for each in participants:
        held.setdefault(each.person.id, []).append(each)
    return list(held.values())


def _row(scope: Scope, held: list[ParticipantView], may_share: bool) -> PersonRow:
    person = held[0].person
    role = strongest([cast(SessionRole, each.role) for each in held]) or held[0].role
    owns = any(each.via == "owner" for each in held)
    return PersonRow(
        person=frames.person(person),
        text=words.sentence(words.listing(list(dict.fromkeys(map(_how, held))))),
        role=role,
        role_word=frames.role_word(role),
        change=may_share and not owns and person.id != scope.actor.id,
    )


def _how(held: ParticipantView) -> str:
    """By what somebody belongs here, and until when."""
    how = _VIA.get(held.via, held.via)
    return how if held.expires is None else f"{how} until {words.moment(frames.instant(held.expires))} UTC"


def _link(scope: Scope, row: LinkRow) -> Link:
    until = frames.instant(row.expires)
    opens = "one page" if row.target else "the session"
    used = "never used" if row.uses == 0 else f"used {'once' if row.uses == 1 else f'{row.uses} times'}"
    if row.uses_left is not None:
        used += f", {row.uses_left} left"
    ends = words.until(until, scope.now)
    if not ends.startswith("ended"):
        ends = f"ends {ends}"
    return Link(
        id=row.id,
        title=row.label or f"{frames.role_word(row.role)} {opens}",
        text=f"{words.sentence(ends)}; {used}",
        live=row.state == "open",
        state=_ENDS.get(row.state),
    )


def _says(people: int, invited: int, links: int) -> str:
    parts = [
        "Only you belong to this session"
        if people == 1
        else f"{words.sentence(words.number(people))} people belong to this session"
    ]
    if invited:
        parts.append(f"{words.number(invited)} {'is' if invited == 1 else 'are'} invited")
    parts.append(
        "no link is open" if links == 0 else f"{words.count(links, 'link')} {'is' if links == 1 else 'are'} open"
    )
    return f"{'; '.join(parts)}."


def _after(now: dt.datetime, hours: int) -> str:
    return (now + dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
