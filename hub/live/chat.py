"""A room's messages: posted as actions, numbered by SQL, told to everyone here once and in order.

The same message arrives by up to four ways (web's answer to who posted it, the bus, a ledger line, what was read for
somebody who came back), each of which may be lost. Its number decides: known ones are dropped, the next one is told,
and a gap is filled from the record.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from hub.core import limits
from hub.live.frames import Kind, Say
from hub.live.member import Member
from hub.live.protocol import told, websocket_frame
from hub.live.record import OutOfReachError, Record, Refusal, persistently
from hub.live.room import Room
from hub.live.rules import Order, audience, order

log = structlog.get_logger()
LANE = "messages"
MAX_CLIENT_ID_CHARACTERS = 64
PAGE = 200
MAX_WAITING = 20

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Chat:
    """The messages of one room on this node."""

    def __init__(self, room: Room, record: Record, spawn: Spawn) -> None:
        self._room = room
        self._record = record
        self._spawn = spawn
        self._filling = False
        self._heard_of = 0
        self._waiting: dict[int, list[Say]] = {}

    def arrived(self, message: dict[str, Any]) -> None:
        """A message came by one of its ways."""
        change = int(message["change"])
        match order(self._room.head, change):
            case Order.NEXT:
                self._room.head = change
                self._room.relay.tell(Kind.MSG, message, LANE, change, audience(message))
            case Order.GAP:
                self.hear_of(change)
            case Order.KNOWN:
                pass

    def hear_of(self, change: int) -> None:
        """There is a change of this number; fetch what is missing up to it."""
        self._heard_of = max(self._heard_of, change)
        if self._heard_of > self._room.head and not self._filling:
            self._filling = True
            self._spawn(self._fill())

    def read(self, messages: list[dict[str, Any]]) -> None:
        """All that the record has from some number on that the room has been told: what is new is told."""
        for message in messages:
            # A number that SQL does not have any more (another change followed) is no reason to wait for it.
            self._room.head = max(self._room.head, int(message["change"]) - 1)
            self.arrived(message)

    async def _fill(self) -> None:
        try:
            while self._room.head < self._heard_of:
                messages, head = await self._record.messages(self._room.session, self._room.head, PAGE)
                self.read(messages)
                if not messages:
                    # Whatever was heard of beyond the record's head was rolled back or is not ours.
                    self._room.head = max(self._room.head, head)
                    self._heard_of = self._room.head
                    return
                self._heard_of = max(self._heard_of, head)
        except (Refusal, OutOfReachError) as error:
            log.warning("live.messages_out_of_reach", session=self._room.session, error=repr(error))
        finally:
            self._filling = False

    # Posting

    def say(self, member: Member, say: Say) -> None:
        """Post what a member says, after what the same member said before."""
        if refusal := _refusal(member, say):
            self._room.complain(member, *refusal, client_id=say.client_id[:MAX_CLIENT_ID_CHARACTERS])
            return
        waiting = self._waiting.get(id(member))
        if waiting is None:
            self._waiting[id(member)] = [say]
            self._spawn(self._post_all(member))
        elif len(waiting) < MAX_WAITING:
            waiting.append(say)
        else:
            self._room.complain(member, "too_many", "too many messages are waiting", client_id=say.client_id)

    async def _post_all(self, member: Member) -> None:
        waiting = self._waiting[id(member)]
        try:
            while waiting:
                await self._post(member, waiting[0])
                waiting.pop(0)
        finally:
            del self._waiting[id(member)]

    async def _post(self, member: Member, say: Say) -> None:
        try:
            message = await persistently(lambda: self._record.say(member.grant, say))
        except (Refusal, OutOfReachError) as error:
            text = "the message could not be kept; try again" if error.temporary else str(error)
            self._room.complain(member, error.code, text, client_id=say.client_id)
            return
        self.arrived(message)
        acknowledged = told(Kind.ACK, {"client_id": say.client_id, "sequence": message["sequence"]})
        self._room.relay.tell_one(member, websocket_frame(acknowledged))


def _refusal(member: Member, say: Say) -> tuple[str, str] | None:
    if not member.may("room:speak"):
        return "not_allowed", f"the role {member.grant.member.role} may read along, not write"
    if not member.grant.offers("chat"):
        return "not_allowed", "chat is switched off in this room"
    if not 0 < len(say.client_id) <= MAX_CLIENT_ID_CHARACTERS:
        return "invalid_input", "client_id has 1 to 64 characters"
    if not say.text.strip():
        return "invalid_input", "a message has some text"
    if len(say.text) > limits.MESSAGE_CHARACTERS:
        return "too_large", f"a message has at most {limits.MESSAGE_CHARACTERS} characters"
    return None
