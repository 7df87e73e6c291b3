"""What can be read of a room: its messages by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core import limits
from hub.core.access import Guarded, guards
from hub.core.clock import iso
from hub.core.context import Scope
from hub.core.keys import unseal
from hub.people import views as people
from hub.people.views import PersonView
from hub.rooms.tables import messages as table
from hub.rooms.tables import rooms


class MessageView(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `client_id` is what its author's program called it, so that it is not shown twice there."""

    id: str
    session: str
    sequence: int
    author: PersonView
    text: str
    at: str
    client_id: str


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """Messages in the order they were said, and the number of the newest one there is."""

    messages: list[MessageView]
    head: int


@guards("message")
def message_guard(conn: sa.Connection, message_id: str) -> Guarded | None:
    row = conn.execute(sa.select(table.c.session, table.c.author).where(table.c.id == message_id)).first()
    return None if row is None else Guarded(row.session, row.author)


def messages(
    scope: Scope, ref: str | None, after: int | None = None, limit: int = limits.PAGE_ITEMS, before: int | None = None
) -> MessagePage:
    """The messages after a number; without one, the newest (before `before`)."""
    session_id = scope.access.session(ref, "room:join")
    return page(scope, session_id, after, limit, before)


def page(scope: Scope, session_id: str, after: int | None, limit: int, before: int | None = None) -> MessagePage:
    """As `messages`, for a session whose access was checked."""
    query = sa.select(table).where(table.c.session == session_id).limit(max(1, min(limit, limits.EVENTS_PAGE)))
    if after is not None:
        rows = scope.execute(query.where(table.c.sequence > after).order_by(table.c.sequence)).all()
    else:
        if before is not None:
            query = query.where(table.c.sequence < before)
        rows = scope.execute(query.order_by(table.c.sequence.desc())).all()[::-1]
    return MessagePage(messages=_views(scope, rows), head=head(scope.conn, session_id))


def head(conn: sa.Connection, session_id: str) -> int:
    """The number of a room's newest message; 0 when nothing was said yet."""
    return int(conn.execute(sa.select(rooms.c.head).where(rooms.c.session == session_id)).scalar() or 0)


def message(scope: Scope, row: sa.Row[Any]) -> MessageView:
    """One row of the table as it is shown."""
    return _views(scope, [row])[0]


def about(session_id: str, sequence: int) -> str:
    """What the sealed text of a message is bound to, so that rows cannot be swapped."""
    return f"message:{session_id}:{sequence}"


def _views(scope: Scope, rows: Sequence[sa.Row[Any]]) -> list[MessageView]:
    known = people.people(scope, {row.author for row in rows})
    return [
        MessageView(
            id=row.id,
            session=row.session,
            sequence=row.sequence,
            author=known[row.author] if known[row.author].handle else PersonView(row.author, "", row.author_name),
            text=unseal(
                scope.house.keys.domain(row.session), row.text_sealed, about(row.session, row.sequence)
            ).decode(),
            at=iso(row.at),
            client_id=row.client_id,
        )
        for row in rows
    ]
