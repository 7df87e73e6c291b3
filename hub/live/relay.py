"""Who is written to, when, and how much at once: one write per connection and turn of the loop, nobody is waited for.

A relay knows no socket and no clock: it is given `Turns` (now, soon, later) and each member's `Sink`. So its tests run
with a fake of each, and the loop's own is a few lines in `node.py`.
"""

from collections.abc import Callable
from typing import Protocol

from hub.live.closing import Closing
from hub.live.cursors import Audience, Cursors
from hub.live.frames import Kind, Pace
from hub.live.member import MAX_HELD, Counters, Member
from hub.live.presence import Presence
from hub.live.protocol import encode, told, websocket_frame
from hub.live.rules import PACES_MS, PRESENCE_SECONDS, VISIBLE_CURSORS, tick_delay


class Turns(Protocol):
    """The loop, as a room sees it."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        ...

    def soon(self, do: Callable[[], None]) -> None:
        """At the end of this turn."""
        ...

    def later(self, seconds: float, do: Callable[[], None]) -> None: ...


class Relay:
    """What a room has to say to its members at the end of this turn."""

    def __init__(self, turns: Turns, counters: Counters, visible: int = VISIBLE_CURSORS) -> None:
        self.turns = turns
        self.counters = counters
        self.members: dict[int, Member] = {}
        self.presence = Presence()
        self.cursors = Cursors(visible)
        self.pace_ms = PACES_MS[0]
        self.paused = False
        # In the order in which they were said, each with the ids of those it is for (None: everyone).
        self._durable: list[tuple[bytes, frozenset[str] | None]] = []
        self._fleeting: list[bytes] = []
        # Whose replay went through in a pause: what was said in it before they came is not for them.
        self._arrived: list[tuple[Member, dict[str, int]]] = []
        self._flush_due = self._tick_due = self._tick_now = self._presence_due = self._presence_now = False
        self._last_tick = self._last_presence = float("-inf")
        self._presence_told = 0

    def tell(self, kind: Kind, body: object, lane: str, number: int, audience: frozenset[str] | None = None) -> None:
        """Something durable, a message or an event by its number in its lane: for everyone or for some alone."""
        framed = websocket_frame(told(kind, body))
        for member in self.members.values():
            if member.held is not None and (audience is None or member.grant.member.id in audience):
                member.held.append((lane, number, framed))
                if len(member.held) > MAX_HELD:
                    member.close(Closing.SLOW, "the replay did not keep up; come back and resume")
        self._durable.append((framed, audience))
        self.soon()

    def hint(self, kind: Kind, body: object) -> None:
        """Something for whoever is there and keeps up; the same facts can be read from the record."""
        self._fleeting.append(websocket_frame(told(kind, body)))
        self.soon()

    def tell_all(self, framed: bytes) -> None:
        """Something in no lane, such as the numbers of things looked at: no replay brings it, nobody waits for it."""
        for member in self.members.values():
            if member.held is not None:
                member.owe(framed)
        self._durable.append((framed, None))
        self.soon()

    def tell_one(self, member: Member, framed: bytes) -> None:
        member.owe(framed)
        self.soon()

    def go_live(self, member: Member, seen: dict[str, int]) -> None:
        """The replay is through: give what was held back and is not in it, and from now on everything.

        In a pause that has to wait for its end.
        """
        if self.paused:
            self._arrived.append((member, seen))
            return
        self.flush()
        held, member.held = member.held or [], None
        for lane, number, framed in held:
            if number > seen.get(lane, -1):
                member.owe(framed)
        self._catch_up(member)
        self.soon()

    def set_pace(self, pace_ms: int) -> None:
        """Tell everyone how often cursors go out; only members of the moment need to know."""
        if pace_ms != self.pace_ms:
            self.pace_ms = pace_ms
            self._fleeting.append(websocket_frame(encode(Pace(pace_ms))))
            self.soon()

    def resume(self) -> None:
        """Deliver again after a pause."""
        if self.paused:
            self.paused = False
            arrived, self._arrived = self._arrived, []
            for member, seen in arrived:
                if not member.closed:
                    self.go_live(member, seen)
            self.soon()

    # When

    def soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self.turns.soon(self.flush)

    def tick_wanted(self) -> None:
        """A cursor moved: tick at the end of this turn if it is time, else when it is."""
        if self._tick_due:
            return
        self._tick_due = True
        now, pace_seconds = self.turns.now(), self.pace_ms / 1000
        delay = tick_delay(now, self._last_tick, pace_seconds, self.cursors.moved, self.cursors.moved_before)
        if delay > 0:
            self.turns.later(delay, self._tick_in_this_turn)
        else:
            self._tick_in_this_turn()

    def presence_changed(self) -> None:
        if self._presence_due:
            return
        self._presence_due = True
        delay = self._last_presence + PRESENCE_SECONDS - self.turns.now()
        if delay > 0:
            self.turns.later(delay, self._presence_in_this_turn)
        else:
            self._presence_in_this_turn()

    def _tick_in_this_turn(self) -> None:
        self._tick_now = True
        self.soon()

    def _presence_in_this_turn(self) -> None:
        self._presence_now = True
        self.soon()

    # What, and to whom

    def flush(self) -> None:
        """The end of a turn: everything said in it leaves, in one write per member."""
        self._flush_due = False
        if self.paused:
            return
        now = self.turns.now()
        durable_frames, self._durable = self._durable, []
        fleeting, self._fleeting = self._fleeting, []
        for_all = b"".join(framed for framed, audience in durable_frames if audience is None)
        delta = self._take_presence(now)
        passing = b"".join((delta, *fleeting)) if delta or fleeting else b""
        addressed = frozenset[str]().union(*(audience for _, audience in durable_frames if audience is not None))
        everything = for_all + passing if passing else for_all
        ticking, self._tick_now = self._tick_now, False
        ticks: dict[Audience, bytes] = {}
        lone = next(iter(self.cursors.moved)) if len(self.cursors.moved) == 1 else None
        writes = 0
        for member in list(self.members.values()):
            tick = self._tick_for(member, lone, ticks) if ticking else b""
            durable, shared = for_all, everything
            if addressed and member.grant.member.id in addressed:
                # What is for this one among others stands where it was said: a lane's numbers never go back.
                person = member.grant.member.id
                durable = b"".join(framed for framed, to in durable_frames if to is None or person in to)
                shared = durable + passing
            if member.plain:
                # Nearly everyone nearly always: no more is done for them than the write.
                if delta:
                    member.presence_version = self.presence.version
                if data := shared + tick if tick else shared:
                    member.sink.write(data)
                    writes += 1
                continue
            if delta and member.clear and member.held is None:
                member.presence_version = self.presence.version
            member.turn(shared, durable, tick, now)
        self.counters.writes += writes
        if ticking:
            self._tick_due = False
            self._last_tick = now
            self.cursors.ticked()

    def _take_presence(self, now: float) -> bytes:
        if not self._presence_now:
            return b""
        self._presence_now = self._presence_due = False
        self._last_presence = now
        delta = self.presence.since(self._presence_told)
        self._presence_told = self.presence.version
        return delta

    def _tick_for(self, member: Member, lone: int | None, ticks: dict[Audience, bytes]) -> bytes:
        if member.passive or member.held is not None:
            member.cursors_behind = True
            return b""
        if member.cursors_behind and member.clear:
            member.cursors_behind = False
            return self.cursors.places(member.slot, member.audience)
        if lone == member.slot:
            return b""
        tick = ticks.get(member.audience)
        if tick is None:
            tick = ticks[member.audience] = self.cursors.news(member.audience)
        return tick

    def drained(self, member: Member) -> None:
        """A member's socket takes bytes again: what was kept, then the presence and the cursors of the moment."""
        member.drain()
        if member.clear and member.held is None and not member.closed:
            self._catch_up(member)  # In a pause too: it is owed from now on, and written when the pause is over.
            self.tick_wanted()
            self.soon()

    def _catch_up(self, member: Member) -> None:
        if missed := self.presence.since(member.presence_version):
            member.owe(missed)
        member.presence_version = self.presence.version
