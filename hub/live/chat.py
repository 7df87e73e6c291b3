"""A room's messages: posted as actions, numbered by SQL, told to everyone here once and in order.

The same message arrives by up to three ways (web's answer to who posted it, the bus, a ledger line), each of which may
be lost. Its number decides: known ones are dropped, the next one is told, and a gap is filled from the record.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from hub.core import limits
from hub.live.frames import Kind, Say
from hub.live.member import Member
from hub.live.protocol import told, websocket_frame
from hub.live.record import OutOfReachError, Record, Refusal
from hub.live.room import Room
from hub.live.rules import Order, order

log = structlog.get_logger()
LANE = "messages"
MAX_CLIENT_ID_CHARACTERS = 64
PAGE = 200
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0)
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
        sequence = int(message["sequence"])
        match order(self._room.head, sequence):
            case Order.NEXT:
                self._room.head = sequence
                self._room.relay.tell(Kind.MSG, message, LANE, sequence)
            case Order.GAP:
                self.hear_of(sequence)
            case Order.KNOWN:
                pass

    def hear_of(self, sequence: int) -> None:
        """There is a message of this number; fetch what is missing up to it."""
        self._heard_of = max(self._heard_of, sequence)
        if self._heard_of > self._room.head and not self._filling:
            self._filling = True
            self._spawn(self._fill())

    async def _fill(self) -> None:
        try:
            while self._room.head < self._heard_of:
                messages, head = await self._record.messages(self._room.session, self._room.head, PAGE)
                if not messages:
                    # The record knows of no such message: what we heard of was rolled back or is not ours.
                    self._heard_of = self._room.head
                    return
                for message in messages:
                    # A number that SQL does not have any more (erased) is no reason to wait for it.
                    self._room.head = max(self._room.head, int(message["sequence"]) - 1)
                    self.arrived(message)
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
        for pause in (*RETRY_SECONDS, None):
            try:
                message = await self._record.say(member.grant, say.text, say.client_id)
            except (Refusal, OutOfReachError) as error:
                temporary = isinstance(error, OutOfReachError) or error.temporary
                if temporary and pause is not None:
                    await asyncio.sleep(pause)
                    continue
                code = "not_recorded" if isinstance(error, OutOfReachError) else error.code
                text = "the message could not be kept; try again" if temporary else str(error)
                self._room.complain(member, code, text, client_id=say.client_id)
                return
            self.arrived(message)
            acknowledged = told(Kind.ACK, {"client_id": say.client_id, "sequence": message["sequence"]})
            self._room.relay.tell_one(member, websocket_frame(acknowledged))
            return


def _refusal(member: Member, say: Say) -> tuple[str, str] | None:
    if not member.may("room:speak"):
        return "not_allowed", f"the role {member.grant.member.role} may read along, not write"
    if not member.grant.offers("chat"):
        return "not_allowed", "chat is switched off in this room"
    if not 0 < len(say.client_id) <= MAX_CLIENT_ID_CHARACTERS:
        return "invalid_input", "client_id has 1 to 64 characters"
    if say.to or say.about:
        # The record has no such messages yet, and one meant for a single person must never be told to all.
        return "not_offered", "this hub keeps messages to everyone only: leave out `to` and `about`"
    if not say.text.strip():
        return "invalid_input", "a message has some text"
    if len(say.text) > limits.MESSAGE_CHARACTERS:
        return "too_large", f"a message has at most {limits.MESSAGE_CHARACTERS} characters"
    return None
