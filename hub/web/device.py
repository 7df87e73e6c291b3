"""The doors of a shell that signs in from elsewhere, and of the page on which its person confirms it."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from hub.core import limits
from hub.core.context import Actor
from hub.core.errors import HubError, InvalidInput
from hub.core.house import House
from hub.people import device_codes
from hub.web.endpoints import actor_of, body_of, form_of, house_of, json_response
from hub.web.pages import device as page

T = TypeVar("T")


class _Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = ""


class _Poll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device_code: str


async def begin(request: Request) -> Response:
    """POST /api/device: {host} -> a secret to ask with, and a code to show."""
    actor, asked = await actor_of(request, anonymous=True), await _asked(request, _Begin)
    return json_response(await to_thread.run_sync(device_codes.begin, house_of(request), actor, asked.host))


async def poll(request: Request) -> Response:
    """POST /api/device/token: {device_code} -> the token once it was confirmed, else that one has to wait."""
    await actor_of(request, anonymous=True)
    asked = await _asked(request, _Poll)
    return json_response(await to_thread.run_sync(device_codes.poll, house_of(request), asked.device_code))


async def show(request: Request) -> Response:
    """POST /device: which machine shows this code; a code that is none comes back in the form."""
    actor, fields = await actor_of(request), dict(await form_of(request))
    code = fields.pop("code", "")
    if fields:
        raise InvalidInput(f"this form has no field {sorted(fields)[0][:60]!r}")
    status, drawn = await to_thread.run_sync(_drawn, house_of(request), actor, code[:40])
    return HTMLResponse(drawn, status)


def _drawn(house: House, actor: Actor, code: str) -> tuple[int, str]:
    refused = asking = None
    try:
        asking = device_codes.look(house, actor, code)
    except HubError as error:
        refused = error
    with house.scope(actor) as scope:
        if asking is not None:
            return 200, page.confirm(scope, asking)
        assert refused is not None
        return refused.status, page.form(scope, code, refused)


async def _asked(request: Request, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(await body_of(request, limits.FORM_BODY_BYTES), type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the request cannot be read: {error}") from None


ROUTES = [
    Route("/api/device", begin, methods=["POST"]),
    Route("/api/device/token", poll, methods=["POST"]),
    Route("/device", show, methods=["POST"]),
]
