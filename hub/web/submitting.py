"""The form that submits a job: sent, tried dry, or asked where it would go. Refused, it comes back as it was typed.

All of them take the same fields, those of `job_submit` as `endpoints.envelope_of` names them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from hub.core import actions
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, TooLarge, TooMany, Unavailable
from hub.core.house import House
from hub.jobs import preview as previews
from hub.jobs.dry_plan import plan_job
from hub.web import endpoints
from hub.web.pages import job_form, script_changed
from hub.web.pages import plan as plan_page
from hub.web.pages import preview as preview_page

SUBMIT, FORM = "/jobs/submit", "/jobs/form"
# Told beside the form; everything else is an error like any other.
TOLD = (InvalidInput, Conflict, TooMany, TooLarge, Unavailable)
_OURS = ("next", "idempotency_key")
Pairs = list[tuple[str, str]]


async def submit(request: Request) -> Response:
    """POST /jobs/submit: on to the job's page."""
    actor, pairs = await _sent(request)
    key = dict(pairs).get("idempotency_key")
    try:
        action = actions.from_form(_envelope(pairs))
        answer = await endpoints.perform_as(endpoints.house_of(request), action, actor, key or None)
    except TOLD as refusal:
        error = refusal
        if error.code == "script_changed":
            return await _drawn(request, actor, error, lambda scope: _asks(scope, error, pairs))
        return await _again(request, actor, pairs, error)
    return endpoints.onward(request, answer.result, "/jobs/{id}")


async def change(request: Request) -> Response:
    """POST /jobs/form: the form with what was typed before, to be changed."""
    actor, pairs = await _sent(request)
    return await _again(request, actor, pairs)


async def plan(request: Request) -> Response:
    """POST /jobs/plan: where it would go instead of a job."""
    actor, pairs = await _sent(request)
    kept = [(name, value) for name, value in pairs if name not in (*_OURS, "agreed")]

    def look(house: House) -> str:
        body = _envelope(kept)
        found = plan_job(house, actor, body, strict=False)
        with house.scope(actor) as scope:
            return plan_page.show(scope, body.get("session_id"), found, kept)

    return await _looked(request, actor, pairs, look)


async def preview(request: Request) -> Response:
    """POST /jobs/preview: what it would start, with a button that does."""
    actor, pairs = await _sent(request)
    kept = [(name, value) for name, value in pairs if name not in _OURS]

    def look(house: House) -> str:
        action = actions.from_form(_envelope(kept))
        with house.scope(actor) as scope:
            return preview_page.show(scope, previews.preview(scope, action), kept)

    return await _looked(request, actor, pairs, look)


async def _looked(request: Request, actor: Actor, pairs: Pairs, look: Callable[[House], str]) -> Response:
    try:
        page = await to_thread.run_sync(look, endpoints.house_of(request))
    except TOLD as error:
        return await _again(request, actor, pairs, error)
    return HTMLResponse(page, headers={"Cache-Control": "no-store"})


async def _sent(request: Request) -> tuple[Actor, Pairs]:
    actor = await endpoints.actor_of(request)
    pairs = await endpoints.form_of(request)
    if dict(pairs).get("action") != "job_submit":
        raise InvalidInput("this form submits a job", path="action")
    return actor, pairs


def _envelope(pairs: Pairs) -> dict[str, Any]:
    """Raises InvalidInput for fields that cannot be read, and for a workflow, of which this form shows nothing."""
    body = endpoints.envelope_of(pairs)
    if "workflow" in body:
        raise InvalidInput("this form takes a job, and not a workflow", path="$.workflow")
    return body


async def _again(request: Request, actor: Actor, pairs: Pairs, error: HubError | None = None) -> Response:
    session = dict(pairs).get("session_id") or None
    return await _drawn(request, actor, error, lambda scope: job_form.again(scope, session, pairs, error))


async def _drawn(request: Request, actor: Actor, error: HubError | None, draw: Callable[[Any], str]) -> Response:
    """A page with what came of it; whoever wants no page gets the error itself."""
    if error is not None and "text/html" not in request.headers.get("accept", ""):
        raise error

    def drawn() -> str:
        with endpoints.house_of(request).scope(actor) as scope:
            return draw(scope)

    headers = {"Cache-Control": "no-store"}
    if error is not None and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return HTMLResponse(await to_thread.run_sync(drawn), 200 if error is None else error.status, headers)


def _asks(scope: Any, error: HubError, pairs: Pairs) -> str:
    """The question whether a script that somebody else changed shall run as it is now."""
    return script_changed.show(scope, error, pairs, to=SUBMIT, back=FORM)


ROUTES: list[Any] = [
    Route(SUBMIT, submit, methods=["POST"]),
    Route(FORM, change, methods=["POST"]),
    Route("/jobs/plan", plan, methods=["POST"]),
    Route("/jobs/preview", preview, methods=["POST"]),
]
