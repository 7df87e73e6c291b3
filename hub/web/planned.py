"""POST /jobs/plan: the form to submit a job, answered with where it would go instead of a job."""

from __future__ import annotations

from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.dry_plan import plan_job
from hub.web import endpoints
from hub.web.pages import plan as plan_page

_OURS = ("action", "next", "idempotency_key", "agreed")


async def plan(request: Request) -> Response:
    actor = await endpoints.actor_of(request)
    pairs = [(name, value) for name, value in await endpoints.form_of(request) if name not in _OURS]
    return HTMLResponse(await to_thread.run_sync(_shown, endpoints.house_of(request), actor, pairs))


def _shown(house: House, actor: Actor, pairs: list[tuple[str, str]]) -> str:
    body = endpoints.envelope_of(pairs)
    found = plan_job(house, actor, body, strict=False)
    with house.scope(actor) as scope:
        return plan_page.show(scope, body.get("session_id"), found, pairs)
