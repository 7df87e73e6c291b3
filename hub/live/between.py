"""A room on several nodes: what this node says of it to the others, and what it hears from them.

Only what is never stored crosses here: who is where, cursors, carets, signals. What lasts (messages, edits, hands)
every node has from the record. A node speaks of its own members only, whose slots lie in a range of its own, in one
batch a room and tick; each batch that changes presence has the next number, so whoever missed one asks for everyone
again, and is told where they point too. What everyone elsewhere points at is kept by name, and so are their carets,
for whoever here comes to look at it later. A node that is not heard for a few seconds is gone, and its members with
it, until it is heard again.

It knows no Redis and no clock of its own. Whoever can write to Redis can put cursors and people into rooms: the bus is
of the hub's own processes, and is kept from everybody else.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Annotated, Any, Protocol

import msgspec
import structlog

from hub.live.frames import GONE, Cursor, Signal
from hub.live.member import Member
from hub.live.presence import Entry
from hub.live.relay import Relay
from hub.live.rules import CAPTION_CHARACTERS, pair_generation
from hub.live.signaling import passed_on

log = structlog.get_logger()
NODES = 64
NODE_SLOTS = 1024  # NODES * NODE_SLOTS are all slots there are
BATCH_SECONDS = 0.033
BEAT_SECONDS = 3.0
LOST_SECONDS = 9.0
ASK_SECONDS = 1.0
MOST_SIGNALS = 512
MAX_FOLLOWED = 8  # drafts by one member

# What is heard goes into frames, and one that cannot be packed would silence the whole room.
Part = Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
Flags = Annotated[int, msgspec.Meta(ge=0, le=0xFF)]
Words = Annotated[str, msgspec.Meta(max_length=CAPTION_CHARACTERS)]

Publish = Callable[[str, bytes], Awaitable[bool]]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one node says of one room in one tick. `version` counts the batches that changed presence."""

    node: str
    number: int
    version: int
    asks: bool = False  # for everyone of the receiver
    whole: bool = False  # `set` is everyone of the sender
    set: list[Entry] = []
    gone: list[int] = []
    spots: list[tuple[int, str, Part, Part, Flags]] = []  # slot, name of the thing looked at, x, y, flags
    carets: list[tuple[str, int, bytes]] = []  # draft, slot, awareness update
    signals: list[tuple[int, int, int, bytes]] = []  # from, to, generation, signal
    captions: list[tuple[int, Words, bool]] = []  # slot, text, final


class Peer(msgspec.Struct):
    """Another node that has this room."""

    number: int
    heard_at: float
    version: int = -1


class Here(Protocol):
    """The room's half on this node, as far as it is spoken of."""

    session: str
    relay: Relay

    @property
    def members(self) -> dict[int, Member]: ...

    def view_number(self, name: str) -> int | None: ...

    def view_name(self, number: int) -> str: ...

    def tell_apart(self, *, apart: bool) -> None: ...

    def tell_caption(self, slot: int, text: str, *, final: bool) -> None: ...

    def caret_of(self, draft: str | None, slot: int, data: bytes) -> None: ...


class Between:
    """One room's link to its halves elsewhere."""

    def __init__(self, here: Here, node: str, number: int, publish: Publish, spawn: Spawn) -> None:
        self.here = here
        self.node = node
        self.number = number
        self.peers: dict[str, Peer] = {}
        self.apart = False  # whether there are others whom nothing reaches now
        self._publish = publish
        self._spawn = spawn
        self._version = 0
        self._changed: set[int] = set()
        self._spots: dict[int, tuple[int, str, int, int, int]] = {}
        self._carets: dict[tuple[str, int], bytes] = {}
        # What stands: the carets of members here, and by slot what those elsewhere point at and where they write.
        self._our_carets: dict[tuple[str, int], bytes] = {}
        self._their_spots: dict[int, tuple[str, int, int, int]] = {}
        self._their_carets: dict[int, dict[str, bytes]] = {}
        self._signals: list[tuple[int, int, int, bytes]] = []
        self._captions: list[tuple[int, str, bool]] = []
        self._asks = self._answers = False
        self._due = self._sending = False
        self._asked_at = self._beat_at = float("-inf")

    # What is told to others

    def changed(self, slot: int) -> None:
        """A member of this node came, went, or is otherwise than before."""
        self._changed.add(slot)
        self._later()

    def moved(self, slot: int, view: str, x: int, y: int, flags: int) -> None:
        """A member's cursor; only the newest place of each is told."""
        if self.peers:
            self._spots[slot] = (slot, view, x, y, flags)
            self._later()

    def caret(self, draft: str, slot: int, data: bytes) -> None:
        """A member's caret in a draft; empty data takes it away."""
        if data:
            self._our_carets[draft, slot] = data
        else:
            self._our_carets.pop((draft, slot), None)
        if self.peers:
            self._carets[draft, slot] = data
            self._later()

    def looked_at(self, names: Iterable[str]) -> None:
        """Somebody here looks at these for the first time: whoever elsewhere points there is seen at once."""
        for name in names:
            for slot, spot in self._their_spots.items():
                if spot[0] == name:
                    self._show(slot, spot)

    def carets_in(self, draft: str) -> dict[int, bytes]:
        """By slot, the carets of members elsewhere in a draft that somebody here opens."""
        return {slot: carets[draft] for slot, carets in self._their_carets.items() if draft in carets}

    def signal(self, sender: int, signal: Signal) -> bool:
        """Hand a signal to the node of its peer; False when too many wait."""
        if len(self._signals) >= MOST_SIGNALS:
            return False
        self._signals.append((sender, signal.peer, signal.generation, signal.body))
        self._soon()
        return True

    def caption(self, slot: int, text: str, final: bool) -> None:
        """Words for what a member says; of those that are not final the newest."""
        if self.peers:
            self._captions = [one for one in self._captions if one[2] or one[0] != slot][-MOST_SIGNALS:]
            self._captions.append((slot, text, final))
            self._later()

    def ask(self) -> None:
        """Ask the others who is with them, at most once a second."""
        now = self.here.relay.turns.now()
        if now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            self._asks = True
            self._soon()

    def beat(self) -> None:
        """Once a second: say that this node is there, and take away those that are not."""
        now = self.here.relay.turns.now()
        for name, peer in list(self.peers.items()):
            if now - peer.heard_at >= LOST_SECONDS:
                self._lose(name)
        if now - self._beat_at >= BEAT_SECONDS:
            self._soon()

    def close(self) -> None:
        """Nobody of this room is here any more."""
        if self.peers:
            self._changed.clear()
            self._spawn(self._send(Batch(self.node, self.number, self._version, whole=True)))

    def _later(self) -> None:
        if not self._due and not self._sending:
            self._due = True
            self.here.relay.turns.later(BATCH_SECONDS, self._flush)

    def _soon(self) -> None:
        self.here.relay.turns.soon(self._flush)

    def _flush(self) -> None:
        self._due = False
        if self._sending:
            return  # What is newer then goes when this has gone: a slow bus is never waited for.
        presence = self.here.relay.presence
        changed, self._changed = self._changed, set()
        if changed:
            self._version += 1
        whole, self._answers = self._answers, False
        asks, self._asks = self._asks, False
        spots, self._spots = self._spots, {}
        carets, self._carets = self._carets, {}
        if whole:
            # As a batch of someone who has just come asks for: what stands, and over it what is newest.
            spots = {**self._our_spots(), **spots}
            carets = {**self._our_carets, **carets}
        signals, self._signals = self._signals, []
        captions, self._captions = self._captions, []
        slots = self.here.members.keys() if whole else changed
        if not self.peers and not asks and not whole:
            # Alone: whoever comes asks first. Only that this node is there is said now and then.
            slots = set()
        entries = [entry for slot in slots if (entry := presence.get(slot)) is not None]
        batch = Batch(
            node=self.node,
            number=self.number,
            version=self._version,
            asks=asks,
            whole=whole,
            set=entries,
            gone=[] if whole else [slot for slot in slots if slot not in presence],
            spots=list(spots.values()),
            carets=[(draft, slot, data) for (draft, slot), data in carets.items()],
            signals=signals,
            captions=captions,
        )
        self._sending = True
        self._spawn(self._send(batch))

    def _our_spots(self) -> dict[int, tuple[int, str, int, int, int]]:
        found = self.here.relay.cursors.spots
        ours = (found[slot] for slot in self.here.members if slot in found)
        return {slot: (slot, self.here.view_name(view), x, y, flags) for slot, view, x, y, flags in ours}

    async def _send(self, batch: Batch) -> None:
        try:
            self._beat_at = self.here.relay.turns.now()
            self._sent(await self._publish(f"room:{self.here.session}", msgspec.msgpack.encode(batch)))
        finally:
            self._sending = False
            if self._changed or self._spots or self._carets or self._captions:
                self._later()
            if self._signals or self._asks or self._answers:
                self._soon()

    def _sent(self, reached: bool) -> None:
        """Members are told while the other halves are out of reach; those are forgotten meanwhile, the fact is not."""
        apart = not reached and (self.apart or bool(self.peers))
        if apart != self.apart:
            self.apart = apart
            self.here.tell_apart(apart=apart)

    # What is heard from others

    def heard(self, data: bytes) -> None:
        """A batch of another node, or nonsense, which is dropped."""
        try:
            batch = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("live.batch_nonsense", error=str(error))
            return
        if batch.node == self.node or batch.number == self.number or not 0 <= batch.number < NODES:
            return
        if not all(self._theirs(batch, slot) for slot in _slots(batch)):
            log.warning("live.batch_of_others_slots", node=batch.node)
            return
        peer = self._peer(batch)
        if batch.asks:
            self._answers = True
            self._soon()
        if batch.whole:
            staying = {entry.slot for entry in batch.set}
            self._take(batch.set, [slot for slot in self._slots_of(batch.number) if slot not in staying])
            peer.version = batch.version
        elif batch.set or batch.gone:
            if batch.version == peer.version + 1:
                self._take(batch.set, batch.gone)
                peer.version = batch.version
            else:
                self.ask()
        elif batch.version != peer.version:
            self.ask()
        self._point(batch)

    def _peer(self, batch: Batch) -> Peer:
        now = self.here.relay.turns.now()
        peer = self.peers.get(batch.node)
        if peer is None:
            for name, other in list(self.peers.items()):
                if other.number == batch.number:
                    self._lose(name)  # That process is dead: another has its range now.
            peer = self.peers[batch.node] = Peer(batch.number, now)
            self._asked_at = float("-inf")
            self.ask()
        peer.heard_at = now
        return peer

    @staticmethod
    def _theirs(batch: Batch, slot: int) -> bool:
        return slot // NODE_SLOTS == batch.number

    def _slots_of(self, number: int) -> list[int]:
        return [entry.slot for entry in self.here.relay.presence.entries() if entry.slot // NODE_SLOTS == number]

    def _take(self, entries: list[Entry], gone: list[int]) -> None:
        relay = self.here.relay
        changed = False
        for entry in entries:
            changed |= relay.presence.put(entry)
        for slot in gone:
            changed |= relay.presence.remove(slot)
            if relay.cursors.leave(slot):
                relay.tick_wanted()
            self.here.caret_of(None, slot, b"")
            self._their_spots.pop(slot, None)
            self._their_carets.pop(slot, None)
        if changed:
            relay.presence_changed()

    def _lose(self, name: str) -> None:
        peer = self.peers.pop(name)
        self._take([], self._slots_of(peer.number))

    def _point(self, batch: Batch) -> None:
        relay = self.here.relay
        for slot, view, x, y, flags in batch.spots:
            if slot in relay.presence:
                self._their_spots[slot] = (view, x, y, flags)
                self._show(slot, self._their_spots[slot])
        for draft, slot, data in batch.carets:
            if slot in relay.presence:
                self._write(draft, slot, data)
        for slot, text, final in batch.captions:
            if slot in relay.presence:
                self.here.tell_caption(slot, text, final=final)
        for sender, peer, generation, body in batch.signals:
            member, entry = self.here.members.get(peer), relay.presence.get(sender)
            if member is None or entry is None:
                continue
            if generation == pair_generation(sender, entry.incarnation, peer, member.incarnation):
                member.owe_signal(passed_on(sender, Signal(peer, generation, body)))
                relay.soon()

    def _write(self, draft: str, slot: int, data: bytes) -> None:
        carets = self._their_carets.setdefault(slot, {})
        if not data:
            carets.pop(draft, None)
        elif draft in carets or len(carets) < MAX_FOLLOWED:
            carets[draft] = data
        self.here.caret_of(draft, slot, data)

    def _show(self, slot: int, spot: tuple[str, int, int, int]) -> None:
        """Put somebody's cursor where they point, if anybody here looks at that."""
        relay, (view, x, y, flags) = self.here.relay, spot
        number = self.here.view_number(view)
        if number is None or flags & GONE:
            relay.cursors.leave(slot)
        else:
            relay.cursors.move(slot, Cursor(number, x, y, flags, 0))
        relay.tick_wanted()


_decoder = msgspec.msgpack.Decoder(Batch)


def _slots(batch: Batch) -> set[int]:
    """All slots a batch speaks for."""
    return {
        *(entry.slot for entry in batch.set),
        *batch.gone,
        *(spot[0] for spot in batch.spots),
        *(caret[1] for caret in batch.carets),
        *(signal[0] for signal in batch.signals),
        *(caption[0] for caption in batch.captions),
    }
