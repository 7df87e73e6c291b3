"""What a request of the chat bot says of the delivery that made it ask, and what its answer says back.

`Collegium-Delivery: slack:KEY` on a request has the delivery recorded with what is asked; `recorded` on an answer says
that this was tried, so that the bot names it no more. `Collegium-Chat-Detail: owner/name=names` says how much of the
session an action happened in may leave, which every reply in a chat must know.
"""

from __future__ import annotations

import sqlalchemy as sa
from starlette.requests import Request
from starlette.types import Scope

from hub.chats import deliveries
from hub.chats.deliveries import Delivery
from hub.core.context import Actor, Context
from hub.core.database import Tx
from hub.sessions.names import full_name
from hub.sessions.tables import sessions

DETAIL = "Collegium-Chat-Detail"
_RECORDED = "collegium.delivery_recorded"
_DETAIL = sa.select(sessions.c.chat_detail).where(sessions.c.id == sa.bindparam("session_id"))


class FromChat:
    """A request that somebody made in a chat: beside its action the delivery is recorded, and the detail read."""

    def __init__(self, request: Request, delivery: Delivery | None) -> None:
        self.delivery = delivery
        self.told: dict[str, str] = {}
        self._scope = request.scope
        self._now = request.app.state.house.clock.now()

    def before(self, tx: Tx) -> None:
        """Record the delivery, if one is named. Raises Conflict for one that was seen before."""
        if self.delivery is not None:
            self._scope[_RECORDED] = True
            self.delivery.record(tx, self._now)

    def after(self, ctx: Context) -> None:
        """See how much of the session may leave for a chat platform."""
        session = ctx.lines[-1].session_id
        detail = None if session is None else ctx.execute(_DETAIL, {"session_id": session}).scalar()
        self.told = {} if session is None or detail is None else {DETAIL: f"{full_name(ctx, session)}={detail}"}


def of(request: Request, actor: Actor) -> FromChat | None:
    """The chat a request comes from, when a service of the hub says that it does. Raises InvalidInput."""
    if actor.by_service is None or actor.came_by is None:
        return None
    named = request.headers.get(deliveries.HEADER)
    return FromChat(request, None if named is None else deliveries.read(named))


def is_recorded(scope: Scope) -> bool:
    """Whether the delivery of this request was recorded, or found recorded."""
    return _RECORDED in scope
