"""The web process: one Starlette application over the assembled hub."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from anyio import to_thread
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope as AsgiScope

from hub.core.house import House
from hub.jobs.dry_plan import plan_any
from hub.rooms.media_server import MediaServer
from hub.web import (
    agents,
    chats,
    clusters,
    content,
    device,
    endpoints,
    events,
    link_door,
    live,
    live_calls,
    live_drafts,
    openapi,
    preview,
    problems,
    routes,
    signing_in,
    streams,
    submitting,
    uploads,
)
from hub.web import metrics as measures
from hub.web.middleware import Shell

STATIC = Path(__file__).resolve().parents[2] / "static"
# Views and pages run in threads, each with a read connection of its own.
THREADS = 20


class Static(StaticFiles):
    """The files of the pages; those asked for by the digest of their content may be kept for ever."""

    async def get_response(self, path: str, scope: AsgiScope) -> Response:
        response = await super().get_response(path, scope)
        immutable = b"v=" in scope["query_string"]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if immutable else "no-cache"
        return response


async def _openapi(request: Request) -> Response:
    return JSONResponse(openapi.document(routes.listed()))


async def _metrics(request: Request) -> Response:
    return Response(await to_thread.run_sync(measures.written, request.app.state.house), media_type=CONTENT_TYPE_LATEST)


async def _failed(request: Request, error: Exception) -> Response:
    return problems.respond(error, request)


@functools.cache  # what is found under which path is the same for every hub
def _table() -> tuple[BaseRoute, ...]:
    return (
        Route("/healthz", endpoints.healthz, methods=["GET"]),
        Route("/readyz", endpoints.readyz, methods=["GET"]),
        Route("/metrics", _metrics, methods=["GET"]),
        Route("/openapi.json", _openapi, methods=["GET"]),
        Route("/api/actions", endpoints.act, methods=["POST"]),
        Route("/api/events", streams.signed_in(events.events), methods=["GET"]),
        Route("/api/tickets", endpoints.asks(live.make_ticket), methods=["POST"]),
        Route("/api/live/redeem", endpoints.asks(live.redeem), methods=["POST"]),
        Route("/api/live/recheck", endpoints.asks(live.recheck), methods=["POST"]),
        Route("/api/live/knock", endpoints.asks(live.knock), methods=["POST"]),
        Route("/api/live/messages", endpoints.asks(live.messages), methods=["POST"]),
        Route("/api/jobs/plan", endpoints.asks(plan_any), methods=["POST"]),
        Route("/api/jobs/{ref:path}/log", streams.job_log, methods=["GET"]),
        *preview.ROUTES,
        *live_calls.ROUTES,
        *live_drafts.ROUTES,
        *device.ROUTES,
        *uploads.ROUTES,
        *content.ROUTES,
        *chats.ROUTES,
        *agents.ROUTES,
        *(Route(v.path, endpoints.view(v.answer, v.takes), methods=["GET"]) for v in routes.VIEWS),
        Route("/do", endpoints.do, methods=["POST"]),
        *submitting.ROUTES,
        *signing_in.ROUTES,
        *clusters.ROUTES,
        Route("/signin/{token}", endpoints.spends("sign_in"), methods=["POST"]),
        Route("/setup/{token}", endpoints.spends("sign_in", "/setup"), methods=["POST"]),
        Route("/l/{token}", link_door.open_link, methods=["POST"]),
        Route("/invitation/{token}", endpoints.spends("invitation_accept"), methods=["POST"]),
        *(Route(p.path, endpoints.page(p.show, anonymous=p.anonymous), methods=["GET"]) for p in routes.PAGES),
        Mount("/static", Static(directory=STATIC)),
    )


def create(house: House) -> Starlette:
    """The application of one web process."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with app.state.watch.running(), app.state.agents.running():
            yield
        await anyio.to_thread.run_sync(house.close)

    settings = house.settings
    app = Starlette(
        routes=_table(),
        lifespan=lifespan,
        middleware=[
            Middleware(Shell, origin=settings.origin, origins=settings.origins, media_server=MediaServer.of(settings))
        ],
        exception_handlers={400: _failed, 404: _failed, 405: _failed, 413: _failed},
    )
    app.state.house = house
    app.state.watch = events.Watch(house)
    app.state.agents = agents.Waiting(house)
    return app
