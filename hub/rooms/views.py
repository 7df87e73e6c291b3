"""What can be read of a room: its messages by their numbers, and what was reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.access import Guarded, guards
from hub.core.clock import iso
from hub.core.context import Context, Scope
from hub.core.keys import unseal
from hub.people import views as people
from hub.people.views import PersonView
from hub.rooms.tables import message_reactions, message_reports, rooms
from hub.rooms.tables import messages as table


class ReactionView(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered a message with this emoji, in the order they did."""

    emoji: str
    people: list[str]


class MessageView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message. `client_id` is what its author's program called it, so that it is not shown twice there.

    `sequence` is its place in the room, `change` the number of the room under which it became what it is now.
    """

    id: str
    session: str
    sequence: int
    change: int
    author: PersonView
    text: str
    at: str
    client_id: str
    to: PersonView | None = None  # the one person who reads it beside its author
    thread: str | None = None  # the first message of the thread it is in
    about: str | None = None  # artifact:ID, entry:ID, draft:ID, job:ID or job:ID#L12
    edited: str | None = None  # when
    removed: str | None = None  # by whom: `author` or `moderator`; no text is left then
    reactions: list[ReactionView] = []
    replies: int = 0


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages in the order of their changes or their places, and the number of the newest change there is."""

    messages: list[MessageView]
    head: int


class ReportView(msgspec.Struct, frozen=True, kw_only=True):
    """A report, for those who moderate: the text as it was reported, and as it is now."""

    id: str
    message: str
    author: PersonView
    reporter: PersonView
    text: str
    reason: str
    now: str  # unchanged | edited | removed
    private: bool
    at: str
    outcome: str | None
    settled_by: PersonView | None


@guards("message")
def message_guard(conn: sa.Connection, message_id: str) -> Guarded | None:
    row = conn.execute(sa.select(table.c.session, table.c.author, table.c.recipient).where(table.c.id == message_id))
    found = row.first()
    if found is None or found.recipient is None:
        return None if found is None else Guarded(found.session, found.author)
    return Guarded(found.session, found.author, "private", shared_with=found.recipient)


@guards("report")
def report_guard(conn: sa.Connection, report_id: str) -> Guarded | None:
    session = conn.execute(sa.select(message_reports.c.session).where(message_reports.c.id == report_id)).scalar()
    return None if session is None else Guarded(session)


def messages(
    scope: Scope,
    ref: str | None,
    after: int | None = None,
    limit: int = limits.PAGE_ITEMS,
    before: int | None = None,
    *,
    begins: bool = False,
) -> MessagePage:
    """What changed after a number; without one, the newest messages (said before `before`).

    `begins` leaves out answers in threads.
    """
    session_id = scope.access.session(ref, "room:join")
    mine = table.c.recipient.is_(None) | (table.c.recipient == scope.actor.id) | (table.c.author == scope.actor.id)
    which = (mine & table.c.thread.is_(None)) if begins else mine
    return _page(scope, session_id, which, after, limit, before)


def page(scope: Scope, session_id: str, after: int, limit: int) -> MessagePage:
    """Everybody's messages, private ones too: for the live process, which hands each to whom it is for."""
    return _page(scope, session_id, sa.true(), after, limit, None)


def _page(
    scope: Scope, session_id: str, which: sa.ColumnElement[bool], after: int | None, limit: int, before: int | None
) -> MessagePage:
    # The number first: what is changed between the two questions is in the page, and not skipped by its reader.
    newest = head(scope.conn, session_id)
    query = sa.select(table).where(table.c.session == session_id, which).limit(max(1, min(limit, limits.EVENTS_PAGE)))
    if after is not None:
        rows = scope.execute(query.where(table.c.change > after).order_by(table.c.change)).all()
    else:
        if before is not None:
            query = query.where(table.c.sequence < before)
        rows = scope.execute(query.order_by(table.c.sequence.desc())).all()[::-1]
    return MessagePage(messages=_views(scope, rows), head=newest)


def thread(scope: Scope, ref: str) -> list[MessageView]:
    """A message and what was answered to it, in order; asked of an answer, the thread it is in."""
    first = row(scope, scope.access.find("message", ref, "room:join"))
    root = first.thread or first.id
    query = sa.select(table).where((table.c.id == root) | (table.c.thread == root)).order_by(table.c.sequence)
    return _views(scope, scope.execute(query.limit(limits.EVENTS_PAGE)).all())


def reports(scope: Scope, ref: str) -> list[ReportView]:
    """What was reported in a session, the open ones first, then the newest."""
    session_id = scope.access.session(ref, "room:moderate")
    rows = scope.execute(
        sa.select(message_reports, table.c.author, table.c.sequence, table.c.text_sealed.label("now_sealed"))
        .add_columns(table.c.removed_at, table.c.recipient)
        .join(table, table.c.id == message_reports.c.message)
        .where(message_reports.c.session == session_id)
        .order_by(message_reports.c.settled_at.is_not(None), message_reports.c.at.desc())
        .limit(limits.EVENTS_PAGE)
    ).all()
    known = people.people(scope, {p for r in rows for p in (r.author, r.reporter, r.settled_by) if p is not None})
    key = _key(scope, session_id) if rows else b""
    found = []
    for each in rows:
        text = unseal(key, each.text_sealed, f"report:{each.id}:text").decode()
        same = (
            each.removed_at is None and unseal(key, each.now_sealed, about(session_id, each.sequence)) == text.encode()
        )
        found.append(
            ReportView(
                id=each.id,
                message=each.message,
                author=known[each.author],
                reporter=known[each.reporter],
                text=text,
                reason=unseal(key, each.reason_sealed, f"report:{each.id}:reason").decode(),
                now="removed" if each.removed_at is not None else "unchanged" if same else "edited",
                private=each.recipient is not None,
                at=iso(each.at),
                outcome=each.outcome,
                settled_by=None if each.settled_by is None else known[each.settled_by],
            )
        )
    return found


def open_reports(scope: Scope, session_id: str) -> int:
    """How many reports wait for somebody who moderates; 0 for who does not."""
    if not scope.access.may(session_id, "room:moderate"):
        return 0
    waiting = (message_reports.c.session == session_id) & message_reports.c.settled_at.is_(None)
    return int(scope.execute(sa.select(sa.func.count()).select_from(message_reports).where(waiting)).scalar_one())


def head(conn: sa.Connection, session_id: str) -> int:
    """The number of a room's newest change; 0 when nothing was said yet."""
    return int(conn.execute(sa.select(rooms.c.head).where(rooms.c.session == session_id)).scalar() or 0)


def row(scope: Scope, message_id: str) -> sa.Row[Any]:
    """The row of a message whose access was checked."""
    return scope.execute(sa.select(table).where(table.c.id == message_id)).one()


def message(scope: Scope, row: sa.Row[Any]) -> MessageView:
    """One row of the table as it is shown."""
    return _views(scope, [row])[0]


def text(scope: Scope, row: sa.Row[Any]) -> str:
    """What a row of the table says."""
    return unseal(_key(scope, row.session), row.text_sealed, about(row.session, row.sequence)).decode()


def _key(scope: Scope, session_id: str) -> bytes:
    """The session's key; in a unit of work that may just have made it, that one."""
    keys = scope.house.keys
    return keys.domain_in(scope.tx, session_id) if isinstance(scope, Context) else keys.domain(session_id)


def about(session_id: str, sequence: int) -> str:
    """What the sealed text of a message is bound to, so that rows cannot be swapped."""
    return f"message:{session_id}:{sequence}"


def _views(scope: Scope, rows: Sequence[sa.Row[Any]]) -> list[MessageView]:
    known = people.people(scope, {p for r in rows for p in (r.author, r.recipient) if p is not None})
    ids = [r.id for r in rows]
    signs = _signs(scope, ids)
    answered = _answered(scope, ids)
    return [
        MessageView(
            id=r.id,
            session=r.session,
            sequence=r.sequence,
            change=r.change,
            author=known[r.author] if known[r.author].handle else PersonView(r.author, "", r.author_name),
            text=text(scope, r),
            at=iso(r.at),
            client_id=r.client_id,
            to=None if r.recipient is None else known[r.recipient],
            thread=r.thread,
            about=r.about,
            edited=None if r.edited_at is None or r.removed_at is not None else iso(r.edited_at),
            removed=None if r.removed_at is None else "author" if r.removed_by == r.author else "moderator",
            reactions=signs.get(r.id, []),
            replies=answered.get(r.id, 0),
        )
        for r in rows
    ]


def _signs(scope: Scope, ids: Sequence[str]) -> dict[str, list[ReactionView]]:
    columns = message_reactions.c
    found: dict[str, dict[str, list[str]]] = {}
    for sign in scope.execute(
        sa.select(columns.message, columns.emoji, columns.person)
        .where(columns.message.in_(ids))
        .order_by(columns.at, columns.person)
    ):
        found.setdefault(sign.message, {}).setdefault(sign.emoji, []).append(sign.person)
    return {
        message_id: [ReactionView(emoji=emoji, people=people) for emoji, people in signs.items()]
        for message_id, signs in found.items()
    }


def _answered(scope: Scope, ids: Sequence[str]) -> dict[str, int]:
    counted = scope.execute(
        sa.select(table.c.thread, sa.func.count().label("number"))
        .where(table.c.thread.in_(ids))
        .group_by(table.c.thread)
    )
    return {each.thread: each.number for each in counted}
