"""What is said in a room, as lines; a thread on its own page, where messages can be changed; what was reported."""

from __future__ import annotations

import datetime as dt
import secrets

import msgspec

from hub.core import limits
from hub.core.context import Scope
from hub.core.errors import NotFound
from hub.core.features import offers
from hub.rooms import rules
from hub.rooms import views as rooms
from hub.rooms.views import MessageView
from hub.sessions import belonging
from hub.sessions import views as sessions
from hub.sessions.views import SessionView
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Person

# What is offered at a glance; any other emoji can be typed or sent by a program.
SIGNS = ("👍", "❤️", "🎉", "👀", "❓", "✅")
_THINGS = {"artifact": "a file", "entry": "an entry", "draft": "a draft", "job": "a job"}
_REMOVED = {"author": "Removed by its author.", "moderator": "Removed by a moderator."}


class Sign(msgspec.Struct, frozen=True, kw_only=True):
    """A reaction, and whether the reader is among those who gave it."""

    emoji: str
    number: int
    mine: bool
    says: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A message as a line of the chat."""

    id: str
    sequence: int
    person: Person
    at: dt.datetime
    text: str
    removed: str
    edited: bool
    to: str
    about: str
    about_href: str
    signs: list[Sign]
    replies: int
    answers: str
    href: str
    mine: bool


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader of a thread may do in it."""

    may_speak: bool
    may_moderate: bool


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A report as moderators see it."""

    id: str
    says: str
    text: str
    reason: str
    at: dt.datetime
    outcome: str
    settles: bool


def lines(scope: Scope, said: list[MessageView], home: str) -> list[Line]:
    """Messages as the reader sees them."""
    return [_line(scope.actor.id, message, home) for message in said]


def recipients(scope: Scope, session: SessionView) -> list[tuple[str, str]]:
    """(handle, name) of those to whom the reader may write alone."""
    if scope.actor.kind != "person" or not offers(session.features, "private_messages"):
        return []
    there = belonging.participants(scope, session.id)
    return [(each.person.handle, each.person.name) for each in there if each.person.id != scope.actor.id]


def thread(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/messages/{id}: a message, what was answered to it, and what can be done with each."""
    session = sessions.session(scope, frames.ref(params))
    said = rooms.thread(scope, params["id"])
    if said[0].session != session.id:
        raise NotFound(f"there is no message {params['id'][:100]!r} in this session", code="message_not_found")
    home = frames.home_of(session)
    may = scope.access.may
    first = said[0]
    return render.html(
        "thread.html",
        frames.within(scope, session, "Thread", "Room"),
        now=scope.now,
        says=f"{first.author.name} and {first.to.name}, read by nobody else" if first.to else "Read by the whole room",
        home=home,
        here=f"{home}/messages/{first.id}",
        session=session.id,
        first=first.id,
        lines=lines(scope, said, home),
        reader=Reader(may_speak=may(session.id, "room:speak"), may_moderate=may(session.id, "room:moderate")),
        signs=SIGNS,
        most=limits.MESSAGE_CHARACTERS,
        client_id=secrets.token_hex(8),
    )


def reports(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/reports: what people here reported, for those who moderate."""
    session = sessions.session(scope, frames.ref(params))
    found = rooms.reports(scope, session.id)
    return render.html(
        "reports.html",
        frames.within(scope, session, "Reports", "Room"),
        now=scope.now,
        home=frames.home_of(session),
        here=f"{frames.home_of(session)}/reports",
        reports=[
            Report(
                id=each.id,
                says=f"{each.reporter.name} reported what {each.author.name} wrote"
                + (" to one person" if each.private else "")
                + ("" if each.now == "unchanged" else f" (it was {each.now} since)"),
                text=each.text,
                reason=each.reason,
                at=frames.instant(each.at),
                outcome="" if each.outcome is None or each.settled_by is None
                else f"{words.sentence(each.outcome)} by {each.settled_by.name}",
                settles=each.outcome is None and each.author.id != scope.actor.id,
            )
            for each in found
        ],
    )  # fmt: skip


def _line(me: str, message: MessageView, home: str) -> Line:
    place = rules.place(message.about or "")
    return Line(
        id=message.id,
        sequence=message.sequence,
        person=frames.person(message.author),
        at=frames.instant(message.at),
        text=message.text,
        removed=_REMOVED.get(message.removed or "", ""),
        edited=message.edited is not None,
        to="" if message.to is None else "to you alone" if message.to.id == me else f"to {message.to.name} alone",
        about="" if place is None else _about(place),
        about_href="" if place is None else f"{home}?look={place.kind}:{place.ref}" + _fragment(place),
        signs=[
            Sign(
                emoji=each.emoji,
                number=len(each.people),
                mine=me in each.people,
                says=f"{each.emoji} by {words.count(len(each.people), 'person')}",
            )
            for each in message.reactions
        ],
        replies=message.replies,
        answers=words.count(message.replies, "answer") if message.replies else "Answer",
        href=f"{home}/messages/{message.id}",
        mine=message.author.id == me,
    )


def _about(place: rules.Place) -> str:
    thing = _THINGS[place.kind]
    return f"About line {place.line} of a log" if place.line else f"About {thing}"


def _fragment(place: rules.Place) -> str:
    return f"#L{place.line}" if place.line else ""
