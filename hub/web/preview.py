"""POST /api/jobs/preview: a submission tried dry. It reads, so no line of the ledger tells of it."""

from __future__ import annotations

from typing import Any

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.core import actions, limits
from hub.core.context import Actor
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.jobs import preview as previews
from hub.jobs.assumed import Assumed, AssumedFile
from hub.web import endpoints

PATH = "/api/jobs/preview"


def _look(house: House, actor: Actor, action: actions.Action, files: tuple[AssumedFile, ...] = ()) -> previews.Previews:
    with house.scope(actor) as scope:
        return previews.preview(scope, action, files)


async def answer(request: Request) -> Response:
    """The envelope of a `job_submit`, answered with what it would start.

    As `{"submission": ENVELOPE, "files": [...]}` it says which files would be uploaded first.
    """
    actor = await endpoints.actor_of(request)
    said = actions.parse(await endpoints.body_of(request, limits.ACTION_BODY_BYTES))
    files: tuple[AssumedFile, ...] = ()
    if isinstance(said, dict) and "submission" in said:
        try:
            files = msgspec.convert(said.get("files", []), Assumed)
        except msgspec.ValidationError as fault:
            raise InvalidInput(str(fault), path="$.files") from None
        said = said["submission"]
    action = actions.from_object(said, "$")
    return endpoints.json_response(await to_thread.run_sync(_look, endpoints.house_of(request), actor, action, files))


ROUTES: list[Any] = [Route(PATH, answer, methods=["POST"])]
