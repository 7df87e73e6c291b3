"""A room's numbers, and telling what was done under one."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Context
from hub.rooms import views
from hub.rooms.tables import rooms
from hub.rooms.views import MessageView


def take(ctx: Context, session_id: str) -> int:
    """The room's next number. The room's row is locked from here on, also against the same message from another tab."""
    ctx.tx.insert_new(rooms, session=session_id, head=0)
    number: int = ctx.execute(
        sa.update(rooms).where(rooms.c.session == session_id).values(head=rooms.c.head + 1).returning(rooms.c.head)
    ).scalar_one()
    return number


def give_back(ctx: Context, session_id: str, number: int) -> None:
    """Nothing was done under this number after all; nobody can have seen it, for the room's row is still locked."""
    ctx.execute(sa.update(rooms).where(rooms.c.session == session_id).values(head=number - 1))


def tell(ctx: Context, row: sa.Row[Any]) -> MessageView:
    """The message as it is now, told to whoever is in the room and may read it."""
    view = views.message(ctx, row)
    ctx.publish(f"session:{view.session}", {"kind": "message", "message": msgspec.to_builtins(view)})
    return view
