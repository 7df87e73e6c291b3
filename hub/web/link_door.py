"""POST /l/{token}: the button of a link's landing page, with the passphrase when the link asks for one."""

from __future__ import annotations

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hub.core import actions
from hub.core.context import Actor
from hub.core.errors import HubError, InvalidInput
from hub.core.house import House
from hub.web.endpoints import actor_of, form_of, house_of, onward, perform_as
from hub.web.pages import link

# Refusals after which the same page asks again.
_ASKS_AGAIN = {"passphrase_needed", "wrong_passphrase", "passphrase_tries"}


async def open_link(request: Request) -> Response:
    """Open the link and go on to what it opens; a wrong passphrase is asked for again."""
    actor, house = await actor_of(request, anonymous=True), house_of(request)
    token = str(request.path_params["token"])
    fields = dict(await form_of(request)) if request.headers.get("content-type") else {}
    if unknown := set(fields) - {"passphrase"}:
        raise InvalidInput(f"this form has no field {sorted(unknown)[0][:60]!r}")
    envelope = {"action": "link_open", "secret": token}
    if fields.get("passphrase"):
        envelope["passphrase"] = fields["passphrase"]
    try:
        answer = await perform_as(house, actions.from_form(envelope), actor, None)
    except HubError as refusal:
        if refusal.code not in _ASKS_AGAIN:
            raise
        page = await to_thread.run_sync(_asked_again, house, actor, token, refusal)
        headers = {}
        if refusal.retry_after_seconds is not None:
            headers["Retry-After"] = str(refusal.retry_after_seconds)
        return HTMLResponse(page, refusal.status, headers)
    return onward(request, answer.result, "")


def _asked_again(house: House, actor: Actor, token: str, refusal: HubError) -> str:
    with house.scope(actor) as scope:
        return link.landing(scope, token, refusal)
