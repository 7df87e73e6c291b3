"""One connection's place in a room: what it may do, what it is owed, and how far it is behind.

The room never waits for a member. What a member cannot take now is skipped when newer news will replace it (cursors),
merged (presence), or kept by reference (messages, events, signals) until the socket drains; who falls too far behind
is cut off with a close code that says "come back and resume".
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from hub.core import features
from hub.live.buckets import Allowance
from hub.live.closing import Closing
from hub.live.cursors import Audience
from hub.live.rules import Lane, lane

MAX_HELD = 512


class Sink(Protocol):
    """Where a member's bytes go. Nothing here waits."""

    last_heard: float
    # Called when a write has left a backlog, and when there is none any more.
    stalled: Callable[[], None] | None
    drained: Callable[[], None] | None

    def write(self, framed: bytes) -> bool:
        """Hand joined WebSocket frames to the transport; False when the connection is gone."""
        ...

    def backlog(self) -> int:
        """Bytes the peer's kernel has not taken yet."""
        ...

    def busy(self) -> bool:
        """Whether a write now would only lengthen the backlog."""
        ...

    def close(self, code: int, reason: str) -> None: ...


class Person(msgspec.Struct, frozen=True):
    """A ticket's bearer. `claim` is shown to web when it is asked again, and named when we act for them."""

    claim: str
    id: str
    name: str
    role: str
    permissions: frozenset[str]
    handle: str = ""


class Grant(msgspec.Struct, frozen=True):
    """What web says a ticket stands for. `epoch` names the record, `sequence` and `event` say how far it had come."""

    member: Person
    session: str
    name: str
    features: dict[str, bool]
    epoch: str
    sequence: int
    event: int
    door: str = "open"  # lobby, locked: only for who was here lately; out: for nobody

    @property
    def offers_call(self) -> bool:
        """Whether there is anything to be heard or shown in a call."""
        return self.offers("voice_chat") or self.offers("screen_sharing")

    def offers(self, feature: str) -> bool:
        """Whether the room offers this."""
        return features.offers(self.features, feature)


class Counters(msgspec.Struct):
    """What backpressure has done, for `/metrics` and for honesty."""

    skipped_ticks: int = 0
    conflated: int = 0
    lagging: int = 0
    cut: int = 0
    writes: int = 0


class Member:
    """A slot of a room and the connection that fills it."""

    __slots__ = (
        "_counters", "_pending", "_pending_bytes", "_pending_signals", "allowance", "audience", "busy_since", "closed",
        "cursors_behind", "grant", "held", "incarnation", "lag_told", "own", "passive", "presence_version",
        "relays_until", "sink", "skipped", "slot", "token", "views",
    )  # fmt: skip

    def __init__(self, slot: int, incarnation: int, grant: Grant, sink: Sink, token: str, counters: Counters) -> None:
        self.slot = slot
        self.incarnation = incarnation
        self.grant = grant
        self.sink = sink
        self.token = token
        self.allowance = Allowance()
        self.views: tuple[int, ...] = ()
        self.audience: Audience = ()
        self.passive = False
        self.closed = False
        self.presence_version = 0
        self.cursors_behind = True
        self.relays_until: float | None = None
        # Ticks this member was spared, and what it was last told of that: (state, how many others are behind).
        self.skipped = 0
        self.lag_told: tuple[str, int] = (Lane.CLEAR.value, 0)
        # Until the replay is through, what is new is held back: (lane, number in it, framed).
        self.held: list[tuple[str, int, bytes]] | None = []
        self.own: list[bytes] = []  # what is for this member alone, until the end of this turn
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._pending_signals = 0
        self.busy_since: float | None = None  # when its socket last stopped to take all it was given
        self._counters = counters

    def owe(self, framed: bytes) -> None:
        """Something for this member alone, to be written in this turn."""
        self.own.append(framed)

    def owe_signal(self, framed: bytes) -> None:
        self.own.append(framed)
        if self.busy_since is not None:
            self._pending_signals += 1

    def lane(self, now: float) -> Lane:
        busy_seconds = None if self.busy_since is None else now - self.busy_since
        return lane(self.sink.backlog() + self._pending_bytes, busy_seconds, self._pending_signals)

    def stall(self, now: float) -> None:
        """The socket has not taken all of what was written."""
        if self.busy_since is None:
            self.busy_since = now

    @property
    def clear(self) -> bool:
        return self.busy_since is None

    def turn(self, shared: bytes, durable: bytes, tick: bytes, now: float) -> None:
        """Write what one turn of the loop has for this member, all in one piece, or keep what must not be lost.

        `shared` is everything the room says to everyone in this turn, `durable` the part of it that must not be lost.
        """
        if self.held is not None:
            shared = durable = tick = b""
        if self.busy_since is None:
            own, self.own = self.own, []
            data = b"".join((*own, shared, tick)) if own or (shared and tick) else shared or tick
            if data:
                self._write(data)
            return
        kept = b"".join((*self.own, durable)) if self.own else durable
        self.own = []
        if kept:
            self._pending.append(kept)
            self._pending_bytes += len(kept)
        if len(shared) > len(durable):
            self._counters.conflated += 1
        if tick:
            self._counters.skipped_ticks += 1
            self.skipped += 1
            self.cursors_behind = True
        self.judge(now)

    def judge(self, now: float) -> None:
        """Count, or cut off, a connection that does not keep up."""
        state = self.lane(now)
        if state is Lane.LAGGING:
            self._counters.lagging += 1
        elif state is Lane.CUT:
            self._counters.cut += 1
            self.close(Closing.SLOW, "too far behind; come back and resume")

    def drain(self) -> None:
        """The socket takes bytes again: give it what was kept."""
        self.busy_since = None
        self._pending_signals = 0
        if self._pending and not self.closed:
            kept, self._pending, self._pending_bytes = b"".join(self._pending), [], 0
            self._write(kept)

    def close(self, code: int, reason: str) -> None:
        if not self.closed:
            self.closed = True
            self.own, self._pending = [], []
            self.sink.close(code, reason)

    def _write(self, data: bytes) -> None:
        if self.closed:
            return
        self._counters.writes += 1
        self.sink.write(data)

    def may(self, permission: str) -> bool:
        return permission in self.grant.member.permissions
