"""The front door of a laptop: everything that is not a room's socket is streamed to web over its Unix socket.

One task owns `receive` and feeds web, another reads web's answer; so an answer may begin, and end, while its request is
still on its way, and a client that goes away takes its request with it. Memory is one buffer each way, whatever the
size. Each request has a connection of its own: that costs a tenth of a millisecond and there is no stale one to trip
over.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path

import h11
import msgspec
import structlog
from starlette.types import Receive, Scope, Send

from hub.core.connection import cut

log = structlog.get_logger()
BUFFER_BYTES = 256 * 1024
CONNECT_SECONDS = 5.0
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# What only the front door may say of a client, and what it answers itself.
OURS = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"expect"})
Headers = list[tuple[bytes, bytes]]


class Front:
    """An ASGI application that is web, or the bot, seen through a Unix socket; `absent` is said when nobody listens."""

    def __init__(self, path: Path, absent: str = "the hub is starting or stopping; try again") -> None:
        self._path = str(path)
        self._absent = absent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.setblocking(False)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asyncio.get_running_loop().sock_connect(link, self._path)
            except (OSError, TimeoutError):
                return await _problem(send, 503, "unavailable", self._absent)
            await _Exchange(link, scope, receive, send).run()
        return None


class _Exchange:
    """One request and its answer."""

    def __init__(self, link: socket.socket, scope: Scope, receive: Receive, send: Send) -> None:
        self._link = link
        self._scope = scope
        self._receive = receive
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.CLIENT)
        self._answering = False

    async def run(self) -> None:
        try:
            head = self._http.send(_request(self._scope))
        except h11.LocalProtocolError:
            return await _problem(self._send, 400, "invalid_input", "the request's head is malformed")
        feeding = asyncio.create_task(self._feed(head or b""))
        answering = asyncio.create_task(self._answer())
        try:
            await asyncio.wait({feeding, answering}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Feeding ends only when the client is gone; answering when web has said all it had to say.
            for task in (feeding, answering):
                if not task.done():
                    task.cancel()
            await asyncio.gather(feeding, answering, return_exceptions=True)
        if answering.cancelled() or (error := answering.exception()) is None:
            return None
        if not isinstance(error, OSError | h11.RemoteProtocolError):
            raise error
        log.warning("front.web_broke_off", path=self._scope["path"][:200], error=repr(error))
        if not self._answering:
            await _problem(self._send, 502, "unavailable", "the hub broke off before it answered; try again")
        else:
            # An answer that web broke off is dropped with what is on its way: the reader may have lost the right to it.
            cut(self._scope)
        return None

    async def _feed(self, head: bytes) -> None:
        """The only reader of `receive`: head and body to web, then wait for the client to leave."""
        listening = await self._pass_on(head)
        while (message := await self._receive())["type"] == "http.request":
            if not listening:
                continue
            if body := message.get("body"):
                listening = await self._pass_on(self._http.send(h11.Data(data=body)))
            if listening and not message.get("more_body", False) and self._http.our_state is h11.SEND_BODY:
                listening = await self._pass_on(self._http.send(h11.EndOfMessage()))

    async def _pass_on(self, data: bytes | None) -> bool:
        """False when web takes no more: it has answered, or is about to, without reading it all."""
        try:
            if data:
                await self._loop.sock_sendall(self._link, data)
        except OSError:
            return False
        return True

    async def _answer(self) -> None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._loop.sock_recv(self._link, BUFFER_BYTES))
            elif isinstance(event, h11.Response):
                self._answering = True
                headers = _onward(event.headers)
                await self._send({"type": "http.response.start", "status": event.status_code, "headers": headers})
            elif isinstance(event, h11.Data):
                await self._send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            elif isinstance(event, h11.EndOfMessage):
                await self._send({"type": "http.response.body", "body": b""})
                return
            elif isinstance(event, h11.ConnectionClosed):
                raise h11.RemoteProtocolError("web closed the connection")


def _request(scope: Scope) -> h11.Request:
    given: Headers = scope["headers"]
    names = {name for name, _ in given}
    headers = [(name, value) for name, value in _onward(given) if name not in OURS]
    if b"transfer-encoding" in names:
        headers = [(name, value) for name, value in headers if name != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    host = next((value for name, value in given if name == b"host"), b"")
    if not host:
        headers.append((b"host", host))
    client = scope.get("client")
    headers += [
        (b"x-forwarded-for", (client[0] if client else "").encode()),
        (b"x-forwarded-proto", scope["scheme"].encode()),
        (b"x-forwarded-host", host),
        (b"connection", b"close"),
    ]
    target = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return h11.Request(method=scope["method"].encode(), target=target, headers=headers)


def _onward(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers that are for the other end, not for this hop."""
    given = [(bytes(name).lower(), bytes(value)) for name, value in headers]
    named = {part.strip().lower() for name, value in given if name == b"connection" for part in value.split(b",")}
    return [(name, value) for name, value in given if name not in HOP_BY_HOP and name not in named]


async def _problem(send: Send, status: int, code: str, detail: str) -> None:
    body = msgspec.json.encode(
        {
            "type": f"urn:collegium:problem:{code}",
            "title": code.replace("_", " "),
            "status": status,
            "code": code,
            "detail": detail,
            "hint": "",
            "request_id": "",
        }
    )
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    # A client that is gone needs no problem.
    with contextlib.suppress(OSError):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
