"""Following the ledger over HTTP: a long poll that is answered within a moment of the line's numbering.

One task per web process watches the newest sequence (woken by the bus, polling regardless) and wakes every reader; a
reader waits without holding a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from hub.core import limits
from hub.core.clock import iso
from hub.core.context import Actor
from hub.core.errors import InvalidInput, NotAllowed
from hub.core.house import House
from hub.ledger import followers
from hub.sessions.names import known_sessions
from hub.web.holding import same

POLL_SECONDS = 0.5


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered ledger line."""

    sequence: int
    at: str
    actor: str
    action: str
    object_kind: str
    object: str
    session: str | None
    facts: dict[str, Any]
    came_by: str | None = None


class EventsView(msgspec.Struct, frozen=True, kw_only=True):
    """Events after a sequence, and the sequence to ask for next."""

    events: list[EventRow]
    next: int


class Watch:
    """Knows the newest sequence and wakes who waits for a newer one."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.newest = -1
        self._changed = asyncio.Event()
        self._nudge = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def nudge(channel: str, message: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closing
                loop.call_soon_threadsafe(self._nudge.set)

        unlisten = self._house.bus.listen("ledger", nudge)
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            unlisten()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def beyond(self, sequence: int, seconds: float) -> None:
        """Return when something newer than `sequence` is known, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.newest <= sequence:
                    await self._changed.wait()

    async def _run(self) -> None:
        while True:
            newest = await to_thread.run_sync(self._read)
            if newest > self.newest:
                self.newest = newest
                self._changed.set()
                self._changed = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._nudge.wait()
            self._nudge.clear()

    def _read(self) -> int:
        try:
            with self._house.db.read() as conn:
                return followers.newest(conn)
        except Exception:
            return self.newest


def _page(house: House, actor: Actor, after: int, session: str | None) -> EventsView:
    with house.scope(actor) as scope:
        session_id = None if session is None else scope.access.session(session, "session:read")
        visible: set[str] | None = None
        if session_id is None and actor.kind != "service":
            if actor.kind != "person":
                raise NotAllowed("name the session whose events you want", code="session_needed")
            visible = set(scope.execute(known_sessions(scope)).scalars())
        found = followers.read(scope.conn, after, session=session_id)
    rows = [
        EventRow(
            sequence=e.sequence,
            at=iso(e.at),
            actor=e.actor,
            action=e.action,
            object_kind=e.object_kind,
            object=e.object,
            session=e.session,
            facts=e.facts,
            came_by=e.came_by,
        )
        for e in found
        if visible is None or e.session in visible or (e.session is None and e.actor == actor.id)
    ]
    return EventsView(events=rows, next=found[-1].sequence if found else after)


def _newest(house: House) -> int:
    with house.db.read() as conn:
        return followers.newest(conn)


async def events(request: Request) -> Response:
    """GET /api/events?after=SEQUENCE|now&session=REF&wait=SECONDS"""
    house: House = request.app.state.house
    watch: Watch = request.app.state.watch
    actor: Actor = request.state.actor
    if request.query_params.get("after") == "now":
        after = await to_thread.run_sync(_newest, house)
    else:
        after = _number(request, "after", -1, -1, 2**62)
    wait = _number(request, "wait", 0, 0, limits.EVENTS_WAIT_SECONDS)
    session = request.query_params.get("session")
    deadline = asyncio.get_running_loop().time() + wait
    while True:
        seen = watch.newest
        # Who waited is asked for anew, so that nobody is told what happened after their right had ended.
        actor = await to_thread.run_sync(same, house, request, actor)
        page = await to_thread.run_sync(_page, house, actor, after, session)
        left = deadline - asyncio.get_running_loop().time()
        if page.events or left <= 0:
            return Response(msgspec.json.encode(page), media_type="application/json")
        after = page.next
        await watch.beyond(max(after, seen), left)


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise InvalidInput(f"`{name}` must be a number", path=name) from None
    if not least <= value <= most:
        raise InvalidInput(f"`{name}` must be from {least} to {most}", path=name)
    return value
