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
from hub.core.context import SYSTEM, Actor
from hub.core.database import Tx
from hub.core.house import House
from hub.perform import First
from hub.sessions.names import full_name
from hub.sessions.tables import sessions

DETAIL = "Collegium-Chat-Detail"
_RECORDED = "collegium.delivery_recorded"


def recording(request: Request, actor: Actor) -> First | None:
    """What records the delivery that a request names, if a service of the hub names one."""
    named = request.headers.get(deliveries.HEADER)
    if named is None or actor.by_service is None:
        return None
    delivery, now = deliveries.read(named), request.app.state.house.clock.now()

    def record(tx: Tx) -> None:
        request.scope[_RECORDED] = True
        delivery.record(tx, now)

    return record


def is_recorded(scope: Scope) -> bool:
    """Whether the delivery of this request was recorded, or found recorded."""
    return _RECORDED in scope


def detail_of(house: House, session: str) -> dict[str, str]:
    """The header that says how much of a session may leave for a chat platform."""
    with house.scope(SYSTEM) as scope:
        detail = scope.execute(sa.select(sessions.c.chat_detail).where(sessions.c.id == session)).scalar()
        return {} if detail is None else {DETAIL: f"{full_name(scope, session)}={detail}"}
