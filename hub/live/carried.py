"""A call that is too large for a mesh is carried by a media server: who takes part is told how to come in there.

The hub (web) has the server's key, mints the tokens and puts out whom it did not let in; this says to it who takes
part. What is said is everyone, every time, so that a call that was not heard is made good by the next.
"""

import structlog

from hub.live.chat import Spawn
from hub.live.frames import Kind
from hub.live.member import Member
from hub.live.presence import Entry
from hub.live.protocol import told, websocket_frame
from hub.live.record import CallMember, OutOfReachError, Record, Refusal
from hub.live.room import Room

log = structlog.get_logger()
AGAIN_SECONDS = 10.0


def identity_of(entry: Entry) -> str:
    """How the media server knows a member: by the slot and its incarnation, which everyone in the room knows."""
    return f"{entry.slot}:{entry.incarnation}"


class Carried:
    """One room's call, as far as a media server carries it."""

    def __init__(self, room: Room, record: Record, spawn: Spawn) -> None:
        self._room = room
        self._record = record
        self._spawn = spawn
        self._given: set[str] = set()
        self._due = self._running = False
        self._settled_at = float("-inf")
        room.call_changed = self.changed

    def changed(self) -> None:
        """Somebody came into the call, left it, or may do other things in it."""
        self._due = True
        if not self._running:
            self._running = True
            self._spawn(self._settle())

    def sweep(self) -> None:
        """Once a second: what the server has is compared again from time to time, and soon after a failure."""
        if (self._given or self._calling()) and self._room.turns.now() - self._settled_at >= AGAIN_SECONDS:
            self.changed()

    def _calling(self) -> list[Entry]:
        return [entry for entry in self._room.relay.presence.entries() if entry.carried]

    async def _settle(self) -> None:
        try:
            while self._due:
                self._due = False
                self._settled_at = self._room.turns.now()
                await self._settle_once()
        finally:
            self._running = False

    async def _settle_once(self) -> None:
        calling = {identity_of(entry): entry for entry in self._calling()}
        here = {
            identity: member
            for identity, entry in calling.items()
            if (member := self._room.members.get(entry.slot)) is not None and member.incarnation == entry.incarnation
        }
        self._given &= here.keys()
        members = [CallMember(who, m.grant.member.claim, who not in self._given) for who, m in here.items()]
        elsewhere = [identity for identity in calling if identity not in here]
        try:
            url, tokens = await self._record.call(self._room.session, members, elsewhere)
        except (Refusal, OutOfReachError) as error:
            log.warning("live.call_not_carried", session=self._room.session, error=repr(error))
            for who in [one.identity for one in members if one.token]:
                self._complain(here[who])
            return
        for identity, token in tokens.items():
            member = here.get(identity)
            if member is not None and not member.closed:
                self._given.add(identity)
                self._room.relay.tell_one(member, websocket_frame(told(Kind.SFU, {"url": url, "token": token})))

    def _complain(self, member: Member) -> None:
        text = "the server for large calls is out of reach; it is tried again"
        self._room.complain(member, "call_unreachable", text)
