"""The live process: `/ws` for rooms, and on a laptop the front door for everything else."""

import asyncio
import contextlib
import gc
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from hub.core.connection import Droppable
from hub.core.settings import Settings
from hub.live.certificate import ServedCertificate
from hub.live.connection import RoomProtocol
from hub.live.endpoint import socket
from hub.live.frames import MAX_FRAME_BYTES
from hub.live.front import Front
from hub.live.ice import Relays
from hub.live.measures import metrics
from hub.live.node import Node
from hub.live.record import Record
from hub.live.rules import CONNECTION_SILENCE_SECONDS, PING_SECONDS

LIVE_TOKEN = "keys/live.token"  # noqa: S105 - the name of a file
SHUTDOWN_SECONDS = 5
COLLECT_AFTER = 2_000  # objects more than were let go of; two hundred members make and drop some hundred in a turn
NO_BOT = "no chat bot is running here: it is not installed, or it is starting; try again"


def create(settings: Settings, certificate: ServedCertificate | None = None) -> Starlette:
    """The ASGI application of one live process."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.token = _token(settings)
        app.state.node = Node(
            _record(settings),
            settings.redis,
            settings.visible_cursors,
            _relays(settings),
            carries=bool(settings.livekit_url),
        )
        async with app.state.node.running(), _fresh(certificate):
            yield

    routes: list[BaseRoute] = [
        WebSocketRoute("/ws", socket),
        Route("/live/metrics", metrics),
        # Byte for byte: the platform signed them.
        Mount("/slack", app=Front(settings.bot_socket, NO_BOT)),
        Mount("/bot", app=Front(settings.bot_socket, NO_BOT)),
        # With web elsewhere a proxy in front tells the two apart, and no front door is needed here.
        Route("/healthz", _healthz) if settings.web_url else Mount("/", app=Front(settings.web_socket)),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.state.origins = settings.origins
    return app


def server(settings: Settings, **options: object) -> uvicorn.Server:
    """The server for it, with the options rooms rely on."""
    choices: dict[str, object] = {
        "host": settings.host,
        "port": settings.port,
        "http": Droppable,
        "ws": RoomProtocol,
        "ws_max_size": MAX_FRAME_BYTES,
        # Each deflating connection would cost 34 KB and twice the processor; a tick is 300 bytes.
        "ws_per_message_deflate": False,
        "ws_ping_interval": PING_SECONDS,
        "ws_ping_timeout": CONNECTION_SILENCE_SECONDS - PING_SECONDS,
        "timeout_keep_alive": 15,
        "timeout_graceful_shutdown": SHUTDOWN_SECONDS,
        # Web says for itself who it is and when; the client's address is told on in headers, not guessed from them.
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
        "access_log": False,
        "log_level": "warning",
        "lifespan": "on",
    }
    certificate = None
    if settings.tls_certificate:
        certificate = ServedCertificate(Path(settings.tls_certificate), Path(settings.tls_key))
        context = certificate.context
        choices["ssl_context_factory"] = lambda config, default: context
    app = create(settings, certificate)
    return uvicorn.Server(uvicorn.Config(app, **{**choices, **options}))  # type: ignore[arg-type]


def serve(settings: Settings, listen: sockets.socket | None = None) -> None:
    """Run until a signal; on `listen` when it is given, else on the settings' host and port."""
    serving = server(settings)
    _spare_the_collector()
    serving.run(sockets=None if listen is None else [listen])


def _spare_the_collector() -> None:
    """Let the collector of cycles look seldom, and never at what is here for good.

    What a room makes thirty times a second it lets go of by itself. As Python comes, the lists of one turn begin a
    collection, and one in a hundred goes through all modules: seven hundredths of the processor with twenty writers.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)


@contextlib.asynccontextmanager
async def _fresh(certificate: ServedCertificate | None) -> AsyncIterator[None]:
    """While this lasts, a certificate that is renewed is taken up."""
    if certificate is None:
        yield
        return
    watching = asyncio.create_task(certificate.watch())
    try:
        yield
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def _record(settings: Settings) -> Record:
    if settings.web_url:
        return Record.over_http(settings.web_url, _token(settings), settings.origin)
    return Record.over_socket(str(settings.web_socket), _token(settings), settings.origin)


def _relays(settings: Settings) -> Relays:
    stun, turn = (
        tuple(url.strip() for url in urls.split(",") if url.strip())
        for urls in (settings.stun_urls, settings.turn_urls)
    )
    return Relays(stun, turn, settings.turn_secret)


async def _healthz(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")


def _token(settings: Settings) -> str:
    return settings.live_token or (settings.data.absolute() / LIVE_TOKEN).read_text().strip()
