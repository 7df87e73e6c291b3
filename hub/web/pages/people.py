"""People and links of a session: who may come in, by what, until when; and the forms that change it."""

from __future__ import annotations

import datetime as dt

import msgspec

from hub.core import features, limits
from hub.core.context import Scope
from hub.sessions import reach
from hub.sessions import views as sessions
from hub.sessions.belonging import ParticipantView
from hub.sessions.invitations import InvitationRow
from hub.sessions.views import LinkRow, SessionView
from hub.web.pages import frames, render, ways, who, words
from hub.web.pages.faces import Act, Person, State

_ROLES = (("read", "Read"), ("read_write", "Read and write"), ("admin", "Read, write and share"))
_LINK_ROLES = (("read", "look around"), ("read_write", "look around and write"))
_EXPIRIES = (("One hour", 1), ("One day", 24), ("One week", 168), ("Four weeks", 672))
_VISIBILITIES = (("session", "Only who takes part"), ("hub", "Every member of this hub may look"))
_OFFERS = {
    "live_cursor": "Cursors of the others",
    "voice_chat": "Voice and camera",
    "screen_sharing": "Showing a screen",
    "private_messages": "Messages to one person",
}
_DETAILS = (
    ("full", "All they have to say"),
    ("names", "Titles and states, nothing of the contents"),
    ("ids", "Numbers and states only"),
)
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
    leave: Act | None = None


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link in the list."""

    id: str
    title: str
    text: str
    live: bool
    state: State | None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the session is called, who may look, what a chat is told; and whom it can be handed to."""

    title: str
    visibility: str
    chat_detail: str
    features: list[tuple[str, str, bool]]
    personal: bool
    heirs: list[tuple[str, str]]
    visibilities: tuple[tuple[str, str], ...] = _VISIBILITIES
    details: tuple[tuple[str, str], ...] = _DETAILS


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/people"""
    session = sessions.session(scope, frames.ref(params))
    found = sessions.participants(scope, session.id)
    seen = reach.who(scope, "session", session.id)
    may_share = scope.access.may(session.id, "session:share")
    may_link = scope.access.may(session.id, "link:create")
    links = [_link(scope, row) for row in sessions.session_links(scope, session.id)] if may_link else []
    is_open = sum(link.live for link in links) if may_link else seen.links_open
    here = f"{frames.home_of(session)}/people"
    return render.html(
        "people.html",
        frames.within(scope, session, "People and links", "People"),
        now=scope.now,
        says=_says(len(found.participants), len(found.invitations), is_open),
        session=session.id,
        next=here,
        people=[_row(scope, each, may_share, session.id) for each in found.participants],
        invited=[_invited(scope, each) for each in found.invitations],
        roles=_ROLES,
        may_share=may_share,
        may_link=may_link,
        links=links,
        links_say=f"{words.number(is_open)} open" if links else "none yet",
        link_roles=_LINK_ROLES,
        expiries=[(_after(scope.now, hours), word) for word, hours in _EXPIRIES],
        passphrase=(limits.PASSPHRASE_LEAST_CHARACTERS, limits.PASSPHRASE_CHARACTERS),
        settings=_settings(scope, session, found.participants),
        seen=who.says(seen),
        beyond=who.beyond(scope, seen),
        notes=who.notes(seen),
        who=f"/who?object={session.id}",
    )


def rows(scope: Scope, session_id: str) -> list[PersonRow]:
    """Who belongs to a session, for the room's side."""
    return [_row(scope, each, False, None) for each in sessions.participants(scope, session_id).participants]


def _row(scope: Scope, held: ParticipantView, may_share: bool, session: str | None) -> PersonRow:
    is_self = held.person.id == scope.actor.id
    leave = None
    if session is not None and is_self and scope.actor.kind == "person" and held.role != "owner":
        leave = Act("Leave", action="session_leave", fields={"session_id": session}, next="/", look="quiet")
    return PersonRow(
        person=frames.person(held.person),
        text=ways.of(scope, held),
        role=held.role,
        role_word=frames.role_word(held.role),
        change=may_share and held.role != "owner" and not is_self,
        leave=leave,
    )


def _invited(scope: Scope, row: InvitationRow) -> tuple[str, str, str, str]:
    since = words.ago(frames.instant(row.created), scope.now)
    return row.id, row.email, frames.role_word(row.role), f"Invited {since}, has not come yet"


def _settings(scope: Scope, session: SessionView, people: list[ParticipantView]) -> Settings | None:
    if not scope.access.may(session.id, "session:change"):
        return None
    hands_over = scope.access.may(session.id, "session:hand_over") and not session.personal
    admins = [each.person for each in people if each.role == "admin" and not each.disabled]
    return Settings(
        title=session.title,
        visibility=session.visibility,
        chat_detail=session.chat_detail,
        features=[(name, _OFFERS[name], on) for name, on in features.every(session.features).items()],
        personal=session.personal,
        heirs=[(each.id, each.name) for each in admins] if hands_over else [],
    )


def _link(scope: Scope, row: LinkRow) -> Link:
    opens = "one page" if row.target else "the session"
    text = f"{words.sentence(ways.ends(frames.instant(row.expires), scope.now))}; {ways.uses(row.uses, row.uses_left)}"
    return Link(
        id=row.id,
        title=row.label or f"{frames.role_word(row.role)} {opens}",
        text=f"{text}; asks for a passphrase" if row.has_passphrase else text,
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
