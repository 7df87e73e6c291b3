"""The views without a socket, as the hub itself sees them: for who can read the data folder anyway.

It answers the same GET requests as web does, from the same table, so that what is written for a hub elsewhere works on
the folder of one that does not run. Nothing can be changed through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import sqlalchemy as sa
from starlette.routing import compile_path

from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import versions
from hub.core import limits
from hub.core.context import SYSTEM, Scope
from hub.core.errors import HubError, NotFound
from hub.core.house import House
from hub.jobs import views as jobs
from hub.sessions import views as sessions
from hub.sessions.tables import sessions as sessions_table
from hub.web import routes


class Inside(httpx.BaseTransport):
    """A transport that ends in this process; closing it closes the house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._routes = [(compile_path(view.path), view.answer) for view in routes.VIEWS]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        query = dict(request.url.params)
        try:
            if request.method != "GET":
                raise NotFound("only reading is possible here")
            if path.startswith("/api/artifacts/") and path.endswith("/content"):
                return self._content(path.split("/")[3], request)
            if path.startswith("/api/jobs/") and path.endswith("/log"):
                return self._log(path.split("/")[3], int(query.get("offset", 0)))
            with self._house.scope(SYSTEM) as scope:
                answer = self._answer(path)(scope, query)
                return httpx.Response(200, content=msgspec.json.encode(answer))
        except HubError as error:
            body = {"status": error.status, "code": error.code, "detail": error.message, "hint": error.hint}
            headers = {"Content-Type": "application/problem+json"}
            return httpx.Response(error.status, content=msgspec.json.encode(body), headers=headers)

    def close(self) -> None:
        self._house.close()

    def _answer(self, path: str) -> Callable[[Scope, dict[str, str]], Any]:
        if path == "/api/sessions":
            return _all_sessions
        for (pattern, _, convertors), answer in self._routes:
            if found := pattern.match(path):
                given = {name: str(convertors[name].convert(text)) for name, text in found.groupdict().items()}
                return lambda scope, query, answer=answer, given=given: answer(scope, {**query, **given})  # type: ignore[misc]
        raise NotFound(f"there is no {path}")

    def _content(self, version: str, request: httpx.Request) -> httpx.Response:
        offset = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        with self._house.db.read() as conn:
            row = conn.execute(sa.select(versions).where(versions.c.id == version)).first()
        if row is None or row.digest is None:
            raise NotFound("there is no such content")
        store = self._house.port(BlobStore)  # type: ignore[type-abstract]
        return httpx.Response(206 if offset else 200, stream=_Bytes(store.open(row.digest, row.session, offset)))

    def _log(self, job: str, offset: int) -> httpx.Response:
        return httpx.Response(200, headers={"Collegium-Log-Done": "1"}, stream=_Bytes(self._log_bytes(job, offset)))

    def _log_bytes(self, job: str, offset: int) -> Iterator[bytes]:
        while True:
            with self._house.scope(SYSTEM) as scope:
                piece = jobs.log_piece(scope, job, offset)
            if not piece.data:
                return
            offset += len(piece.data)
            yield piece.data


class _Bytes(httpx.SyncByteStream):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces


def _all_sessions(scope: Scope, query: dict[str, str]) -> list[sessions.SessionView]:
    before = query.get("before", "newest")
    wanted = sa.select(sessions_table.c.id).order_by(sessions_table.c.id.desc()).limit(limits.PAGE_ITEMS)
    if before != "newest":
        wanted = wanted.where(sessions_table.c.id < before)
    return [sessions.session(scope, each) for each in scope.execute(wanted).scalars().all()]
