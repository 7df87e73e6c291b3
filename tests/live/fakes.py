"""A room's surroundings without a loop or a socket: a clock that is set, sinks that remember, a bus that can be cut."""

import contextlib
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from hub.live.between import Batch, Between
from hub.live.frames import ServerFrame, Told
from hub.live.member import Grant, Person
from hub.live.protocol import parse_server, payloads
from hub.live.room import Room


class FakeTurns:
    """Time stands still until `advance`; `turn` ends the loop's turn."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._soon: list[Callable[[], None]] = []
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def now(self) -> float:
        return self.time

    def wall_ms(self) -> int:
        return int(self.time * 1000)

    def soon(self, do: Callable[[], None]) -> None:
        self._soon.append(do)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.time + seconds, next(self._count), do))

    def turn(self) -> None:
        while self._soon:
            due, self._soon = self._soon, []
            for do in due:
                do()

    def advance(self, seconds: float) -> None:
        self.turn()
        until = self.time + seconds
        while self._later and self._later[0][0] <= until + 1e-9:
            at, _, do = heapq.heappop(self._later)
            self.time = max(self.time, at)
            do()
            self.turn()
        self.time = until


class FakeSink:
    """Remembers every write; `stall` lets the peer stop reading, `flow` lets it go on."""

    def __init__(self, turns: FakeTurns) -> None:
        self._turns = turns
        self.last_heard = turns.now()
        self.stalled: Callable[[], None] | None = None
        self.drained: Callable[[], None] | None = None
        self.writes: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self._stalled = False
        self._owed = 0

    def write(self, framed: bytes) -> bool:
        self.writes.append(framed)
        if self._stalled:
            self._owed += len(framed)
            if self.stalled is not None:
                self.stalled()
        return True

    def backlog(self) -> int:
        return self._owed

    def busy(self) -> bool:
        return self._owed > 0

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def stall(self) -> None:
        self._stalled = True

    def flow(self) -> None:
        self._stalled, self._owed = False, 0
        if self.drained is not None:
            self.drained()

    def frames(self) -> list[ServerFrame]:
        return [parse_server(payload) for write in self.writes for payload in payloads(write)]

    def take(self) -> list[ServerFrame]:
        """What was written since the last call."""
        frames = self.frames()
        self.writes.clear()
        return frames

    def told(self, kind: Any) -> list[Any]:
        return [frame.body for frame in self.frames() if isinstance(frame, Told) and frame.kind is kind]


ALL = frozenset({"room:join", "room:speak", "room:voice", "room:present", "job:read"})


def grant(name: str, *, role: str = "read_write", permissions: frozenset[str] = ALL, **changes: Any) -> Grant:
    """What web would say of somebody."""
    person = Person(claim=f"token:{name}", id=f"per_{name}", name=name.title(), role=role, permissions=permissions)
    facts: dict[str, Any] = {
        "session": "ses_1",
        "name": "ana/lab",
        "features": {"voice_chat": True, "screen_sharing": True},
        "epoch": "e1",
        "sequence": 0,
    }
    return Grant(member=person, event=-1, **{**facts, **changes})


def enter(room: Room, turns: FakeTurns, name: str, **changes: Any) -> tuple[Any, FakeSink]:
    """Somebody comes in and is up to date."""
    sink = FakeSink(turns)
    member = room.join(grant(name, **changes), sink)
    room.relay.go_live(member, {})
    turns.turn()
    return member, sink


class Bus:
    """Hands batches to the halves at once, unless it is cut."""

    def __init__(self, turns: FakeTurns) -> None:
        self.turns = turns
        self.halves: list[Room] = []
        self.batches: list[Batch] = []
        self.cut = False

    def half(self, number: int, name: str = "") -> Room:
        room = Room("ses_1", self.turns, f"node-{number}", number=number)
        room.between = Between(room, name or f"node-{number}", number, self._publish, _at_once)
        self.halves.append(room)
        room.between.ask()
        self.turns.turn()
        return room

    async def _publish(self, channel: str, data: bytes) -> bool:
        assert channel == "room:ses_1"
        if self.cut:
            return False
        self.batches.append(msgspec.msgpack.decode(data, type=Batch))
        for room in list(self.halves):
            assert room.between is not None
            room.between.heard(data)
        return True

    def second(self, *rooms: Room) -> None:
        """A second passes in which these rooms are alive."""
        for room in rooms:
            for member in room.members.values():
                member.sink.last_heard = self.turns.now()
            assert room.between is not None
            room.between.beat()
        self.turns.advance(1.0)


def _at_once(work: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(StopIteration):
        work.send(None)
