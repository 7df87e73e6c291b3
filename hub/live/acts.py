"""What a member does in a room that lasts: an action of the hub, done as that member, through the one door."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hub.live.frames import Act, Kind
from hub.live.member import Member
from hub.live.protocol import told, websocket_frame
from hub.live.record import OutOfReachError, Record, Refusal
from hub.live.room import Room

MAX_CLIENT_ID_CHARACTERS = 64
MAX_UNDER_WAY = 8
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Acts:
    """The actions of one room's members on this node. What they lead to is told by the ledger, here as everywhere."""

    def __init__(self, room: Room, record: Record, spawn: Spawn) -> None:
        self._room = room
        self._record = record
        self._spawn = spawn
        self._under_way: dict[int, int] = {}

    def act(self, member: Member, act: Act) -> None:
        """Do it; the member is told ACK with the result, or ERR with the reason."""
        client_id = act.client_id[:MAX_CLIENT_ID_CHARACTERS]
        name = act.action.get("action")
        if not 0 < len(act.client_id) <= MAX_CLIENT_ID_CHARACTERS:
            self._room.complain(member, "invalid_input", "client_id has 1 to 64 characters", client_id=client_id)
        elif not isinstance(name, str) or not name.startswith("room_"):
            self._room.complain(member, "invalid_input", "a room does room_... actions only", client_id=client_id)
        elif self._under_way.get(id(member), 0) >= MAX_UNDER_WAY:
            self._room.complain(member, "too_many", "too many actions are under way", client_id=client_id)
        else:
            self._under_way[id(member)] = self._under_way.get(id(member), 0) + 1
            self._spawn(self._do(member, act))

    async def _do(self, member: Member, act: Act) -> None:
        try:
            for pause in (*RETRY_SECONDS, None):
                try:
                    result = await self._record.act(member.grant, act.action, act.client_id)
                except (Refusal, OutOfReachError) as error:
                    temporary = isinstance(error, OutOfReachError) or error.temporary
                    if temporary and pause is not None and not member.closed:
                        await asyncio.sleep(pause)
                        continue
                    code = "not_recorded" if isinstance(error, OutOfReachError) else error.code
                    self._room.complain(member, code, str(error), client_id=act.client_id)
                    return
                done = told(Kind.ACK, {"client_id": act.client_id, "result": result})
                self._room.relay.tell_one(member, websocket_frame(done))
                return
        finally:
            left = self._under_way.pop(id(member)) - 1
            if left:
                self._under_way[id(member)] = left
