"""Answers that stream: a job's log by byte offset, to as many readers as like."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hub.core import limits
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import views as jobs
from hub.jobs.logs import LogStore
from hub.web.endpoints import Endpoint, actor_of, house_of
from hub.web.routes import number

PIECE_BYTES = 256 * 1024
# While a log grows a reader looks at its end this often; the store is a local file, and the look costs one stat.
FOLLOW_SECONDS = 0.15


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
    query = dict(request.query_params)
    offset = number(query, "offset", 0)
    limit = number(query, "limit", limits.LOG_BYTES * 4, least=1)
    follow = query.get("follow", "0") not in {"", "0", "false"}
    job_id, size, done = await to_thread.run_sync(_find, house, actor, request.path_params["ref"])
    headers = {
        "Collegium-Log-Offset": str(min(offset, size)),
        "Collegium-Log-Size": str(size),
        "Collegium-Log-Done": "1" if done else "0",
        "Content-Disposition": "attachment; filename=log.txt",
        "X-Accel-Buffering": "no",
    }
    return StreamingResponse(
        _pieces(house, actor, job_id, offset, limit, follow),
        media_type="text/plain; charset=utf-8",
        headers=headers,
    )


def _find(house: House, actor: Actor, ref: str) -> tuple[str, int, bool]:
    with house.scope(actor) as scope:
        job_id = scope.access.find("job", ref, "job:read")
        return job_id, house.port(LogStore).size(job_id), jobs.is_over(scope, job_id)  # type: ignore[type-abstract]


async def _pieces(
    house: House, actor: Actor, job_id: str, offset: int, limit: int, follow: bool
) -> AsyncIterator[bytes]:
    store = house.port(LogStore)  # type: ignore[type-abstract]
    left = limit
    checked_at = asyncio.get_running_loop().time()
    while left > 0:
        piece = await to_thread.run_sync(store.read, job_id, offset, min(PIECE_BYTES, left))
        if piece:
            offset, left = offset + len(piece), left - len(piece)
            yield piece
            continue
        if not follow:
            return
        now = asyncio.get_running_loop().time()
        if now - checked_at >= 0.5:
            # Rights are looked at again while the answer lasts: who loses them stops reading within a second.
            checked_at = now
            _, size, done = await to_thread.run_sync(_find, house, actor, job_id)
            if done and offset >= size:
                return
        await asyncio.sleep(FOLLOW_SECONDS)
