"""The bot's process: a socket for what the front door passes on, Socket Mode where an app token is, and the cards.

Commands of the rooms' chats are served always; it waits while no workspace is connected and begins within seconds when
one is. It keeps nothing of its own, so that it
may be killed at any moment.
"""

import asyncio
import contextlib
import gc
import os
import signal
import socket as sockets
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import msgspec
import structlog
import uvicorn
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from starlette.applications import Starlette
from starlette.routing import Route

from bot import notify
from bot import room as room_chat
from bot.carrying import Carrier, ErrandHub
from bot.problems import Problem
from bot.slack_answers import Answers
from bot.slack_app import SlackApp
from bot.slack_client import web_client
from bot.slack_desk import Desk
from bot.slack_workspaces import Workspaces

log = structlog.get_logger()

CONNECTIONS = 64
SHUTDOWN_SECONDS = 5
_AGAIN_SECONDS = 5.0


class Wiring(msgspec.Struct, frozen=True, kw_only=True):
    """Where the hub is, with which token it is spoken to, where the bot listens, where Slack is."""

    hub_url: str
    token: str
    listen_on: Path
    hub_socket: Path | None = None
    api_url: str = "https://slack.com/api/"
    with_cards: bool = True


def hub_client(wiring: Wiring) -> ErrandHub:
    """The hub on connections that are kept: over its Unix socket where it is on this machine."""
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS, keepalive_expiry=25)
    uds = None if wiring.hub_socket is None else str(wiring.hub_socket)
    url = wiring.hub_url if uds is None else f"http://{urlsplit(wiring.hub_url).netloc}"
    return ErrandHub(url, wiring.token, transport=httpx.HTTPTransport(uds=uds, limits=limits, retries=0))


def run(wiring: Wiring) -> None:
    """Run until a signal."""
    stop = asyncio.Event()
    gc.freeze()  # what is there by now stays; looking through it again and again would stop every answer

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await serve(wiring, stop)

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())


async def serve(wiring: Wiring, stop: asyncio.Event) -> None:
    """Listen, watch the workspaces, keep the cards; until `stop`."""
    hub = hub_client(wiring)
    carrier = Carrier(hub)
    parts = urlsplit(wiring.api_url)
    try:
        async with aiohttp.ClientSession() as session:
            workspaces = Workspaces(carrier, wiring.api_url, session)
            answers = Answers(workspaces, session, f"{parts.scheme}://{parts.netloc}/")
            desk = Desk(workspaces, carrier, answers, wiring.api_url)
            slack = SlackApp(workspaces, carrier, desk, wiring.api_url)
            changed = asyncio.Event()
            with contextlib.suppress(Problem):
                await workspaces.look()
            with listening(wiring.listen_on) as listen:
                room = Route(room_chat.PATH, room_chat.RoomDesk(carrier).receive, methods=["POST"])
                server = _server(Starlette(routes=[*slack.app.routes, room]))
                tasks = [
                    asyncio.create_task(server.serve(sockets=[listen])),
                    asyncio.create_task(workspaces.watch(changed)),
                    asyncio.create_task(_socket_mode(slack, workspaces, changed, session, wiring.api_url)),
                    asyncio.create_task(_cards(hub, wiring, stop)),
                ]
                stopping = asyncio.create_task(stop.wait())
                done, _ = await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                stop.set()
                server.should_exit = True
                await asyncio.wait({tasks[0], tasks[3]}, timeout=SHUTDOWN_SECONDS)
                await desk.close()
                for task in (*tasks, stopping):
                    task.cancel()
                await asyncio.gather(*tasks, stopping, return_exceptions=True)
                for task in done - {stopping}:
                    task.result()
    finally:
        carrier.close()
        hub.close()


@contextlib.contextmanager
def listening(place: Path) -> Any:
    """A socket at this path that only this account may connect to, gone when it is closed."""
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    place.unlink(missing_ok=True)
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as listen:
        listen.bind(str(place))
        place.chmod(0o600)
        inode = place.stat().st_ino
        listen.listen(256)
        listen.setblocking(False)
        try:
            yield listen
        finally:
            # One that was started meanwhile has put its own there.
            with contextlib.suppress(FileNotFoundError):
                if place.stat().st_ino == inode:
                    place.unlink()


def _server(app: Starlette) -> uvicorn.Server:
    class Quiet(uvicorn.Server):
        """A server that leaves the signals to who runs it."""

        @contextlib.contextmanager
        def capture_signals(self) -> Any:
            yield

    return Quiet(
        uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS, proxy_headers=False,
        )
    )  # fmt: skip


async def _cards(hub: ErrandHub, wiring: Wiring, stop: asyncio.Event) -> None:
    if not wiring.with_cards:
        await stop.wait()
        return
    await notify.serve(hub, holder=f"bot:{os.uname().nodename[:60]}:{os.getpid()}", api_url=wiring.api_url, stop=stop)


async def _socket_mode(
    slack: SlackApp, workspaces: Workspaces, changed: asyncio.Event, session: aiohttp.ClientSession, api_url: str
) -> None:
    """A connection for each workspace with an app token, opened and closed as they come and go."""
    connected: dict[str, AsyncSocketModeHandler] = {}
    try:
        while True:
            wanted = {one.installation.app_token for one in workspaces if one.installation.app_token}
            for token in set(connected) - wanted:
                await connected.pop(token).close_async()  # type: ignore[no-untyped-call]
            for token in wanted - set(connected):
                handler = AsyncSocketModeHandler(slack.bolt, token, web_client=web_client(token, api_url, session))
                try:
                    await handler.connect_async()  # type: ignore[no-untyped-call]
                    connected[token] = handler
                except Exception as error:  # whatever the client raises, it is tried again
                    log.warning("slack.socket_mode_failed", error=repr(error)[:200])
                    await handler.close_async()  # type: ignore[no-untyped-call]
            is_missing = len(connected) < len(wanted)
            changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), _AGAIN_SECONDS if is_missing else None)
    finally:
        for handler in connected.values():
            await handler.close_async()  # type: ignore[no-untyped-call]


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
