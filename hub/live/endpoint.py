"""`/ws`: one socket from its handshake to its end.

Origin, then the rate of arrivals, then the ticket, and only then the upgrade; then HELLO within five seconds. After
that the loop below does nothing but hand frames to the room.
"""

import asyncio
import contextlib
from functools import partial

import structlog
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from hub.live.buckets import ALLOWANCE
from hub.live.closing import Closing, closing_for
from hub.live.connection import MessageSink, RoomProtocol, sink_of
from hub.live.frames import MAX_FRAME_BYTES, VERSION, Hello, Kind
from hub.live.member import Grant, Member, Sink
from hub.live.node import Node, Place
from hub.live.protocol import ProtocolError, parse_client
from hub.live.record import OutOfReachError, Refusal
from hub.live.replay import replay
from hub.live.room import DoorError, RoomFullError
from hub.live.rules import HELLO_SECONDS, origin_allowed

log = structlog.get_logger()
MAX_TICKET_CHARACTERS = 200
_KINDS = {kind.value: kind for kind in Kind}


async def socket(websocket: WebSocket) -> None:
    """Serve one WebSocket."""
    node: Node = websocket.app.state.node
    if not origin_allowed(websocket.headers.get("origin"), websocket.app.state.origins):
        return await _deny(websocket, 403, "wrong_origin", "this page may not open a room of this hub")
    if not node.may_arrive():
        return await _deny(websocket, 503, "too_many", "too many arrive at once; come back in a moment")
    version = node.rights_version
    ticket = websocket.query_params.get("ticket", "")[:MAX_TICKET_CHARACTERS]
    refusal, grant = await _redeem(node, ticket)
    await websocket.accept()
    if grant is None:
        return await websocket.close(*refusal)
    sink = sink_of(websocket, node.turns.now)
    try:
        await _serve(websocket, node, grant, sink, version)
    except ProtocolError as error:
        sink.close(error.code, str(error)[:120])
    except (WebSocketDisconnect, WebSocketDisconnected, OSError):
        pass
    except DoorError as shut:
        if grant.door == "lobby":
            with contextlib.suppress(Refusal, OutOfReachError):
                await node.record.knock(grant)
        sink.close(shut.code, str(shut))
    except RoomFullError as full:
        sink.close(full.code, str(full))
    except Exception:
        log.exception("live.socket_failed", session=grant.session)
        sink.close(Closing.INTERNAL, "something went wrong inside the hub")
    except asyncio.CancelledError:  # How another server than ours ends what still runs when it stops.
        sink.close(Closing.UNAVAILABLE, "the hub stops; come back and resume")
        raise
    finally:
        if isinstance(sink, MessageSink):
            await sink.finish()
    return None


async def _redeem(node: Node, ticket: str) -> tuple[tuple[int, str], Grant | None]:
    if not ticket:
        return (Closing.NOT_SIGNED_IN, "a ticket is needed; POST /api/tickets makes one"), None
    try:
        return (0, ""), await node.record.redeem(ticket)
    except Refusal as refusal:
        return (closing_for(refusal.status, refusal.code), str(refusal)[:120]), None
    except OutOfReachError:
        return (Closing.UNAVAILABLE, "the hub is not there now; come back"), None


async def _serve(websocket: WebSocket, node: Node, grant: Grant, sink: Sink, version: int) -> None:
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            hello = parse_client(await _receive(websocket, sink))
    except TimeoutError:
        raise ProtocolError("a HELLO was expected first") from None
    if not isinstance(hello, Hello):
        raise ProtocolError("a HELLO was expected first")
    if hello.proto != VERSION:
        raise ProtocolError(f"this hub speaks version {VERSION}; reload the page", Closing.VERSION)
    place, member = node.enter(grant, sink, hello.resume.token if hello.resume else "")
    catching_up = asyncio.create_task(_catch_up(node, place, member, hello, version))
    if isinstance(sink, RoomProtocol):
        sink.hears = partial(_at_once, place, member)
    try:
        while not member.closed:
            data = await _receive(websocket, sink)
            sink.last_heard = node.turns.now()
            _take(place, member, data, sink.last_heard)
    finally:
        if isinstance(sink, RoomProtocol):
            sink.hears = None
        catching_up.cancel()
        node.leave(place, member)
        with contextlib.suppress(asyncio.CancelledError):
            await catching_up


async def _catch_up(node: Node, place: Place, member: Member, hello: Hello, version: int) -> None:
    if node.rights_version != version:
        # A right was taken away while the ticket was being redeemed: the answer may be older than that.
        try:
            await node.recheck([member])
        except (Refusal, OutOfReachError):
            return member.close(Closing.UNAVAILABLE, "rights cannot be checked now; come back")
    await replay(node, place, member, hello.resume)


def _at_once(place: Place, member: Member, data: bytes) -> None:
    """Take a frame in the turn in which it arrived, without a trip through the server's queue."""
    if member.closed:
        return
    try:
        _take(place, member, data, member.sink.last_heard)
    except ProtocolError as error:
        member.close(error.code, str(error)[:120])
    except Exception:
        log.exception("live.frame_failed", session=member.grant.session)
        member.close(Closing.INTERNAL, "something went wrong inside the hub")


def _take(place: Place, member: Member, data: bytes, now: float) -> None:
    kind = _KINDS.get(data[0]) if data else None
    if kind is None:
        raise ProtocolError("unknown kind of frame")
    # Asked before parsing, so that a flood costs as little as it can.
    if kind in ALLOWANCE and not place.room.admit(member, kind, now):
        return
    place.hear(member, parse_client(data))


async def _receive(websocket: WebSocket, sink: Sink) -> bytes:
    message = await (sink.receive() if isinstance(sink, MessageSink) else websocket.receive())
    if message["type"] != "websocket.receive":
        raise WebSocketDisconnect(message.get("code", 1000))
    data = message.get("bytes")
    if not isinstance(data, bytes):
        raise ProtocolError("frames are binary messages")
    if len(data) > MAX_FRAME_BYTES:
        raise ProtocolError(f"a frame has at most {MAX_FRAME_BYTES} bytes", Closing.TOO_LARGE)
    return data


async def _deny(websocket: WebSocket, status: int, code: str, text: str) -> None:
    problem = {"type": f"urn:collegium:problem:{code}", "title": code.replace("_", " "), "status": status}
    problem |= {"code": code, "detail": text, "hint": "", "request_id": ""}
    headers = {"Retry-After": "1"} if status == 503 else {}
    await websocket.send_denial_response(JSONResponse(problem, status, headers, media_type="application/problem+json"))
