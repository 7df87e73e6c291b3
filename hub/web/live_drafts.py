"""What the live process asks about drafts: to keep edits, and what somebody or itself lacks of one.

The live process merges what people type for a few milliseconds and hands it on together; whose right counts is looked
at for each of them in the transaction that keeps it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.core import limits
from hub.core.context import Actor, Context
from hub.core.database import Tx
from hub.core.decoding import UNREADABLE
from hub.core.errors import InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.rooms.drafts import log, writing
from hub.rooms.drafts.rules import NotAnUpdateError
from hub.rooms.drafts.shelf import Shelf
from hub.rooms.drafts.writing import Edit, Kept, Numbered
from hub.web import live
from hub.web.endpoints import Endpoint, actor_of, body_of, house_of, json_response
from hub.web.identity import by_claim

T = TypeVar("T", bound=msgspec.Struct)
PAGE_BYTES = 512 * 1024


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody wants to follow a draft, and has come as far as `state` in the history `epoch` (0: in none)."""

    session: str
    draft: str
    claim: str
    epoch: int
    state: bytes


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What they lack, and how far the record has come. In another history they lack everything."""

    epoch: int
    sequence: int
    state: bytes
    update: bytes


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """Edits of one draft, in order."""

    session: str
    draft: str
    edits: list[Edit]


class Missed(msgspec.Struct, frozen=True, kw_only=True):
    """What the live process lacks of a draft."""

    session: str
    draft: str
    after: int


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """The updates after that number, as many as fit; or the whole draft as one, when some are folded already."""

    epoch: int
    head: int
    updates: list[Numbered]


def open_draft(house: House, actor: Actor, asked: Opening) -> Opened:
    """POST /api/live/drafts/open"""
    with house.db.read() as conn:
        person = by_claim(conn, asked.claim, house.clock.now())
    if person is None:
        raise NotAllowed("your right to be in this room has ended", code="revoked")
    with house.scope(person) as scope:
        draft_id = scope.access.find("draft", asked.draft, "room:join")
        row = log.row(scope.conn, draft_id)
        if row is None or row.session != asked.session:
            raise NotFound("there is no such draft in this room", code="draft_not_found")
        key = house.keys.domain(row.session)
        document = house.port(Shelf).take(scope.conn, key, row)
    try:
        update = document.lacking(asked.state if asked.epoch == row.epoch else b"")
    except NotAnUpdateError as error:
        raise InvalidInput(f"not a state vector: {error}", code="not_an_update") from None
    finally:
        house.port(Shelf).put(row.id, row.epoch, row.head, document)
    return Opened(epoch=row.epoch, sequence=row.head, state=document.vector(), update=update)


def keep_edits(house: House, actor: Actor, asked: Edits) -> Kept:
    """POST /api/live/drafts/edits"""

    def who(tx: Tx, claim: str) -> Actor | None:
        return by_claim(tx.conn, claim, house.clock.now())

    def may(ctx: Context, draft: str, claim: str) -> None:
        ctx.access.find("draft", draft, "draft:write")

    return writing.keep(house, asked.session, asked.draft, asked.edits, who, may)


def missed_updates(house: House, actor: Actor, asked: Missed) -> Missing:
    """POST /api/live/drafts/updates"""
    with house.db.read() as conn:
        row = log.row(conn, asked.draft)
        if row is None or row.session != asked.session:
            raise NotFound("there is no such draft in this room", code="draft_not_found")
        if asked.after >= row.head:
            return Missing(epoch=row.epoch, head=row.head, updates=[])
        key = house.keys.domain(row.session)
        found = log.after(conn, key, row, asked.after)
        if found is None:
            found = [(row.head, log.load(conn, key, row).whole())]
    page: list[Numbered] = []
    size = 0
    for sequence, update in found:
        if page and size + len(update) > PAGE_BYTES:
            break
        page.append(Numbered(sequence, update))
        size += len(update)
    return Missing(epoch=row.epoch, head=row.head, updates=page)


def _asks(answer: Any, shape: type[T]) -> Endpoint:
    """An endpoint for the live process alone, whose bodies may be as large as drafts are."""

    async def endpoint(request: Request) -> Response:
        actor = await actor_of(request)
        if actor.kind != "service":
            raise NotAllowed(live.SERVICE_ONLY, code="service_only")
        body = await body_of(request, limits.DRAFT_EDITS_BODY_BYTES)
        try:
            asked = msgspec.json.decode(body, type=shape)
        except UNREADABLE as error:
            raise InvalidInput(str(error)) from None
        return json_response(await to_thread.run_sync(answer, house_of(request), actor, asked))

    return endpoint


ROUTES = [
    Route("/api/live/drafts/open", _asks(open_draft, Opening), methods=["POST"]),
    Route("/api/live/drafts/edits", _asks(keep_edits, Edits), methods=["POST"]),
    Route("/api/live/drafts/updates", _asks(missed_updates, Missed), methods=["POST"]),
]
