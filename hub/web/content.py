"""The bytes of an artifact, and its preview: streamed, by range, cached by digest, and harmless in a browser.

A browser may keep them, and asks each time whether it may still show them: a right that is taken away holds for what
lies in a cache, too.

Whatever a file claims to be, it is sent as a download into a sandbox that runs nothing. Only what is not parsed as a
document (raster pictures, plain text) may be shown in place, when asked for with `?show=1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import format_datetime

import msgspec
import sqlalchemy as sa
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.artifacts import previews, rules
from hub.artifacts.blobs import BlobStore
from hub.artifacts.previews import SVG
from hub.artifacts.tables import versions
from hub.core.context import Actor
from hub.core.errors import InvalidInput, NotFound
from hub.core.house import House
from hub.web import ranges
from hub.web.endpoints import actor_of, house_of, query_of
from hub.web.holding import Held, Holding

SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
CACHE = "private, no-cache"
_AS_THEY_ARE = frozenset(
    {"image/png", "image/jpeg", "image/webp", "image/gif", "image/tiff", SVG, "application/pdf", "application/zip"}
)
_SHOWN_IN_PLACE = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "text/plain; charset=utf-8"})


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A stored version whose bytes may be sent."""

    id: str
    session: str
    path: str
    digest: str
    size: int
    media_type: str
    modified: str

    @property
    def etag(self) -> str:
        return f'"{self.digest}"'


async def content(request: Request) -> Response:
    """GET /api/artifacts/{ref}/content, with `Range`, `If-Range` and `If-None-Match`; `?show=1` to see it in place."""
    actor = await actor_of(request)
    query = query_of(request, ("show",))
    found = await to_thread.run_sync(_find, house_of(request), actor, query["ref"])
    return await _send(request, actor, found, show=query.get("show") == "1")


async def preview(request: Request) -> Response:
    """GET /api/artifacts/{ref}/preview: a WebP (`?size=card|page`), the first rows as JSON, or the first lines."""
    actor, house = await actor_of(request), house_of(request)
    query = query_of(request, ("size",))
    if (size := query.get("size", "page")) not in ("card", "page"):
        raise InvalidInput("`size` must be `card` or `page`", path="size")
    found = await to_thread.run_sync(_find, house, actor, query["ref"])
    if found.media_type == SVG:
        return await _send(request, actor, found, show=False)
    data, media_type, digest = await to_thread.run_sync(_preview, house, actor, found.id, size)
    headers = {
        "ETag": f'"{digest}"',
        "Cache-Control": CACHE,
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Vary": "Authorization, Cookie",
    }
    if ranges.has_already(request.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=media_type, headers=headers)


async def _send(request: Request, actor: Actor, found: Found, *, show: bool) -> Response:
    media_type = _sent_as(found.media_type)
    headers = {
        "ETag": found.etag,
        "Last-Modified": found.modified,
        "Accept-Ranges": "bytes",
        "Cache-Control": CACHE,
        "Content-Disposition": ranges.disposition(found.path, inline=show and media_type in _SHOWN_IN_PLACE),
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Collegium-Digest": f"sha256:{found.digest}",
        "Vary": "Authorization, Cookie",
    }
    if ranges.has_already(request.headers.get("if-none-match"), found.etag):
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    if asked is not None and not ranges.range_counts(request.headers.get("if-range"), found.etag):
        asked = None
    try:
        part = ranges.part(asked, found.size)
    except ranges.Unsatisfiable:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{found.size}"})
    start, end = part or (0, found.size)
    headers["Content-Length"] = str(end - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    pieces = await to_thread.run_sync(_open, house_of(request), found, start, end - start)
    holding = Holding(request, actor, lambda house, who: _find(house, who, found.id))
    return Held(holding, pieces, status, headers, media_type)


def _find(house: House, actor: Actor, ref: str) -> Found:
    with house.scope(actor) as scope:
        artifact = scope.access.find("artifact", ref, "artifact:read")
        row = scope.execute(sa.select(versions).where(versions.c.id == artifact)).one()
    if row.kind != "stored":
        raise NotFound(
            f"the content of this file was left in place on {row.cluster}",
            code="content_in_place",
            hint=f"it lies at {row.source_path}",
        )
    return Found(
        id=row.id,
        session=row.session,
        path=row.path,
        digest=row.digest,
        size=row.size,
        media_type=row.media_type,
        modified=format_datetime(row.at, usegmt=True),
    )


def _open(house: House, found: Found, offset: int, length: int) -> Iterator[bytes]:
    store = house.port(BlobStore)  # type: ignore[type-abstract]
    return store.open(found.digest, found.session, offset, length)


def _preview(house: House, actor: Actor, artifact: str, size: str) -> tuple[bytes, str, str]:
    with house.scope(actor) as scope:
        row = scope.execute(sa.select(versions).where(versions.c.id == artifact)).one()
        view = previews.of(scope, [row])[artifact]
    if view.state == "pending":
        previews.make_now(house, artifact)
    variant: previews.Variant = "card" if size == "card" else "page"
    if view.kind in ("table", "text"):
        variant = "table" if view.kind == "table" else "text"
    with house.scope(actor) as scope:
        return previews.content(scope, artifact, variant)


def _sent_as(media_type: str) -> str:
    """Text of any kind travels as plain text, so that no browser takes it for a page; the unknown as mere bytes."""
    if media_type in _AS_THEY_ARE:
        return media_type
    if media_type == "text/csv":
        return "text/csv; charset=utf-8"
    if rules.preview_kind(media_type) == "text":
        return "application/json" if media_type == "application/json" else "text/plain; charset=utf-8"
    return "application/octet-stream"


ROUTES = [
    Route("/api/artifacts/{ref:path}/content", content, methods=["GET"]),
    Route("/api/artifacts/{ref:path}/preview", preview, methods=["GET"]),
]
