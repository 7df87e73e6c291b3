"""Resumable uploads over HTTP: tus 1.0 with creation, expiration and termination.

The body is taken in as it comes, one frame in memory at a time, and written in threads. A connection that breaks
leaves what arrived; the answer to HEAD says where to go on. When the last byte is in, the answer carries
`Collegium-Digest`, which an action may then name. Who loses the right to write while bytes come in is refused at once.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import format_datetime
from typing import Any, ParamSpec, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from hub.artifacts import uploads
from hub.artifacts.frames import FRAME_BYTES
from hub.core import limits
from hub.core.errors import HubError, InvalidInput, NotAllowed, NotFound, NotSignedIn, TooLarge
from hub.web import problems
from hub.web.endpoints import actor_of, house_of, query_of
from hub.web.holding import LOOK_SECONDS, Holding

log = structlog.get_logger()
VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
METADATA_CHARACTERS = 8192
# Writing to disk has threads of its own, so that many uploads never keep a page waiting for one.
WRITERS = 8

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


class _WrongVersion(InvalidInput):
    """The client speaks another version of tus."""

    status = 412
    default_code = "tus_version"


class _WrongType(InvalidInput):
    """The body of a PATCH is not marked as bytes at an offset."""

    status = 415
    default_code = "wrong_content_type"


def tus(handler: Handler) -> Handler:
    """The protocol's own header on every answer, errors included; other versions are refused."""

    @functools.wraps(handler)
    async def endpoint(request: Request) -> Response:
        try:
            spoken = request.headers.get("tus-resumable", VERSION)
            if spoken != VERSION and request.method != "OPTIONS":
                raise _WrongVersion(f"this hub speaks tus {VERSION}, not {spoken[:20]}", path="Tus-Resumable")
            response = await handler(request)
        except HubError as error:
            response = problems.respond(error, request)
            if error.status == 412:
                response.headers["Tus-Version"] = VERSION
        response.headers["Tus-Resumable"] = VERSION
        response.headers["Cache-Control"] = "no-store"
        return response

    return endpoint


@tus
async def options(request: Request) -> Response:
    """OPTIONS: what this server can do."""
    headers = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS, "Tus-Max-Size": str(limits.UPLOAD_BYTES)}
    return Response(status_code=204, headers=headers)


@tus
async def create(request: Request) -> Response:
    """POST /api/uploads?session=REF with `Upload-Length` and `Upload-Metadata` (`filename`, `sha256`)."""
    actor = await actor_of(request)
    query = query_of(request, ("session",))
    if "upload-defer-length" in request.headers:
        raise InvalidInput("the length must be known: send Upload-Length", path="Upload-Defer-Length")
    length = _number(request, "Upload-Length")
    metadata = parse_metadata(request.headers.get("upload-metadata", ""))
    begun = await _in_thread(
        request,
        uploads.begin,
        house_of(request),
        actor,
        query.get("session") or None,
        length,
        metadata.get("filename", ""),
        metadata.get("sha256") or None,
    )
    headers = {**_headers(begun), "Location": f"/api/uploads/{begun.id}"}
    return Response(status_code=201, headers=headers)


@tus
async def head(request: Request) -> Response:
    """HEAD: how much is durably there."""
    actor = await actor_of(request)
    found = await _in_thread(request, uploads.look, house_of(request), actor, request.path_params["upload"])
    return Response(status_code=200, headers=_headers(found))


@tus
async def patch(request: Request) -> Response:
    """PATCH: more bytes, from `Upload-Offset` on."""
    actor = await actor_of(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/offset+octet-stream":
        raise _WrongType("send the bytes as application/offset+octet-stream", path="Content-Type")
    offset = _number(request, "Upload-Offset")
    upload = request.path_params["upload"]
    receiver = await _in_thread(request, uploads.Receiver, house_of(request), actor, upload, offset)
    holding = Holding(request, actor, lambda house, who: uploads.check(house, who, upload))
    try:
        announced = request.headers.get("content-length")
        if announced is not None and announced.isdigit() and int(announced) > receiver.room:
            raise TooLarge("more bytes are coming than Upload-Length announced", code="upload_too_long")
        async for frame in _frames(request, holding):
            await _in_thread(request, receiver.add, frame)
        await holding.insist(anew=True)
    except (NotSignedIn, NotAllowed, NotFound):
        receiver.release()
        raise
    except HubError:
        await _in_thread(request, receiver.close)
        raise
    except BaseException:
        receiver.release()
        raise
    stands = await _in_thread(request, receiver.close)
    return Response(status_code=204, headers=_headers(stands))


@tus
async def delete(request: Request) -> Response:
    """DELETE: throw away what arrived."""
    actor = await actor_of(request)
    await _in_thread(request, uploads.discard, house_of(request), actor, request.path_params["upload"])
    return Response(status_code=204)


async def _frames(request: Request, holding: Holding) -> AsyncIterator[bytes]:
    """The body in full frames; a break or a long silence ends it early with what arrived until then."""
    waiting = bytearray()
    try:
        while (piece := await _piece(request, holding)) is not None:
            waiting += piece
            while len(waiting) >= FRAME_BYTES:
                yield bytes(waiting[:FRAME_BYTES])
                del waiting[:FRAME_BYTES]
    except (ClientDisconnect, TimeoutError):
        log.info("upload.cut", upload=request.path_params["upload"])
    if waiting:
        yield bytes(waiting)


async def _piece(request: Request, holding: Holding) -> bytes | None:
    """What comes next of the body, None at its end. Raises HubError as soon as the sender lost the right."""
    if getattr(request.state, "body_is_over", False):
        return None
    silent_since = asyncio.get_running_loop().time()
    while True:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                message = await request.receive()
            break
        except TimeoutError:
            await holding.insist()
            if asyncio.get_running_loop().time() - silent_since >= limits.UPLOAD_IDLE_SECONDS:
                raise
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    await holding.insist()
    request.state.body_is_over = not message.get("more_body", False)
    return bytes(message.get("body", b""))


async def _in_thread(request: Request, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    state = request.app.state
    if not hasattr(state, "upload_writers"):
        state.upload_writers = CapacityLimiter(WRITERS)
    return await to_thread.run_sync(functools.partial(work, *args, **kwargs), limiter=state.upload_writers)


def parse_metadata(text: str) -> dict[str, str]:
    """`Upload-Metadata`: pairs of a key and base64, divided by commas. Raises InvalidInput."""
    if len(text) > METADATA_CHARACTERS:
        raise InvalidInput(f"Upload-Metadata is longer than {METADATA_CHARACTERS} characters", path="Upload-Metadata")
    found: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except ValueError:
            raise InvalidInput(
                f"the value of {key[:40]!r} is not UTF-8 in base64", code="bad_metadata", path="Upload-Metadata"
            ) from None
    return found


def _number(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidInput(f"{name} must be a whole number of bytes", code="bad_header", path=name)
    return int(text)


def _headers(upload: uploads.Upload) -> dict[str, str]:
    expires = dt.datetime.fromisoformat(upload.expires)
    headers: dict[str, Any] = {
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.length),
        "Upload-Expires": format_datetime(expires, usegmt=True),
    }
    if upload.digest is not None:
        headers["Collegium-Digest"] = upload.digest
    return headers


ROUTES = [
    Route("/api/uploads", options, methods=["OPTIONS"]),
    Route("/api/uploads", create, methods=["POST"]),
    Route("/api/uploads/{upload}", options, methods=["OPTIONS"]),
    Route("/api/uploads/{upload}", head, methods=["HEAD"]),
    Route("/api/uploads/{upload}", patch, methods=["PATCH"]),
    Route("/api/uploads/{upload}", delete, methods=["DELETE"]),
]
