"""Whether who asked may still be answered: looked at again and again while an answer, or a request, is on its way.

A right that was there at the first byte may be gone at the last. What streams asks here before every piece, and the
whole question is asked anew at most twice a second: the credential (a token, a sign-in, the service and whom it acts
for, the account behind them), then the right itself. What cannot be looked at does not go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import sqlalchemy as sa
import structlog
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from hub.core.connection import cut
from hub.core.context import Actor
from hub.core.errors import HubError, NotSignedIn, Unavailable
from hub.core.house import House
from hub.web.identity import identify

log = structlog.get_logger()
LOOK_SECONDS = 0.5

Check = Callable[[House, Actor], object]


def same(house: House, request: Request, actor: Actor) -> Actor:
    """Who asked, by the same credential, as they are now. Raises NotSignedIn when it holds no more."""
    now = identify(house, request)
    if (now.id, now.kind, now.link_id) != (actor.id, actor.kind, actor.link_id):
        raise NotSignedIn("you are not signed in any more", hint="sign in again")
    return now


class Holding:
    """The right of one request to go on. `check` raises HubError when the actor may no more."""

    def __init__(self, request: Request, actor: Actor, check: Check) -> None:
        self._house: House = request.app.state.house
        self._request = request
        self._actor = actor
        self._check = check
        self._loop = asyncio.get_running_loop()
        self._looked_at = self._loop.time()

    async def insist(self, *, anew: bool = False) -> None:
        """Raises HubError when the right is gone; `anew` asks even if that was asked a moment ago."""
        now = self._loop.time()
        if not anew and now - self._looked_at < LOOK_SECONDS:
            return
        await to_thread.run_sync(self._look)
        # What was true when we asked, not when the answer came.
        self._looked_at = now

    def _look(self) -> None:
        try:
            self._right()
        except sa.exc.SQLAlchemyError as error:
            log.warning("holding.unreadable", error=str(error))
            raise Unavailable("rights cannot be looked at now") from error

    def _right(self) -> None:
        self._check(self._house, same(self._house, self._request, self._actor))


class Held(StreamingResponse):
    """A stream that is cut, and so visibly unfinished, as soon as its reader loses the right to it.

    An empty piece sends nothing: it is there to be asked about while there is nothing to send.
    """

    def __init__(
        self, holding: Holding, content: Iterator[bytes] | AsyncIterator[bytes], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(content, *args, **kwargs)
        self._holding = holding

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self.body_iterator:
            try:
                await self._holding.insist()
            except HubError as error:
                log.info("stream.cut", code=error.code)
                # An answer that is left unfinished ends its connection; this drops what is on its way, too.
                cut(self._scope)
                return
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
