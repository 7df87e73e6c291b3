"""Our own fan-out without coalescing: each message that arrives is written to each member at once. `relay_app.py PORT`.

The parts are those of the live process (its protocol class, its room, its members); only the wait for the end of the
turn is left out, so that as many writes are made as in a loop of `send()`.
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from hub.live.connection import RoomProtocol, sink_of
from hub.live.member import Grant, Person
from hub.live.node import LoopTurns
from hub.live.protocol import websocket_frame
from hub.live.room import Room

rooms: list[Room] = []


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    turns = LoopTurns()
    if not rooms:
        rooms.append(Room("ses_1", turns))
    [room] = rooms
    who = Person("claim", f"per_{id(websocket)}", "Ana", "read_write", frozenset({"room:join"}))
    member = room.join(Grant(who, "ses_1", "ana/lab", {}, "e1", 0, 0), sink_of(websocket, turns.now))
    room.relay.go_live(member, {})
    try:
        while (message := await websocket.receive())["type"] == "websocket.receive":
            room.relay.tell_all(websocket_frame(message["bytes"]))
            room.relay.flush()
    except WebSocketDisconnect:
        pass
    finally:
        room.leave(member)


uvicorn.run(
    Starlette(routes=[WebSocketRoute("/ws", socket)]),
    port=int(sys.argv[1]),
    ws=RoomProtocol,
    ws_per_message_deflate=False,
    log_level="error",
    loop="uvloop",
)
