"""From requests to plain functions and back: actions, views, pages and the form door.

Async only where the socket is: an action waits for its COMMIT without holding a thread; a view runs in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from hub import perform
from hub.core import actions, limits
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, NotAllowed, NotFound, NotSignedIn, TooLarge
from hub.core.house import House
from hub.setup.instance import instance
from hub.web import cookies, delivered
from hub.web.identity import identify, is_anyone
from hub.web.metrics import ACTIONS
from hub.web.onward import local
from hub.web.pages import script_changed, shown_once

# Where somebody can go who must set up a second factor first; actions are held back by their scopes.
ENROLLING = ("/me/security", "/me/passkeys", "/do", "/api/actions", "/step-up", "/signin")
Endpoint = Callable[[Request], Awaitable[Response]]


def house_of(request: Request) -> House:
    house: House = request.app.state.house
    return house


async def actor_of(request: Request, *, anonymous: bool = False) -> Actor:
    """Who asks; raises NotSignedIn for nobody, unless nobody is welcome."""
    actor = await to_thread.run_sync(identify, house_of(request), request)
    if is_anyone(actor) and not anonymous:
        raise NotSignedIn("sign in first", hint="open your sign-in link, or send a token")
    if actor.must_enrol and not request.url.path.startswith(ENROLLING):
        raise NotAllowed(
            "this hub asks a second factor of your role, and you have set up none yet",
            code="second_factor_required",
            hint="add an authenticator app or a passkey; then everything else is open to you",
            url=f"{house_of(request).settings.origin}/me/security",
        )
    request.state.actor = actor
    return actor


async def body_of(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it passes `limit`."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise TooLarge(f"the request has more than {limit} bytes", hint="send large content as an upload")
        pieces.append(piece)
    return b"".join(pieces)


def json_response(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)


async def act(request: Request) -> Response:
    """POST /api/actions: the door for programs."""
    actor = await actor_of(request)
    body = await body_of(request, limits.ACTION_BODY_BYTES)
    house = house_of(request)
    action = actions.decode(body)
    chat = delivered.of(request, actor)
    answer = await perform_as(house, action, actor, request.headers.get("idempotency-key"), chat)
    headers = None if chat is None else chat.told
    return cookies.carry(json_response(answer, headers), answer.result, house.settings.origin)


async def perform_as(
    house: House, action: actions.Action, actor: Actor, key: str | None, beside: perform.Beside | None = None
) -> perform.Answer:
    tag = str(action.__struct_config__.tag)
    try:
        answer = await asyncio.wrap_future(perform.submit(house, action, actor, key, beside))
    except HubError as error:
        ACTIONS.labels(tag, error.code).inc()
        raise
    ACTIONS.labels(tag, "done").inc()
    return answer


def view(answer: Callable[[Any, dict[str, str]], Any], takes: tuple[str, ...]) -> Endpoint:
    """An endpoint for a view; unknown query parameters are refused by name."""

    async def endpoint(request: Request) -> Response:
        actor = await actor_of(request)
        query = query_of(request, takes)
        if (chat := delivered.of(request, actor)) is not None and chat.delivery is not None:
            await asyncio.wrap_future(house_of(request).db.submit(chat.before))
        return json_response(await to_thread.run_sync(_look, house_of(request), actor, answer, query))

    return endpoint


def query_of(request: Request, takes: tuple[str, ...]) -> dict[str, str]:
    """Query and path parameters as text. Raises InvalidInput for a name that is not taken here."""
    given = dict(request.query_params)
    if unknown := sorted(set(given) - set(takes)):
        offered = f"this takes: {', '.join(takes)}" if takes else "this takes no parameters"
        raise InvalidInput(f"unknown parameters: {', '.join(unknown)[:300]}", path=unknown[0][:100], hint=offered)
    for name, value in given.items():
        if "\x00" in value or not _is_text(value):
            raise InvalidInput("the text is not valid", path=name)
    paths = {name: str(value) for name, value in request.path_params.items()}
    for value in paths.values():
        if "\x00" in value or not _is_text(value):
            raise NotFound("there is no such thing")
    return {**given, **paths}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _look(house: House, actor: Actor, answer: Callable[[Any, dict[str, str]], Any], query: dict[str, str]) -> Any:
    with house.scope(actor) as scope:
        return answer(scope, query)


def page(show: Callable[[Any, dict[str, str]], str], *, anonymous: bool = False) -> Endpoint:
    """An endpoint for a page; who is not signed in is shown the way to do so."""

    async def endpoint(request: Request) -> Response:
        try:
            actor = await actor_of(request, anonymous=anonymous)
        except NotAllowed as error:
            if error.code != "second_factor_required":
                raise
            return RedirectResponse("/me/security", 303)
        query = {**dict(request.query_params), **{k: str(v) for k, v in request.path_params.items()}}
        if not all(_is_text(value) and "\x00" not in value for value in query.values()):
            raise NotFound("there is no such page")
        return HTMLResponse(await to_thread.run_sync(_look, house_of(request), actor, show, query))

    return endpoint


def asks(answer: Callable[[House, Actor, Any], Any]) -> Endpoint:
    """An endpoint that takes a small JSON object and answers with a value, outside the action API."""

    async def endpoint(request: Request) -> Response:
        actor = await actor_of(request)
        body = actions.parse(await body_of(request, limits.FORM_BODY_BYTES))
        return json_response(await to_thread.run_sync(answer, house_of(request), actor, body))

    return endpoint


async def form_of(request: Request) -> list[tuple[str, str]]:
    """The fields of a form, in order. Raises InvalidInput for what is none."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise InvalidInput("send the form as application/x-www-form-urlencoded")
    try:
        text = (await body_of(request, limits.FORM_BODY_BYTES)).decode()
        return parse_qsl(text, keep_blank_values=True, max_num_fields=1000, errors="strict")
    except ValueError as error:
        raise InvalidInput(f"the form cannot be read: {error}") from None


async def do(request: Request) -> Response:
    """POST /do: the door for HTML forms, on the same actions.

    Fields are those of the action, named as `envelope_of` says. `next` is where the browser goes, with `{name}` filled
    in from the result.
    """
    actor = await actor_of(request, anonymous=True)
    pairs = await form_of(request)
    fields = dict(pairs)
    target, key = fields.pop("next", ""), fields.pop("idempotency_key", None)
    action = actions.from_form(envelope_of(pairs))
    if is_anyone(actor) and action.__struct_config__.tag not in {"sign_in", "link_open", "invitation_join"}:
        raise NotSignedIn("sign in first", hint="open your sign-in link")
    house = house_of(request)
    try:
        answer = await perform_as(house, action, actor, key or None)
    except Conflict as error:
        if error.code != "script_changed":
            raise
        return HTMLResponse(await to_thread.run_sync(_asked, house, actor, error, pairs), error.status)
    return onward(request, answer.result, target)


def _asked(house: House, actor: Actor, error: Conflict, pairs: list[tuple[str, str]]) -> str:
    """The question whether a script that somebody else changed shall run as it is now."""
    with house.scope(actor) as scope:
        return script_changed.show(scope, error, pairs)


def spends(tag: str, next_path: str = "") -> Endpoint:
    """POST /signin/{token} and its like: the button of a landing page, which uses the secret in its address."""

    async def endpoint(request: Request) -> Response:
        actor = await actor_of(request, anonymous=True)
        await body_of(request, limits.FORM_BODY_BYTES)
        if tag == "invitation_accept" and is_anyone(actor):
            raise NotSignedIn("sign in first", hint="the invitation's own page shows how, and how to make an account")
        action = actions.from_form({"action": tag, "secret": str(request.path_params["token"])})
        answer = await perform_as(house_of(request), action, actor, None)
        return onward(request, answer.result, "/s/{name}" if tag == "invitation_accept" else next_path)

    return endpoint


def onward(request: Request, result: Any, next_path: str) -> Response:
    """Where a browser goes after an action: a page that shows a secret once, or on, with its cookies."""
    result = result if isinstance(result, dict) else {}
    origin = house_of(request).settings.origin
    if shown_once.holds(result):
        return cookies.carry(HTMLResponse(shown_once.show(result, local_path(next_path), request)), result, origin)
    target = local_path(next_path, result)
    if "path" in result and not next_path:
        target = local_path(str(result["path"]))
    if "second" in result:
        target = f"/signin/second?{urlencode({'next': target})}"
    return cookies.carry(RedirectResponse(target, 303), result, origin)


def local_path(onward: str, result: dict[str, Any] | None = None) -> str:
    """A path of this hub, with `{name}` filled in from the result; anything else leads home."""
    for name, value in (result or {}).items():
        if isinstance(value, str | int):
            onward = onward.replace("{" + name + "}", quote(str(value), safe="/" if name == "name" else ""))
    return local(onward)


# How the text of one field makes several items: by what stands behind its name.
_ENDINGS = ("[]", "[,]", "[lines]", "[pairs]")


def envelope_of(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """The action's fields of a form, without those that are for the browser. Raises InvalidInput.

    A dot descends (`entry.title`, `participants.0.email`), an empty field is one not given. `[]` makes a list, `[,]`
    one whose items stand between commas (`artifacts[,]`), `[lines]` one of lines; `[pairs]` makes names and values of
    lines that are written as NAME=VALUE.
    """
    envelope: dict[str, Any] = {}
    for name, value in pairs:
        if name in {"next", "idempotency_key"}:
            continue
        ending = next((each for each in _ENDINGS if name.endswith(each)), "")
        *path, last = name.removesuffix(ending).split(".")
        if len(path) > 4:
            raise InvalidInput("the field's name is nested too deeply", path=name[:100])
        if value == "" and not ending:
            continue
        text = value.replace("\r\n", "\n")
        place = envelope
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise InvalidInput("the field's name contradicts another", path=name[:100])
        if not ending:
            if last in place:
                raise InvalidInput("the field is given twice", path=name[:100])
            place[last] = text
        elif ending == "[pairs]":
            _add_pairs(place.setdefault(last, {}), text, name)
        else:
            found = place.setdefault(last, [])
            if not isinstance(found, list):
                raise InvalidInput("the field's name contradicts another", path=name[:100])
            found.extend(_items(text, ending))
    return {name: _numbered(value) for name, value in envelope.items()}


def _items(text: str, ending: str) -> list[str]:
    if ending == "[lines]":
        return [line for line in text.split("\n") if line.strip()]
    parts = [part.strip() for part in text.split(",")] if ending == "[,]" else [text]
    return [part for part in parts if part]


def _add_pairs(found: Any, text: str, field: str) -> None:
    if not isinstance(found, dict):
        raise InvalidInput("the field's name contradicts another", path=field[:100])
    for line in text.split("\n"):
        name, sign, value = line.partition("=")
        if not line.strip():
            continue
        if not sign:
            raise InvalidInput(f"{line.strip()[:60]!r} is not written as NAME=VALUE", path=field[:100])
        if name.strip() in found:
            raise InvalidInput(f"{name.strip()[:60]} is given twice", path=field[:100])
        found[name.strip()] = value


def _numbered(value: Any) -> Any:
    """Fields named 0, 1, 2 and so on are the items of a list."""
    if not isinstance(value, dict):
        return value
    inner = {name: _numbered(each) for name, each in value.items()}
    return list(inner.values()) if inner and list(inner) == [str(n) for n in range(len(inner))] else inner


async def healthz(request: Request) -> Response:
    """Alive: this process answers, and says which hub it belongs to."""
    return JSONResponse({"ok": True, "instance": instance(house_of(request))})


async def readyz(request: Request) -> Response:
    """Ready: the database answers and has the schema this code expects."""
    from hub.core.migrations import is_current

    house = house_of(request)
    current = await to_thread.run_sync(is_current, house.db)
    return JSONResponse({"ready": current}, 200 if current else 503)
