"""A live process on loopback with a small real web behind it, both in the test's own event loop."""

import asyncio
import contextlib
import functools
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from hub.core.settings import Settings
from hub.live import app as live
from hub.live import frames, protocol
from hub.live.frames import Kind, Told
from hub.live.node import Node
from hub.live.room import Room

TOKEN = "clg_service"
Served = Callable[[Settings, socket.socket], contextlib.AbstractAsyncContextManager[Starlette]]
SPEAKER = ["job:read", "room:join", "room:present", "room:speak", "room:voice"]


class FakeWeb:
    """The service routes of web over a few dictionaries."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        self.reset()
        routes = [
            Route("/api/tickets", self._ticket, methods=["POST"]),
            Route("/api/live/redeem", self._redeem, methods=["POST"]),
            Route("/api/live/recheck", self._recheck, methods=["POST"]),
            Route("/api/live/messages", self._messages, methods=["POST"]),
            Route("/api/live/drafts/open", self._open_draft, methods=["POST"]),
            Route("/api/live/drafts/updates", self._draft_updates, methods=["POST"]),
            Route("/api/events", self._events),
            Route("/api/actions", self._act, methods=["POST"]),
            Route("/api/jobs/{job}", self._job),
            Route("/api/jobs/{job}/log", self._log),
        ]
        self.app = Starlette(routes=routes)

    def reset(self) -> None:
        """Forget everybody, and go on in another session; the ledger goes on."""
        self.session = f"ses_{next(self._numbers)}"
        self.tickets: dict[str, str] = {}
        self.roles: dict[str, tuple[str, list[str]]] = {}
        self.messages: list[dict[str, Any]] = []
        self.number = 0  # of the room's newest change
        self.logs: dict[str, tuple[bytes, bool]] = {}
        self.log_asked: list[int] = []
        self.away = False
        self.talkative = False  # whether something is said whenever somebody reads what was said
        self.features: dict[str, bool] = {"voice_chat": True}
        self.posted: list[tuple[str, str | None]] = []

    @property
    def head(self) -> int:
        """The newest sequence of the ledger."""
        return len(self.events) - 1

    def ticket(self, name: str, role: str = "read_write", permissions: list[str] | None = None) -> str:
        """A ticket for somebody with this role."""
        self.roles[name] = (role, SPEAKER if permissions is None else permissions)
        ticket = f"clgt_{next(self._numbers)}"
        self.tickets[ticket] = name
        return ticket

    def line(self, action: str, session: str | None = "", **facts: Any) -> None:
        """Write a ledger line, about this session unless told otherwise."""
        self.events.append(
            {
                "sequence": len(self.events), "at": "2024-06-01T12:00:00Z", "actor": "per_x", "action": action,
                "object_kind": "thing", "object": "thing_1", "facts": facts,
                "session": self.session if session == "" else session,
            }
        )  # fmt: skip

    def keep(self, author: str, text: str, client_id: str = "", to: str | None = None) -> dict[str, Any]:
        """Keep a message, as the action would."""
        known = next((m for m in self.messages if client_id and m["client_id"] == client_id), None)
        if known is not None:
            return known
        self.number += 1
        message: dict[str, Any] = {
            "id": f"msg_{self.number}", "session": self.session, "sequence": self.number, "change": self.number,
            "author": _person(author), "text": text, "at": "2024-06-01T12:00:00Z", "client_id": client_id,
        }  # fmt: skip
        if to is not None:
            message["to"] = _person(to)
        self.messages.append(message)
        self.line("room_message", sequence=self.number)
        return message

    def edit(self, message: dict[str, Any], text: str) -> None:
        """Put a message in other words, as the action would."""
        self.number += 1
        message |= {"text": text, "change": self.number}
        self.line("message_edit", sequence=self.number, of=message["sequence"])

    def _member(self, name: str) -> dict[str, Any] | None:
        if name not in self.roles:
            return None
        role, permissions = self.roles[name]
        return {
            "claim": f"sign_in:{name}", "id": f"per_{name}", "name": name.title(), "handle": name, "role": role,
            "permissions": permissions,
        }  # fmt: skip

    def _refusal(self, request: Request) -> Response | None:
        if self.away:
            return _problem(503, "unavailable")
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _problem(401, "not_signed_in")
        return None

    async def _ticket(self, request: Request) -> Response:
        who = (await request.json())["session"]
        if who not in self.roles:
            return _problem(403, "not_allowed")
        return JSONResponse({"ticket": self.ticket(who, *self.roles[who])})

    async def _redeem(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        name = self.tickets.pop((await request.json())["ticket"], None)
        if name is None:
            return _problem(404, "secret_not_valid")
        member = self._member(name)
        if member is None:
            return _problem(403, "revoked")
        return JSONResponse(
            {
                "member": member, "session": self.session, "name": "ana/lab", "features": self.features, "epoch": "e1",
                "sequence": self.number, "event": self.head,
            }
        )  # fmt: skip

    async def _recheck(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        asked = (await request.json())["members"]
        return JSONResponse(
            [
                {**one, "member": self._member(one["claim"].partition(":")[2]), "features": self.features}
                for one in asked
            ]
        )

    async def _messages(self, request: Request) -> Response:
        asked = await request.json()
        if self.talkative:
            self.keep("zoe", "meanwhile")
        changed = sorted((m for m in self.messages if m["change"] > asked["after"]), key=lambda m: m["change"])
        return self._refusal(request) or JSONResponse({"messages": changed[: asked["limit"]], "head": self.number})

    async def _open_draft(self, request: Request) -> Response:
        """An empty draft, whatever its name: carets need no more. Drafts themselves are tried with a real web."""
        return self._refusal(request) or JSONResponse({"epoch": 1, "sequence": 0, "state": "AA==", "update": "AAA="})

    async def _draft_updates(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse({"epoch": 1, "head": 0, "updates": []})

    async def _events(self, request: Request) -> Response:
        after = request.query_params["after"]
        start = self.head if after == "now" else int(after)
        found = [e for e in self.events if e["sequence"] > start]
        following = found[-1]["sequence"] if found else start
        if session := request.query_params.get("session"):
            found = [e for e in found if e["session"] == session]
        return self._refusal(request) or JSONResponse({"events": found, "next": following})

    async def _act(self, request: Request) -> Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        params = (await request.json())["params"]
        claim = request.headers["collegium-act-as"]
        self.posted.append((claim, request.headers.get("idempotency-key")))
        message = self.keep(claim.partition(":")[2], params["text"], params["client_id"], params.get("to"))
        return JSONResponse({"line": 1, "result": message})

    async def _job(self, request: Request) -> Response:
        job = request.path_params["job"]
        session = "ses_other" if job.startswith("other") else self.session
        return JSONResponse({"session": session}) if job in self.logs else _problem(404, "job_not_found")

    async def _log(self, request: Request) -> Response:
        content, done = self.logs[request.path_params["job"]]
        offset, limit = int(request.query_params["offset"]), int(request.query_params["limit"])
        self.log_asked.append(offset)
        headers = {
            "Collegium-Log-Offset": str(min(offset, len(content))), "Collegium-Log-Size": str(len(content)),
            "Collegium-Log-Done": "1" if done else "0",
        }  # fmt: skip
        return Response(content[offset : offset + limit], headers=headers)


def _person(handle: str) -> dict[str, str]:
    return {"id": f"per_{handle}", "handle": handle, "name": handle.title()}


def _problem(status: int, code: str) -> Response:
    return JSONResponse({"status": status, "code": code, "detail": code.replace("_", " ")}, status)


class Client:
    """A member's end of the socket."""

    def __init__(self, socket_: ClientConnection) -> None:
        self.socket = socket_
        self.seen: list[Any] = []

    async def say(self, frame: Any) -> None:
        await self.socket.send(protocol.encode(frame))

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The next frame that is wanted; those before it are kept in `seen`."""
        while True:
            data = await self.socket.recv()
            assert isinstance(data, bytes)
            frame = protocol.parse_server(data)
            self.seen.append(frame)
            if wanted(frame):
                return frame

    async def told(self, kind: Kind) -> Any:
        """The body of the next JSON frame of this kind."""
        return (await self.until(lambda frame: isinstance(frame, Told) and frame.kind is kind)).body

    async def closed(self) -> int:
        """Read on until the server closes; its code."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code


class Hub:
    """The running pair."""

    def __init__(self, web: FakeWeb, port: int, node: Node, settings: Settings) -> None:
        self.web = web
        self.port = port
        self.node = node
        self.settings = settings

    @property
    def origin(self) -> str:
        return self.settings.origin

    @property
    def room(self) -> Room:
        """The room of the session of the moment."""
        return self.node.places[self.web.session].room

    def url(self, ticket: str) -> str:
        return f"ws://127.0.0.1:{self.port}/ws?ticket={ticket}"

    @contextlib.asynccontextmanager
    async def socket(self, ticket: str, **options: Any) -> AsyncIterator[Client]:
        """A socket before its HELLO."""
        options.setdefault("origin", self.origin)
        async with connect(self.url(ticket), ping_interval=None, compression=None, **options) as found:
            yield Client(found)

    @contextlib.asynccontextmanager
    async def member(
        self, name: str, role: str = "read_write", resume: frames.Resume | None = None, **who: Any
    ) -> AsyncIterator[Client]:
        """Somebody in the room."""
        async with self.socket(self.web.ticket(name, role, **who)) as client:
            await client.say(frames.Hello(1, resume=resume))
            await client.told(Kind.PSNAP)
            yield client


@contextlib.asynccontextmanager
async def serving(server: uvicorn.Server, listen: socket.socket) -> AsyncIterator[None]:
    """A server that runs for as long as the block."""
    task = asyncio.create_task(server._serve(sockets=[listen]))
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task


def listen_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = socket.socket(socket.AF_UNIX)
    found.bind(str(path))
    found.listen(64)
    return found


@contextlib.asynccontextmanager
async def hub(
    folder: Path,
    *,
    web_app: Any = None,
    redis_url: str = "",
    public_url: str = "",
    token: str = TOKEN,
    served: Served | None = None,
    **options: Any,
) -> AsyncIterator[Hub]:
    """Web (the small one, or another application) over a Unix socket, live on a free port.

    Live runs on its own server with these `options`, or on the one that `served` stands for.
    """
    web = FakeWeb()
    with socket.create_server(("127.0.0.1", 0)) as listen:
        port = listen.getsockname()[1]
        settings = Settings(
            data=folder,
            port=port,
            public_url=public_url,
            live_token=token,
            redis_url=redis_url or f"unix://{folder}/nobody.sock",
        )
        inner = uvicorn.Server(
            uvicorn.Config(web_app or web.app, log_level="warning", lifespan="on", ws="none", access_log=False)
        )
        with listen_unix(settings.web_socket) as behind:
            async with (
                serving(inner, behind),
                (served or functools.partial(_as_usual, **options))(settings, listen) as application,
            ):
                node: Node = application.state.node
                if web_app is None:
                    while not node.follower.current:
                        await asyncio.sleep(0.01)
                yield Hub(web, port, node, settings)


@contextlib.asynccontextmanager
async def started_again(before: Hub) -> AsyncIterator[Hub]:
    """A new node before the same web, that knows nothing of what the other one had in its memory."""
    with socket.create_server(("127.0.0.1", 0)) as listen:
        settings = msgspec.structs.replace(before.settings, port=listen.getsockname()[1])
        async with _as_usual(settings, listen) as application:
            node: Node = application.state.node
            while not node.follower.current:
                await asyncio.sleep(0.01)
            yield Hub(before.web, settings.port, node, settings)


@contextlib.asynccontextmanager
async def _as_usual(settings: Settings, listen: socket.socket, **options: Any) -> AsyncIterator[Starlette]:
    """The live process's own server."""
    server = live.server(settings, timeout_graceful_shutdown=2, **options)
    found = server.config.app
    assert isinstance(found, Starlette)
    async with serving(server, listen):
        yield found
