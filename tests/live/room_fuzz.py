"""A room on two nodes in which anything may happen, by chance from a seed, and what must hold all the while."""

import itertools
import random
import types
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from hub.core.features import NAMES as FEATURES
from hub.live import endpoint, frames
from hub.live.between import LOST_SECONDS, NODE_SLOTS, Batch
from hub.live.frames import Kind, Told
from hub.live.member import MAX_HELD, Grant, Member
from hub.live.node import Place
from hub.live.presence import STATES, Entry
from hub.live.protocol import ProtocolError, encode, parse_client
from hub.live.record import Record
from hub.live.room import DoorError, Room
from hub.live.rules import CUT_BYTES, PRESENCE_SILENCE_SECONDS, QUARANTINE_SECONDS, pair_generation
from tests.live.fakes import ALL, Bus, FakeSink, FakeTurns, grant

PEOPLE = 14
RIGHTS = sorted(ALL | {"room:moderate", "room:caption"})
LIE = b'{"bye":true}'
LANES = {Kind.MSG: "messages", Kind.EVENT: "events"}


class Guest:
    """One connection: what it should have been told, and what it was."""

    def __init__(self, place: Place, member: Member, sink: FakeSink) -> None:
        self.place, self.member, self.sink = place, member, sink
        self.expected: list[int] = []
        self.got: list[int] = []
        self.present: dict[int, dict[str, Any]] = {}
        self.views: set[int] = {0}
        self.goes_live = False

    @property
    def person(self) -> str:
        return self.member.grant.member.id


class World:
    """Two halves of a room, everyone in it, and chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.turns = FakeTurns()
        self.bus = Bus(self.turns)
        self.numbers = itertools.count(1)
        self.names = itertools.count(2)
        self.guests: list[Guest] = []
        self.tokens: list[tuple[str, str]] = []
        self.private: dict[int, set[str]] = {}
        self.moderators: dict[int, set[Guest]] = {}
        self.signals: dict[str, tuple[int, int]] = {}
        self.unseen: set[Member] = set()
        self.refused = 0
        self.record = Record.over_socket("/nowhere", "", "http://hub.test")
        self.places = [self._place(0), self._place(1)]
        self.steps: list[tuple[int, Callable[[], None]]] = [
            (16, self.join), (4, self.leave), (60, self.say), (5, self.say_nonsense), (3, self.stall), (3, self.flow),
            (6, self.regrant), (3, self.second), (20, self.moment), (8, self.batch_of_nobody), (12, self.tell),
            (3, self.tell_moderators), (6, self.live), (2, self.pause), (1, self.mute), (1, self.cut_bus),
            (1, self.die), (8, self.hear), (1, self.pace),
        ]  # fmt: skip

    def _place(self, number: int) -> Place:
        room = self.bus.half(number, f"node-{number}-{next(self.names)}")
        return Place(room, self.record, _never)

    # What may happen

    def step(self) -> None:
        """One thing, and then the turn's end."""
        (do,) = self.chance.choices([do for _, do in self.steps], [weight for weight, _ in self.steps])
        do()
        self.turns.turn()
        self.look()

    def join(self) -> None:
        place = self.chance.choice(self.places)
        name = f"p{self.chance.randrange(PEOPLE)}"
        token = ""
        if self.tokens and self.chance.random() < 0.5:
            owner, token = self.chance.choice(self.tokens)
            name = owner if self.chance.random() < 0.7 else name
        sink = FakeSink(self.turns)
        if self.chance.random() < 0.1:
            sink.stall()
        asked = self._grant(name, door=self.chance.choice(["open"] * 8 + ["lobby", "locked"]))
        try:
            member = place.room.join(asked, sink, token)
        except DoorError:
            assert asked.door != "open"
            return
        self.guests.append(Guest(place, member, sink))
        self.tokens = [*self.tokens[-40:], (name, member.token)]
        if self.chance.random() < 0.7:
            self._go_live(self.guests[-1])

    def _grant(self, name: str, **more: Any) -> Grant:
        rights = frozenset(right for right in RIGHTS if self.chance.random() < 0.8)
        role = self.chance.choice(["read", "read_write", "teacher", "owner"])
        features = {feature: self.chance.random() < 0.95 for feature in FEATURES}
        return grant(name, role=role, permissions=rights, features=features, **more)

    def _go_live(self, guest: Guest) -> None:
        if not guest.goes_live and not guest.member.closed:
            guest.goes_live = True
            guest.place.room.relay.go_live(guest.member, {})

    def live(self) -> None:
        for guest in self.guests:
            self._go_live(guest)

    def leave(self) -> None:
        if self.guests:
            self._gone(self.chance.choice(self.guests))

    def _gone(self, guest: Guest) -> None:
        self.guests.remove(guest)
        guest.place.leave(guest.member)

    def say(self) -> None:
        if self.guests:
            guest = self.chance.choice(self.guests)
            guest.sink.last_heard = self.turns.now()
            for _ in range(self.chance.choices([1, 3, 30], [20, 5, 1])[0]):
                self._take(guest, self._frame(guest))

    def say_nonsense(self) -> None:
        if not self.guests:
            return
        guest = self.chance.choice(self.guests)
        data = bytearray(self._frame(guest))
        match self.chance.randrange(4):
            case 0:
                data = bytearray(self.chance.randbytes(self.chance.randrange(40)))
            case 1:
                data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
            case 2:
                del data[self.chance.randrange(len(data)) :]
            case _:
                data += self.chance.randbytes(self.chance.choice([1, 5, 70_000]))
        self._take(guest, bytes(data))

    def _take(self, guest: Guest, data: bytes) -> None:
        """As the endpoint does: a frame is taken, or the connection ends for what it sent."""
        if guest.member.closed:
            return
        self._note_signal(guest, data)
        try:
            endpoint._take(guest.place, guest.member, data, self.turns.now())
        except ProtocolError as error:
            self.refused += 1
            guest.member.close(error.code, str(error)[:120])
        guest.views |= set(guest.member.views)

    def _note_signal(self, guest: Guest, data: bytes) -> None:
        try:
            frame = parse_client(data)
        except ProtocolError:
            return
        if isinstance(frame, frames.Signal):
            self.signals[frame.body.decode()] = (frame.peer, frame.generation)

    def _frame(self, guest: Guest) -> bytes:
        pick = self.chance
        switch = lambda: pick.choice([True, False, msgspec.UNSET])  # noqa: E731
        made: list[Callable[[], Any]] = [
            lambda: frames.Cursor(pick.choice([0, *guest.member.views, pick.randrange(256)]), pick.randrange(65536),
                                  pick.randrange(65536), pick.randrange(4), 0),
            lambda: frames.View(tuple(pick.sample([f"thing {n}" for n in range(300)], pick.randrange(9)))),
            lambda: frames.SetPresence(
                state=pick.choice([*STATES, "asleep", msgspec.UNSET]), call=switch(), mic=switch(), camera=switch(),
                screens=pick.choice([-1, 0, 1, 4, 5, msgspec.UNSET]), captioning=switch()),
            lambda: self._signal(guest),
            lambda: frames.Caption("word " * pick.randrange(60), pick.random() < 0.5),
            lambda: frames.Ping(pick.randbytes(8)),
            lambda: frames.Pong(pick.randbytes(8), 0),
            lambda: frames.Say(f"c{next(self.numbers)}", pick.choice(["", "words", "x" * 5000])),
            lambda: frames.FollowLog(f"job_{pick.randrange(3)}", pick.randrange(100), pick.random() < 0.5),
            lambda: frames.OpenDraft(f"draft_{pick.randrange(12)}", 0, b"\0"),
            lambda: frames.EditDraft(f"draft_{pick.randrange(12)}", 1, 1, pick.random() < 0.5, pick.randbytes(20)),
            lambda: frames.AwareDraft(f"draft_{pick.randrange(12)}", pick.randbytes(8)),
            lambda: frames.CloseDraft(f"draft_{pick.randrange(12)}"),
            lambda: frames.Hello(1),
        ]  # fmt: skip
        weights = [12, 4, 8, 10, 2, 1, 1, 2, 1, 2, 2, 2, 1, 0.05]
        (make,) = pick.choices(made, weights)
        return encode(make())

    def _signal(self, guest: Guest) -> frames.Signal:
        entries = list(guest.place.room.relay.presence.entries())
        entry = self.chance.choice(entries) if entries and self.chance.random() < 0.9 else None
        slot = entry.slot if entry else self.chance.randrange(65536)
        member = guest.member
        generation = pair_generation(member.slot, member.incarnation, slot, entry.incarnation if entry else 1)
        if self.chance.random() < 0.1:
            generation ^= 1
        body = b'{"cand":{"candidate":"c%d"}}' % next(self.numbers)
        return frames.Signal(slot, generation, body)

    def stall(self) -> None:
        if self.guests:
            self.chance.choice(self.guests).sink.stall()

    def flow(self) -> None:
        for guest in self.guests:
            if self.chance.random() < 0.5:
                guest.sink.flow()

    def regrant(self) -> None:
        if self.guests:
            guest = self.chance.choice(self.guests)
            if not guest.member.closed:
                guest.place.room.regrant(guest.member, self._grant(guest.person.removeprefix("per_")))

    def hear(self) -> None:
        for guest in self.guests:
            guest.sink.last_heard = self.turns.now()

    def second(self) -> None:
        for place in self.places:
            place.room.sweep()
            for member in place.room.members.values():
                # Who was silent for long is told again by the first sweep after they were heard.
                silent_seconds = self.turns.now() - member.sink.last_heard
                (self.unseen.add if silent_seconds >= PRESENCE_SILENCE_SECONDS else self.unseen.discard)(member)
            assert place.room.between is not None
            place.room.between.beat()
        self.turns.advance(1.0)

    def moment(self) -> None:
        self.turns.advance(self.chance.choice([0.001, 0.02, 0.05, 0.3]))

    def mute(self) -> None:
        person = self.chance.choice([None, f"per_p{self.chance.randrange(PEOPLE)}"])
        self.chance.choice(self.places).room.mute(person, camera=self.chance.random() < 0.5)

    def pause(self) -> None:
        relay = self.chance.choice(self.places).room.relay
        if relay.paused:
            relay.resume()
        else:
            relay.paused = self.chance.random() < 0.5

    def pace(self) -> None:
        self.chance.choice(self.places).room.relay.set_pace(self.chance.choice([33, 50, 100]))

    def cut_bus(self) -> None:
        self.bus.cut = not self.bus.cut

    def die(self) -> None:
        """A node is killed; its successor takes its number."""
        if self.chance.random() < 0.1:
            at = self.chance.randrange(2)
            dead = self.places[at]
            self.bus.halves.remove(dead.room)
            self.guests = [guest for guest in self.guests if guest.place is not dead]
            self.places[at] = self._place(at)

    def tell(self) -> None:
        """Something that lasts, to everyone or to two people, on both nodes as the record would have it."""
        number, kind = next(self.numbers), self.chance.choice(list(LANES))
        to = {f"per_p{self.chance.randrange(PEOPLE)}" for _ in range(2)} if self.chance.random() < 0.4 else None
        if to is not None and kind is Kind.MSG:
            self.private[number] = to
        else:
            to = None
        body = {"sequence": number, "text": "x" * self.chance.choice([1, 100, 20_000])}
        for guest in self.guests:
            if not guest.member.closed and (to is None or guest.person in to):
                guest.expected.append(number)
        for place in self.places:
            place.room.relay.tell(kind, body, LANES[kind], number, None if to is None else frozenset(to))

    def tell_moderators(self) -> None:
        number = next(self.numbers)
        self.moderators[number] = {guest for guest in self.guests if guest.member.may("room:moderate")}
        for place in self.places:
            place.room.tell_moderators(Kind.EVENT, {"sequence": None, "report": number})

    def batch_of_nobody(self) -> None:
        """What another node never says: noise, and lies in the shape of a batch."""
        between = self.chance.choice(self.places).room.between
        assert between is not None
        slot = self.chance.choice([0, 5, NODE_SLOTS, NODE_SLOTS + 3, 9 * NODE_SLOTS + 1, 64 * NODE_SLOTS, -1, 1 << 40])
        lie = Batch(
            self.chance.choice([between.node, "node-9", "node-1", "node-x", ""]),
            self.chance.choice([0, 1, 9, 9, 9, 63, 64, -1, 1 << 40]),
            self.chance.choice([-5, 0, 1, 2, 1 << 50]),
            asks=self.chance.random() < 0.3,
            whole=self.chance.random() < 0.3,
            set=[Entry(slot, 1, "per_eve", "Eve", "owner", call=True)] if self.chance.random() < 0.5 else [],
            gone=[slot] if self.chance.random() < 0.3 else [],
            spots=[(slot, self.chance.choice(["", "thing 1", "\0"]), -1, 1 << 20, 300)]
            if self.chance.random() < 0.5
            else [],
            carets=[("draft_1", slot, b"\xff")] if self.chance.random() < 0.3 else [],
            signals=[(slot, self.chance.randrange(4), 1 << 16 | 1, LIE)] if self.chance.random() < 0.3 else [],
            captions=[(slot, "\ud7ff" * 3000, True)] if self.chance.random() < 0.3 else [],
        )
        data = bytearray(msgspec.msgpack.encode(lie))
        if self.chance.random() < 0.3:
            del data[self.chance.randrange(len(data)) :]
        between.heard(bytes(data) if self.chance.random() < 0.8 else self.chance.randbytes(30))

    # What must hold

    def look(self) -> None:
        """Read what everyone was told, let go of who was closed, and see that the room is in order."""
        for guest in self.guests:
            self._read(guest)
        for guest in [guest for guest in self.guests if guest.sink.closed is not None]:
            assert guest.member.closed
            self._gone(guest)
        for number, place in enumerate(self.places):
            room = place.room
            ours = {guest.member.slot: guest.member for guest in self.guests if guest.place is place}
            assert ours == room.members, "each slot is one member's, and every member has one"
            assert len(ours) == sum(guest.place is place for guest in self.guests)
            assert all(slot // NODE_SLOTS == number for slot in ours)
            present = {entry.slot: entry for entry in room.relay.presence.entries()}
            assert {slot for slot in present if slot // NODE_SLOTS == number} <= ours.keys(), "a ghost of our own"
            for slot, member in ours.items():
                assert (slot in present) == (member not in self.unseen), "somebody unseen, or a ghost"
                if slot in present:
                    assert (present[slot].person, present[slot].incarnation) == (
                        member.grant.member.id, member.incarnation,
                    )  # fmt: skip
                assert member.held is None or len(member.held) <= MAX_HELD
                assert member._pending_bytes <= CUT_BYTES + (1 << 20)
            assert all(slot in present for slot in room.relay.cursors.spots), "a cursor of nobody"
            assert len(room.views.numbers) == len(set(room.views.numbers.values())) <= 255

    def _read(self, guest: Guest) -> None:
        views = guest.views | set(guest.member.views)
        guest.views = {0, *guest.member.views}
        for frame in guest.sink.take():
            match frame:
                case Told(Kind.PSNAP, body):
                    guest.present = {entry["slot"]: entry for entry in body["members"]}
                case Told(Kind.PDELTA, body):
                    guest.present |= {entry["slot"]: entry for entry in body["set"]}
                    for slot in body["gone"]:
                        guest.present.pop(slot, None)
                case Told(Kind.MSG | Kind.EVENT, {"report": number}):
                    assert guest in self.moderators[number], "told to somebody who does not moderate"
                case Told(Kind.MSG | Kind.EVENT, body):
                    number = body["sequence"]
                    assert guest.person in self.private.get(number, {guest.person}), "a private message of others"
                    guest.got.append(number)
                    assert guest.got == guest.expected[: len(guest.got)], "lost, doubled, or out of order"
                case frames.Tick(cursors=cursors):
                    assert {spot[1] for spot in cursors if not spot[4] & frames.GONE} <= views, "not looked at"
                case frames.Signal(peer=sender, body=body):
                    if sender // NODE_SLOTS in {0, 1} and body != LIE:
                        peer, generation = self.signals[body.decode()]
                        assert peer == guest.member.slot, "a signal of others"
                        assert guest.member.incarnation in {generation & 0xFFFF, generation >> 16}
                case _:
                    pass

    def calm(self) -> None:
        """The network holds and everyone reads: after a while all know the same, and nothing was lost."""
        self.bus.cut = False
        self.live()
        for place in self.places:
            place.room.relay.resume()
        for _ in range(int(LOST_SECONDS) + 8):
            for guest in self.guests:
                guest.sink.flow()
            self.hear()
            self.second()
            self.look()
        everyone = {guest.member.slot for guest in self.guests}
        for place in self.places:
            present = {entry.slot: entry for entry in place.room.relay.presence.entries()}
            assert present.keys() == everyone, "presence is who is there, on every node"
        for guest in self.guests:
            entries = {entry.slot: msgspec.to_builtins(entry) for entry in guest.place.room.relay.presence.entries()}
            assert guest.present == entries, "everyone is told the same"
            assert guest.got == guest.expected, "something that lasts was lost"

    def empty(self) -> None:
        """Everyone leaves; what is left of them is no more than of a room in which nobody ever was."""
        for guest in list(self.guests):
            self._gone(guest)
        self.turns.turn()
        for _ in range(int(QUARANTINE_SECONDS) + 2):
            self.second()
        for place in self.places:
            room = place.room
            assert room.release_slots()
            assert not room._quarantine and not room.relay.cursors.spots and not room.signaling._pairs
            assert not [*room.relay.presence.entries()]

    def weight(self) -> int:
        """How many things the rooms hold on to."""
        return sum(_reachable(place.room) for place in self.places)


def _never(work: Coroutine[Any, Any, None]) -> Any:
    """Web is away: what would ask it does not begin."""
    work.close()


def _reachable(room: Room) -> int:
    """How many objects a room keeps alive, apart from its clock, its bus and code."""
    import gc

    seen: dict[int, object] = {}
    outside = (FakeTurns, Bus, type, types.ModuleType, types.FunctionType, types.MethodType, types.CodeType)
    todo: list[object] = [room]
    while todo:
        one = todo.pop()
        if id(one) in seen or isinstance(one, outside):
            continue
        seen[id(one)] = one
        todo += gc.get_referents(one)
    return len(seen)
