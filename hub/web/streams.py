"""Answers that stream: a job's log by byte offset, to as many readers as like."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response

from hub.core import limits
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import logs
from hub.jobs import views as jobs
from hub.web.endpoints import Endpoint, actor_of, house_of, query_of
from hub.web.holding import LOOK_SECONDS, Held, Holding
from hub.web.routes import number

PIECE_BYTES = 256 * 1024
# While a log grows a reader looks at its end this often; the store is a local file, and the look costs one stat.
FOLLOW_SECONDS = 0.15
# So long an answer that does not follow waits for the first look at a log that nobody read until now.
FIRST_LOOK_SECONDS = 2.0


def signed_in(endpoint: Endpoint) -> Endpoint:
    """The same endpoint, for somebody we know."""

    async def checked(request: Request) -> Response:
        await actor_of(request)
        return await endpoint(request)

    return checked


async def job_log(request: Request) -> Response:
    """GET /api/jobs/{ref}/log?offset=&limit=&follow=1: bytes exactly as the job wrote them.

    The answer's headers say where it begins (`Collegium-Log-Offset`), how much there is (`-Size`) and whether more may
    come (`-Done`). With `follow` the answer ends when the log is complete; a reader that was cut resumes by offset.
    """
    actor = await actor_of(request)
    house = house_of(request)
    query = query_of(request, ("offset", "limit", "follow"))
    offset = number(query, "offset", 0)
    limit = number(query, "limit", limits.LOG_BYTES * 4, least=1)
    follow = query.get("follow", "0") not in {"", "0", "false"}
    first = await to_thread.run_sync(_piece, house, actor, query["ref"], offset, min(PIECE_BYTES, limit))
    with_id = await to_thread.run_sync(_job_id, house, actor, query["ref"])
    if not (first.followed or first.done or follow):
        await _grown(house, with_id, first.size)
        first = await to_thread.run_sync(_piece, house, actor, with_id, offset, min(PIECE_BYTES, limit))
    headers = {
        "Collegium-Log-Offset": str(offset),
        "Collegium-Log-Size": str(first.size),
        "Collegium-Log-Done": "1" if first.done else "0",
        "Content-Disposition": "attachment; filename=log.txt",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Accel-Buffering": "no",
    }
    holding = Holding(request, actor, lambda house, who: _job_id(house, who, with_id))
    pieces = _pieces(house, actor, with_id, first, limit, follow)
    return Held(holding, pieces, media_type="text/plain; charset=utf-8", headers=headers)


async def _grown(house: House, job_id: str, size: int) -> None:
    """Return when the log is longer than that, or after a moment: a job may have nothing to say."""
    store = logs.store(house.settings.data)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LOOK_SECONDS):
            while await to_thread.run_sync(store.size, job_id) <= size:
                await asyncio.sleep(FOLLOW_SECONDS)


def _job_id(house: House, actor: Actor, ref: str) -> str:
    with house.scope(actor) as scope:
        return scope.access.find("job", ref, "job:read")


def _piece(house: House, actor: Actor, ref: str, offset: int, limit: int) -> jobs.LogPiece:
    with house.scope(actor) as scope:
        return jobs.log_piece(scope, ref, offset, limit)


async def _pieces(
    house: House, actor: Actor, job_id: str, first: jobs.LogPiece, limit: int, follow: bool
) -> AsyncIterator[bytes]:
    """Follow the file; the end is asked of SQL twice a second. An empty piece says that there is nothing new yet."""
    store = logs.store(house.settings.data)
    piece, offset, left = first.data, first.offset, limit
    loop = asyncio.get_running_loop()
    asked_at, known = loop.time(), first
    while True:
        if piece:
            offset, left = offset + len(piece), left - len(piece)
            yield piece
        elif not follow or (known.done and offset >= known.size):
            return
        else:
            yield b""
            await asyncio.sleep(FOLLOW_SECONDS)
        if left <= 0:
            return
        if loop.time() - asked_at >= LOOK_SECONDS:
            known = await to_thread.run_sync(_piece, house, actor, job_id, 0, 0)
            asked_at = loop.time()
        piece = await to_thread.run_sync(store.read, job_id, offset, min(PIECE_BYTES, left))
