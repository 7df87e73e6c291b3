"""This process among the hub's: its rooms, and the tasks that keep them true.

Three tasks run beside the sockets: the follower of the ledger (rights), the carrier (Redis wakes), and the heartbeat,
which measures the loop's lag and stops delivery as soon as the ledger cannot be read.
"""

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

import structlog
from redis.exceptions import RedisError

from hub.live.between import BEAT_SECONDS, NODES, Between
from hub.live.buckets import Bucket
from hub.live.carried import Carried
from hub.live.carrier import Carrier
from hub.live.chat import Chat, Spawn
from hub.live.closing import Closing
from hub.live.drafts import Drafts
from hub.live.follower import Follower
from hub.live.frames import AwareDraft, ClientFrame, CloseDraft, EditDraft, FollowLog, Hello, Kind, OpenDraft, Say
from hub.live.ice import Relays
from hub.live.logs import Logs
from hub.live.member import Counters, Grant, Member, Sink
from hub.live.protocol import ProtocolError, told, websocket_frame
from hub.live.record import Event, OutOfReachError, Record, Refusal
from hub.live.room import Room
from hub.live.rules import VISIBLE_CURSORS, changes_rights, concerns_one_session, pace_ms, tells_of_messages

log = structlog.get_logger()
EVENTS = "events"
HEARTBEAT_SECONDS = 0.1
UNREADABLE_SECONDS = 10.0
RECHECK_SECONDS = 2.0
RECHECK_MEMBERS = 50
NUMBER_SECONDS = 2.0
ARRIVALS_PER_SECOND, ARRIVALS_BURST = 200.0, 400.0


class LoopTurns:
    """The running event loop, as rooms see it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def soon(self, do: Callable[[], None]) -> None:
        self._loop.call_soon(do)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        self._loop.call_later(seconds, do)


class Place:
    """A room with what reaches beyond it: its chat, its logs, its drafts."""

    def __init__(self, room: Room, record: Record, spawn: Spawn) -> None:
        self.room = room
        self.chat = Chat(room, record, spawn)
        self.logs = Logs(room, record, spawn)
        self.drafts = Drafts(room, record, spawn)
        self.carried = Carried(room, record, spawn) if room.carries else None

    def hear(self, member: Member, frame: ClientFrame) -> None:
        """Hand a member's frame to the part of the room it is for."""
        match frame:
            case Say():
                self.chat.say(member, frame)
            case FollowLog(on=True):
                self.logs.follow(member, frame.job, frame.offset)
            case FollowLog():
                self.logs.stop(member, frame.job)
            case OpenDraft() | EditDraft() | AwareDraft() | CloseDraft():
                self.drafts.hear(member, frame)
            case Hello():
                raise ProtocolError("only one HELLO, please")
            case _:
                self.room.hear(member, frame)

    def leave(self, member: Member) -> None:
        """The member's connection is gone."""
        self.logs.leave(member)
        self.drafts.leave(member)
        self.room.leave(member)


class Node:
    """All rooms of this process."""

    def __init__(
        self,
        record: Record,
        redis_url: str | None,
        visible: int = VISIBLE_CURSORS,
        relays: Relays | None = None,
        *,
        carries: bool = False,
    ) -> None:
        self.record = record
        self.turns = LoopTurns()
        self.counters = Counters()
        self.places: dict[str, Place] = {}
        self.follower = Follower(record, self._apply, self.turns.now)
        self.visible = visible
        self.relays = relays
        self.carries = carries
        self.lag_ms = 0.0
        self.rights_version = 0
        self._name = secrets.token_urlsafe(9)
        self.number = 0
        self._carrier = None if redis_url is None else Carrier(redis_url, self._heard, self._batch, self._bus_is_back)
        self._arrivals = Bucket(ARRIVALS_PER_SECOND, ARRIVALS_BURST)
        self._tasks: set[asyncio.Task[None]] = set()
        self._checked: dict[Member, float] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The node's tasks, for as long as the application lives."""
        for work in (self.follower.run(), self._beat(), self._recheck_always()):
            self.spawn(work).add_done_callback(_vital)
        if self._carrier is not None:
            await self._number_oneself(self._carrier)
            self.spawn(self._carrier.run())
            self.spawn(self._keep_number(self._carrier))
        try:
            yield
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.record.aclose()
            if self._carrier is not None:
                await self._carrier.aclose()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that nobody waits for; it ends with the node, and what it raises is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("live.task_failed", exc_info=error)

    # Coming and going

    def may_arrive(self) -> bool:
        """Whether one more handshake may go on now: a storm of returning clients is spread out."""
        return self._arrivals.take(self.turns.now())

    def enter(self, grant: Grant, sink: Sink, token: str) -> tuple[Place, Member]:
        """Give somebody a place in their room. May raise RoomFullError."""
        place = self.places.get(grant.session)
        if place is None:
            room = Room(
                grant.session,
                self.turns,
                self._name,
                self.counters,
                self.visible,
                self.relays,
                self.number,
                self.carries,
            )
            if self._carrier is not None:
                room.between = Between(room, self._name, self.number, self._carrier.publish, self.spawn)
                room.between.ask()
            room.head = grant.sequence
            room.relay.paused = not self.follower.current
            place = Place(room, self.record, self.spawn)
            self.places[grant.session] = place
        member = place.room.join(grant, sink, token)
        self._checked[member] = self.turns.now()
        place.chat.hear_of(grant.sequence)
        return place, member

    def leave(self, place: Place, member: Member) -> None:
        place.leave(member)
        self._checked.pop(member, None)

    # The ledger

    async def _apply(self, events: list[Event]) -> None:
        """Rights first, then news: nobody is shown what happened after their right had ended."""
        touched = [event for event in events if changes_rights(event.action)]
        if touched:
            self.rights_version += 1
            everywhere = any(not concerns_one_session(event.action) for event in touched)
            sessions = {event.session for event in touched}
            await self.recheck(
                member
                for place in self.places.values()
                if everywhere or place.room.session in sessions
                for member in place.room.members.values()
            )
        for event in events:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        place = self.places.get(event.session or "")
        if place is None:
            return
        if tells_of_messages(event.action):
            place.chat.hear_of(int(event.facts.get("sequence", 0)))
        else:
            place.drafts.happened(event)
            if event.action == "room_mute":
                place.room.mute(event.facts.get("person"), camera=bool(event.facts.get("camera")))
            place.room.relay.tell(Kind.EVENT, event, EVENTS, event.sequence)

    async def recheck(self, members: Iterable[Member]) -> None:
        """Ask web again what these members may, and close the door on whom it refuses."""
        asked = [member for member in members if not member.closed]
        for at in range(0, len(asked), RECHECK_MEMBERS):
            some = asked[at : at + RECHECK_MEMBERS]
            answers = await self.record.recheck([member.grant for member in some])
            for member, grant in zip(some, answers, strict=True):
                place = self.places.get(member.grant.session)
                if grant is None:
                    member.close(Closing.NOT_ALLOWED, "your right to be in this room has ended")
                elif place is not None and not member.closed:
                    place.room.regrant(member, grant)
                if member in self._checked:
                    self._checked[member] = self.turns.now()

    async def _recheck_always(self) -> None:
        """What ends by the clock (a link, a sign-in, a grant) leaves no ledger line: ask again, the stalest first."""
        while True:
            await asyncio.sleep(1.0)
            stale_since = self.turns.now() - RECHECK_SECONDS
            stale = sorted((at, id(member), member) for member, at in self._checked.items() if at <= stale_since)
            try:
                await self.recheck([member for _, _, member in stale[:RECHECK_MEMBERS]])
            except (Refusal, OutOfReachError) as error:
                log.warning("live.recheck_failed", error=repr(error))

    # The bus

    def _heard(self, channel: str, said: dict[str, Any]) -> None:
        kind, _, name = channel.partition(":")
        if kind == "ledger":
            self.follower.wake()
        elif kind == "log":
            for place in self.places.values():
                place.logs.grew(name)
        elif kind == "session" and (named := self.places.get(name)) is not None:
            message = said.get("message")
            if said.get("kind") == "message" and isinstance(message, dict) and isinstance(message.get("change"), int):
                named.chat.arrived(message)
            elif said.get("kind") == "draft":
                named.drafts.heard(said)
            elif said.get("kind") == "for_moderators":
                named.room.tell_moderators(Kind.EVENT, {"sequence": None, "event": said})
            elif said.get("kind") != "message" and not tells_of_messages(str(said.get("action"))):
                # Some of it has no line in this session's ledger (a vote, a preview): it is told once, and to everyone.
                hint = told(Kind.EVENT, {"sequence": None, "event": said})
                named.room.relay.tell_all(websocket_frame(hint))

    # Several nodes

    async def _number_oneself(self, carrier: Carrier) -> None:
        """Take a number that no other node has: it says which slots are ours. Without the bus nobody else is there."""
        try:
            async with asyncio.timeout(NUMBER_SECONDS):
                for number in range(NODES):
                    if await carrier.claim(self._name, number):
                        self.number = number
                        return
                raise RuntimeError(f"{NODES} nodes are running already")
        except (RedisError, OSError, TimeoutError):
            log.warning("live.no_number", hint="the bus is out of reach; other nodes will not see this one until it is")

    async def _keep_number(self, carrier: Carrier) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                if await carrier.claim(self._name, self.number):
                    continue
            except (RedisError, OSError):
                continue
            # While the bus was away another has taken our number: everyone here comes again, under the next one.
            log.warning("live.number_taken", number=self.number)
            for place in self.places.values():
                for member in list(place.room.members.values()):
                    member.close(Closing.UNAVAILABLE, "this node begins anew; come back and resume")
            self.places.clear()
            await self._number_oneself(carrier)

    def _batch(self, session: str, data: bytes) -> None:
        place = self.places.get(session)
        if place is not None and place.room.between is not None:
            place.room.between.heard(data)

    def _bus_is_back(self) -> None:
        for place in self.places.values():
            if place.room.between is not None:
                place.room.between.ask()

    # The heartbeat

    async def _beat(self) -> None:
        due = self.turns.now()
        swept = due
        while True:
            due += HEARTBEAT_SECONDS
            await asyncio.sleep(max(0.0, due - self.turns.now()))
            now = self.turns.now()
            self.lag_ms += 0.2 * ((now - due) * 1000 - self.lag_ms)
            due = max(due, now - HEARTBEAT_SECONDS)
            self._deliver_or_not()
            if now - swept >= 1.0:
                swept = now
                self._sweep()

    def _deliver_or_not(self) -> None:
        silent_seconds = self.follower.silent_seconds()
        for place in self.places.values():
            if self.follower.current:
                place.room.relay.resume()
                continue
            place.room.relay.paused = True
            if silent_seconds > UNREADABLE_SECONDS:
                for member in list(place.room.members.values()):
                    member.close(Closing.UNAVAILABLE, "the hub cannot check rights now; come back and resume")

    def _sweep(self) -> None:
        for session, place in list(self.places.items()):
            room = place.room
            room.sweep()
            if place.carried is not None:
                place.carried.sweep()
            if room.between is not None:
                room.between.beat()
            busy = sum(not member.clear for member in room.members.values())
            room.relay.set_pace(pace_ms(self.lag_ms, busy / max(1, len(room.members))))
            # A room that nobody is in is forgotten once its slots are free; what lasts of it is in SQL.
            if room.release_slots():
                if room.between is not None:
                    room.between.close()
                del self.places[session]


def _vital(task: asyncio.Task[None]) -> None:
    """Without its follower or its heartbeat a node would deliver what it must not: better that it ends."""
    if not task.cancelled():
        signal.raise_signal(signal.SIGTERM)
