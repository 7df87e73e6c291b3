"""The forms that sign somebody in, and the one that proves them anew: wrong input comes back as the same form.

They perform the actions everybody can; what they add is where to go after, and words beside the field.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from hub.core import actions, limits
from hub.core.context import Actor
from hub.core.errors import InvalidInput, NotAllowed, NotSignedIn, TooMany, Unavailable
from hub.core.house import House
from hub.people import challenges
from hub.web import cookies, endpoints
from hub.web.endpoints import house_of
from hub.web.pages import signin as page

# Told beside the form; everything else is an error like any other.
TOLD = (InvalidInput, NotAllowed, NotSignedIn, TooMany, Unavailable)


async def by_password(request: Request) -> Response:
    """POST /signin"""
    fields = await _fields(request, "who", "password", "next")
    return await _try(request, "sign_in_password", fields, ("who", "password"), page.form)


async def by_code(request: Request) -> Response:
    """POST /signin/second"""
    fields = await _fields(request, "code", "next")
    second = cookies.second_of(request, house_of(request).settings.origin)
    if not second:
        return RedirectResponse(f"/signin?{urlencode({'next': endpoints.local_path(fields['next'])})}", 303)
    return await _try(request, "sign_in_code", {**fields, "second": second}, ("code", "second"), page.second)


async def by_passkey(request: Request) -> Response:
    """POST /signin/passkey"""
    fields = await _fields(request, "passkey", "next")
    return await _try(request, "sign_in_passkey", fields, ("passkey",), page.form)


async def prove_anew(request: Request) -> Response:
    """POST /step-up"""
    fields = await _fields(request, "password", "totp", "passkey", "next")
    actor = await endpoints.actor_of(request)
    given = {name: fields[name] for name in ("password", "totp", "passkey") if fields[name]}
    onward = endpoints.local_path(fields["next"])
    try:
        answer = await _perform(request, "step_up", given, actor)
    except (NotAllowed, TooMany) as error:
        # Back to the form, which says why; a password is not sent round in an address.
        return RedirectResponse(f"{onward.partition('?')[0]}?{urlencode({'said': error.code})}", 303)
    return endpoints.onward(request, answer, onward)


def options(make: Callable[[House, Actor], dict[str, Any]], *, anonymous: bool) -> endpoints.Endpoint:
    """POST for the challenge of a passkey."""

    async def endpoint(request: Request) -> Response:
        actor = await endpoints.actor_of(request, anonymous=anonymous)
        await endpoints.body_of(request, limits.FORM_BODY_BYTES)
        return endpoints.json_response(await to_thread.run_sync(make, house_of(request), actor))

    return endpoint


async def _fields(request: Request, *names: str) -> dict[str, str]:
    """The named fields of a form, empty where not given. Raises InvalidInput for any other."""
    pairs = await endpoints.form_of(request)
    fields = dict.fromkeys(names, "")
    for name, value in pairs:
        if name not in fields or fields[name]:
            raise InvalidInput("this form has no such field, or has it twice", path=name[:100])
        fields[name] = value
    return fields


async def _try(
    request: Request,
    tag: str,
    fields: dict[str, str],
    sent: tuple[str, ...],
    again: Callable[..., str],
) -> Response:
    actor = await endpoints.actor_of(request, anonymous=True)
    onward = endpoints.local_path(fields["next"])
    try:
        answer = await _perform(request, tag, {name: fields[name] for name in sent if fields[name]}, actor)
    except TOLD as refusal:
        error = refusal
        if not _is_for_a_page(request):
            raise

        def draw() -> str:
            with house_of(request).scope(actor) as scope:
                return again(scope, {"next": onward, "who": fields.get("who", "")}, said=error)

        headers = {}
        if error.retry_after_seconds is not None:
            headers["Retry-After"] = str(error.retry_after_seconds)
        return HTMLResponse(await to_thread.run_sync(draw), error.status, headers)
    return endpoints.onward(request, answer, onward)


async def _perform(request: Request, tag: str, fields: dict[str, str], actor: Actor) -> Any:
    action = actions.from_form({"action": tag, **fields})
    return (await endpoints.perform_as(house_of(request), action, actor, None)).result


def _is_for_a_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


ROUTES = [
    Route("/signin", by_password, methods=["POST"]),
    Route("/signin/second", by_code, methods=["POST"]),
    Route("/signin/passkey", by_passkey, methods=["POST"]),
    Route("/signin/passkey/options", options(challenges.options_to_use, anonymous=True), methods=["POST"]),
    Route("/me/passkeys/options", options(challenges.options_to_add, anonymous=False), methods=["POST"]),
    Route("/step-up", prove_anew, methods=["POST"]),
]
