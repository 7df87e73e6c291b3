"""Where a member's bytes go: uvicorn's own transport when we are its protocol class, plain ASGI messages elsewhere.

`RoomProtocol` is uvicorn's WebSocket protocol and one thing more: it hands itself to the endpoint, so that a room can
write one pre-framed buffer to each member without waiting. Kernel buffers would hide for seconds that a peer has
stopped reading; TCP_NOTSENT_LOWAT makes the stall show at once.
"""

import asyncio
import contextlib
import random
import socket
import sys
from asyncio.transports import BaseTransport, Transport
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

from hub.live.frames import Kind, Ping
from hub.live.protocol import encode, payloads, told, websocket_frame
from hub.live.rules import PING_SECONDS

EXTENSION = "collegium.connection"
NOTSENT_LOWAT_BYTES = 16 * 1024
# The constant is in `socket` from Python 3.12 on.
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 0x201 if sys.platform == "darwin" else 25)
CLOSE_SECONDS = 2.0
GOAWAY_SPREAD_MS = 2000


_WHOLE_BINARY, _MASKED, _LONG = 0x82, 0x80, 126


def _unmasked(payload: bytes, mask: bytes) -> bytes:
    """What a client masked (RFC 6455, 5.3)."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class _Borrowed(socket.socket):
    """A socket of the transport's, to send on: whatever becomes of this object, the transport is who closes it."""

    __slots__ = ()

    def __del__(self) -> None:
        self.detach()


def _borrowed(transport: BaseTransport) -> _Borrowed | None:
    """What a transport sends on, if what is written to it is what is sent."""
    lent = transport.get_extra_info("socket")
    if lent is None or transport.get_extra_info("sslcontext") is not None:
        return None
    mine = _Borrowed(lent.family, lent.type, lent.proto, lent.fileno())
    mine.setblocking(False)
    return mine


class RoomProtocol(WebSocketsSansIOProtocol):
    """A WebSocket connection that a room can write to directly. It is a `Sink`."""

    last_heard = 0.0
    stalled: Callable[[], None] | None = None
    drained: Callable[[], None] | None = None
    # Set once a member is in: takes the payload of each short binary frame in the turn in which it arrives.
    hears: Callable[[bytes], None] | None = None
    _paused = False
    _joined = False
    _raw: _Borrowed | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        self.last_heard = self.loop.time()
        # Busy means: the kernel did not take all of it.
        cast(Transport, transport).set_write_buffer_limits(high=0, low=0)
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):  # Some platforms and Unix sockets have no such option.
                raw.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
        self._raw = _borrowed(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._raw = None  # Before the transport closes it: the number may be another connection's then.
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):  # A handshake that was refused has no scope.
            cast(dict[str, Any], self.scope["extensions"])[EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        self.last_heard = self.loop.time()
        if self.hears is None or self.close_sent or not self._at_once(data, self.hears):
            super().data_received(data)

    def _at_once(self, data: bytes, hears: Callable[[bytes], None]) -> bool:
        """Hand over what has arrived if it is whole short binary frames and nothing else, as cursors are.

        All else (a control frame, a long one, a piece of one) is the library's to take apart; so is what follows until
        its parser stands between two frames again. Measured with 9,000 cursors a second: a third of the processor.
        """
        if self.conn.reader.buffer or self.frames or not self.queue.empty():
            return False
        end = len(data)
        if end > 6 and data[0] == _WHOLE_BINARY and data[1] == end - 6 + _MASKED < _MASKED + _LONG:
            hears(_unmasked(data[6:], data[2:6]))  # One frame, as nearly always: nothing is gathered.
            return True
        heard, at = [], 0
        while at < end:
            if end - at < 6 or data[at] != _WHOLE_BINARY or not _MASKED <= data[at + 1] < _MASKED + _LONG:
                return False
            size, body = data[at + 1] - _MASKED, at + 6
            at = body + size
            if at > end:
                return False
            heard.append(_unmasked(data[body:at], data[body - 4 : body]))
        for payload in heard:
            hears(payload)
        return True

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text":
            # Refused whatever it says. Taken apart it might turn out to be none, which the server logs as its error.
            self.frames = [b""]
        super().send_receive_event_to_app()

    async def send(self, event: Any) -> None:
        await super().send(event)
        if event["type"] == "websocket.http.response.body" and self.close_sent:
            # The server takes a refusal for a handshake that was left undone, and would log an error for each.
            self.handshake_complete = True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._paused = True
        if self.stalled is not None:
            self.stalled()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._paused = False
        if self.drained is not None:
            self.drained()

    def write(self, framed: bytes) -> bool:
        """Straight into the kernel while it takes everything: the transport's own way there costs a tenth more."""
        if self.close_sent or not self.handshake_complete or self.transport.is_closing():
            return False
        self._joined = True
        if self._raw is not None and not self._paused:
            try:
                sent = self._raw.send(framed)
            except OSError:
                sent = 0  # It is full, or broken, and the transport is who finds out.
            if sent == len(framed):
                return True
            framed = framed[sent:]
        self.transport.write(framed)
        return True

    def backlog(self) -> int:
        return self.transport.get_write_buffer_size()

    def busy(self) -> bool:
        return self._paused

    def close(self, code: int, reason: str) -> None:
        """Say why and be gone in two seconds at most, however full the peer's buffers are."""
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        with contextlib.suppress(InvalidState):
            self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def shutdown(self) -> None:
        """The server stops: members are asked to come back at times spread apart."""
        if self._joined and not self.close_sent and not self.transport.is_closing():
            self.transport.write(websocket_frame(farewell("restart")))
        super().shutdown()


def farewell(reason: str) -> bytes:
    """GOAWAY with this connection's own delay, so that a whole room does not return at once."""
    return told(Kind.GOAWAY, {"reason": reason, "delay_ms": random.randrange(GOAWAY_SPREAD_MS)})  # noqa: S311


class MessageSink:
    """The same over plain ASGI messages: one task writes, so that nobody else waits.

    Such a server does not say when its own pings are answered, so the client is asked by PING frames whether it is
    there; and it may let a send or a close wait for ever, so the end is declared here.
    """

    def __init__(self, websocket: WebSocket, now: Callable[[], float]) -> None:
        self._websocket = websocket
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._backlog = 0
        self._closer: asyncio.Task[None] | None = None
        self._over = self._loop.create_future()
        self.last_heard = now()
        self.stalled: Callable[[], None] | None = None
        self.drained: Callable[[], None] | None = None
        self._writer = asyncio.create_task(self._write_all())
        self._next_ping = self._loop.call_later(PING_SECONDS, self._ping)

    def write(self, framed: bytes) -> bool:
        if self._closer is not None or self._writer.done():
            return False
        self._backlog += len(framed)
        self._queue.put_nowait(framed)
        if self.stalled is not None and self.busy():
            self.stalled()
        return True

    def backlog(self) -> int:
        return self._backlog

    def busy(self) -> bool:
        return self._backlog > NOTSENT_LOWAT_BYTES

    def close(self, code: int, reason: str) -> None:
        """What was written before goes first, unless the peer does not take it."""
        if self._closer is None:
            self._queue.put_nowait(None)
            self._closer = asyncio.create_task(self._close(code, reason))

    async def receive(self) -> Message:
        """The peer's next message; a disconnect once this side has closed, whatever the server says of that."""
        heard = asyncio.ensure_future(self._websocket.receive())
        try:
            await asyncio.wait({heard, self._over}, return_when=asyncio.FIRST_COMPLETED)
            return heard.result() if heard.done() else {"type": "websocket.disconnect", "code": 1006}
        finally:
            heard.cancel()

    async def finish(self) -> None:
        """The endpoint is done with this connection."""
        self._next_ping.cancel()
        if self._closer is not None:
            await self._closer
            with contextlib.suppress(RuntimeError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    # Until what was still coming in is taken, some servers leave the connection half closed.
                    while (await self._websocket.receive())["type"] != "websocket.disconnect":
                        pass
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    def _ping(self) -> None:
        self.write(websocket_frame(encode(Ping(random.randbytes(8)))))  # noqa: S311
        self._next_ping = self._loop.call_later(PING_SECONDS, self._ping)

    async def _write_all(self) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
            while (framed := await self._queue.get()) is not None:
                for payload in payloads(framed):
                    await self._websocket.send_bytes(payload)
                was_busy = self.busy()
                self._backlog -= len(framed)
                if was_busy and not self.busy() and self.drained is not None:
                    self.drained()

    async def _close(self, code: int, reason: str) -> None:
        await asyncio.wait({self._writer}, timeout=CLOSE_SECONDS / 2)
        self._writer.cancel()
        try:
            async with asyncio.timeout(CLOSE_SECONDS / 2):
                await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            pass  # The peer is gone, or takes nothing any more.
        finally:
            self._over.set_result(None)


def sink_of(websocket: WebSocket, now: Callable[[], float]) -> RoomProtocol | MessageSink:
    """The best sink this server offers: its own transport, or messages."""
    connection = websocket.scope.get("extensions", {}).get(EXTENSION)
    return connection if isinstance(connection, RoomProtocol) else MessageSink(websocket, now)
