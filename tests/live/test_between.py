"""A room on two nodes without a bus or a clock: what crosses, what heals, what is dropped, who is gone when."""

from __future__ import annotations

import msgspec
import pytest

from hub.live import frames
from hub.live.between import BEAT_SECONDS, LOST_SECONDS, NODE_SLOTS, Batch
from hub.live.frames import Cursor, Kind, Signal, Tick
from hub.live.presence import Entry
from hub.live.room import Room, RoomFullError
from hub.live.rules import MAX_MEMBERS, pair_generation
from tests.live.fakes import ALL, Bus, FakeSink, FakeTurns, enter


@pytest.fixture
def turns() -> FakeTurns:
    return FakeTurns()


@pytest.fixture
def bus(turns: FakeTurns) -> Bus:
    return Bus(turns)


@pytest.fixture
def two(bus: Bus) -> tuple[Room, Room]:
    """One room on two nodes that know each other."""
    here, there = bus.half(0), bus.half(1)
    bus.turns.advance(1.0)
    return here, there


def names(room: Room) -> list[str]:
    return sorted(entry.name for entry in room.relay.presence.entries())


def test_who_comes_goes_and_changes_is_seen_on_the_other_node(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    ana, _ = enter(here, bus.turns, "ana")
    ben, bens = enter(there, bus.turns, "ben")
    bus.turns.advance(0.5)
    assert names(here) == names(there) == ["Ana", "Ben"]
    assert (ana.slot // NODE_SLOTS, ben.slot // NODE_SLOTS) == (0, 1)
    here.hear(ana, frames.SetPresence(state="away"))
    bus.turns.advance(0.5)
    entry = there.relay.presence.get(ana.slot)
    assert entry is not None and entry.state == "away"
    assert any(entry["state"] == "away" for told in bens.told(Kind.PDELTA) for entry in told["set"] if "state" in entry)
    here.leave(ana)
    bus.turns.advance(0.5)
    assert names(there) == ["Ben"]


def test_who_was_there_before_is_told_to_a_node_that_comes_later(bus: Bus) -> None:
    here = bus.half(0)
    for name in ("ana", "cem"):
        enter(here, bus.turns, name)
    there = bus.half(3)
    enter(there, bus.turns, "ben")
    bus.turns.advance(1.0)
    assert names(here) == names(there) == ["Ana", "Ben", "Cem"]


def test_a_cursor_means_the_same_thing_on_both_nodes_and_goes_with_its_member(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    ana, _ = enter(here, bus.turns, "ana")
    ben, sink = enter(there, bus.turns, "ben")
    # The nodes number what is looked at each for itself.
    here.hear(ana, frames.View(("other.svg", "levels.svg")))
    there.hear(ben, frames.View(("levels.svg",)))
    bus.turns.advance(0.5)
    sink.take()
    here.hear(ana, Cursor(here.views.numbers["levels.svg"], 100, 200, 0, 1))
    bus.turns.advance(0.2)
    ticks = [frame for frame in sink.take() if isinstance(frame, Tick)]
    assert ticks[-1].cursors == ((ana.slot, there.views.numbers["levels.svg"], 100, 200, 0),)
    here.hear(ana, Cursor(here.views.numbers["other.svg"], 1, 2, 0, 2))
    bus.turns.advance(0.2)
    assert ana.slot not in there.relay.cursors.spots, "nobody here looks at the other thing"
    here.hear(ana, Cursor(here.views.numbers["levels.svg"], 5, 6, 0, 3))
    bus.turns.advance(0.2)
    assert ana.slot in there.relay.cursors.spots
    here.leave(ana)
    bus.turns.advance(0.2)
    assert ana.slot not in there.relay.cursors.spots


def test_who_comes_to_another_node_sees_where_everyone_points_already(bus: Bus) -> None:
    here = bus.half(0)
    ana, _ = enter(here, bus.turns, "ana")
    cem, _ = enter(here, bus.turns, "cem")
    here.hear(cem, frames.View(("other.svg", "levels.svg")))
    here.hear(ana, Cursor(0, 11, 22, 0, 1))
    here.hear(cem, Cursor(here.views.numbers["levels.svg"], 33, 44, 0, 1))
    bus.turns.advance(1.0)
    there = bus.half(1)
    ben, bens = enter(there, bus.turns, "ben")
    bus.turns.advance(1.0)
    assert (ana.slot, 0, 11, 22, 0) in [spot for tick in _ticks(bens) for spot in tick.cursors]
    assert cem.slot not in there.relay.cursors.spots, "nobody here looks at that"
    bens.take()
    there.hear(ben, frames.View(("levels.svg",)))
    bus.turns.advance(0.2)
    seen = [spot for tick in _ticks(bens) for spot in tick.cursors]
    assert (cem.slot, there.views.numbers["levels.svg"], 33, 44, 0) in seen, "without cem having moved again"


def _ticks(sink: FakeSink) -> list[Tick]:
    return [frame for frame in sink.frames() if isinstance(frame, Tick)]


def test_carets_that_stand_are_told_to_a_node_that_comes_later_and_kept_for_who_opens_the_draft_there(bus: Bus) -> None:
    here = bus.half(0)
    ana, _ = enter(here, bus.turns, "ana")
    assert here.between is not None
    here.between.caret("draft_1", ana.slot, b"here")
    here.between.caret("draft_2", ana.slot, b"closed")
    here.between.caret("draft_2", ana.slot, b"")
    there = bus.half(1)
    told: list[tuple[str | None, int, bytes]] = []
    there.carets = lambda draft, slot, data: told.append((draft, slot, data))
    enter(there, bus.turns, "ben")
    bus.turns.advance(1.0)
    assert there.between is not None
    assert there.between.carets_in("draft_1") == {ana.slot: b"here"}
    assert there.between.carets_in("draft_2") == {}
    here.between.caret("draft_1", ana.slot, b"there")
    bus.turns.advance(0.2)
    assert there.between.carets_in("draft_1") == {ana.slot: b"there"}
    assert told == [("draft_1", ana.slot, b"there")]
    here.leave(ana)
    bus.turns.advance(0.5)
    assert there.between.carets_in("draft_1") == {}


def test_a_crowd_costs_one_batch_a_tick(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    enter(there, bus.turns, "ben")
    movers = [enter(here, bus.turns, f"p{n}")[0] for n in range(50)]
    bus.turns.advance(1.0)
    bus.batches.clear()
    for step in range(30):
        for member in movers:
            here.hear(member, Cursor(0, step, step, 0, 0))
        bus.turns.advance(0.0333)
    batches = [batch for batch in bus.batches if batch.spots]
    assert len(batches) <= 31
    assert {len(batch.spots) for batch in batches[1:-1]} == {50}


def test_a_signal_reaches_its_peer_on_the_other_node_and_nobody_else(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    ana, anas = enter(here, bus.turns, "ana")
    ben, bens = enter(there, bus.turns, "ben")
    eve, eves = enter(there, bus.turns, "eve")
    for room, member in ((here, ana), (there, ben), (there, eve)):
        room.hear(member, frames.SetPresence(call=True))
    bus.turns.advance(1.0)
    generation = pair_generation(ana.slot, ana.incarnation, ben.slot, ben.incarnation)
    here.hear(ana, Signal(ben.slot, generation, b'{"bye":true}'))
    bus.turns.advance(0.1)
    assert [frame for frame in bens.frames() if isinstance(frame, Signal)] == [
        Signal(ana.slot, generation, b'{"bye":true}')
    ]
    assert not [frame for frame in eves.frames() if isinstance(frame, Signal)]
    here.hear(ana, Signal(ben.slot, generation + 1, b'{"bye":true}'))
    here.hear(ana, Signal(5000, generation, b'{"bye":true}'))
    bus.turns.advance(0.1)
    assert [told["code"] for told in anas.told(Kind.ERR)] == ["stale_generation", "no_such_member"]


def test_a_lost_batch_heals_by_the_next_word_of_that_node(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    enter(there, bus.turns, "ben")
    bus.second(here, there)
    bus.cut = True
    ana, _ = enter(here, bus.turns, "ana")
    bus.turns.advance(0.5)
    assert names(there) == ["Ben"]
    bus.cut = False
    for _ in range(int(BEAT_SECONDS) + 2):
        bus.second(here, there)
    assert names(there) == ["Ana", "Ben"]
    here.leave(ana)
    bus.second(here, there)
    assert names(there) == ["Ben"]


def test_a_node_that_is_silent_is_gone_within_ten_seconds_and_back_when_it_is_heard(
    two: tuple[Room, Room], bus: Bus
) -> None:
    here, there = two
    enter(here, bus.turns, "ana")
    enter(there, bus.turns, "ben")
    bus.second(here, there)
    assert names(here) == ["Ana", "Ben"]
    bus.cut = True
    for _ in range(int(LOST_SECONDS) + 1):
        bus.second(here, there)
    assert (names(here), names(there)) == (["Ana"], ["Ben"])
    bus.cut = False
    for _ in range(int(BEAT_SECONDS) + 2):
        bus.second(here, there)
    assert names(here) == names(there) == ["Ana", "Ben"]


def test_a_new_process_under_a_dead_ones_number_takes_its_place(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    enter(here, bus.turns, "ana")
    enter(there, bus.turns, "ben")
    bus.second(here, there)
    bus.halves.remove(there)
    again = bus.half(1, "node-1-again")
    enter(again, bus.turns, "cem")
    bus.second(here, again)
    assert names(here) == names(again) == ["Ana", "Cem"]


def test_a_node_speaks_of_its_own_members_only_and_nonsense_is_dropped(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    ana, _ = enter(here, bus.turns, "ana")
    bus.second(here, there)
    forged = Entry(ana.slot, 9, "per_eve", "Eve", "owner")
    assert here.between is not None
    for batch in (
        Batch("node-1", 1, 2, set=[forged]),
        Batch("node-1", 1, 2, gone=[ana.slot]),
        Batch("node-1", 1, 2, spots=[(ana.slot, "", 1, 2, 0)]),
        Batch("node-9", 0, 2, gone=[ana.slot]),
        Batch("node-9", 64, 2, set=[msgspec.structs.replace(forged, slot=64 * NODE_SLOTS)]),
    ):
        here.between.heard(msgspec.msgpack.encode(batch))
    for data in (b"", b"\x81", b"{}", msgspec.msgpack.encode({"node": 1}), b"\x81\xa4node\xa1\xff"):
        here.between.heard(data)
    assert names(here) == ["Ana"]
    assert here.relay.presence.get(ana.slot).name == "Ana"  # type: ignore[union-attr]
    assert here.relay.cursors.spots == {}


@pytest.mark.parametrize("place", [(-1, 2, 0), (1, 65536, 0), (1, 2, 256)])
def test_a_place_that_fits_no_frame_does_not_silence_the_room(
    two: tuple[Room, Room], bus: Bus, place: tuple[int, int, int]
) -> None:
    here, there = two
    _, anas = enter(here, bus.turns, "ana")
    ben, _ = enter(there, bus.turns, "ben")
    bus.second(here, there)
    assert here.between is not None
    here.between.heard(msgspec.msgpack.encode(Batch("node-1", 1, 1, spots=[(ben.slot, "", *place)])))
    there.hear(ben, Cursor(0, 7, 8, 0, 0))
    bus.turns.advance(0.2)
    ticks = [frame for frame in anas.frames() if isinstance(frame, Tick)]
    assert ticks[-1].cursors == ((ben.slot, 0, 7, 8, 0),)


def test_the_limit_of_a_room_counts_those_on_other_nodes(two: tuple[Room, Room], bus: Bus) -> None:
    here, _ = two
    elsewhere = [Entry(NODE_SLOTS + n, 1, f"per_{n}", f"P{n}", "read") for n in range(MAX_MEMBERS)]
    assert here.between is not None
    here.between.heard(msgspec.msgpack.encode(Batch("node-1", 1, 7, whole=True, set=elsewhere)))
    with pytest.raises(RoomFullError):
        enter(here, bus.turns, "ana")


def test_alone_a_node_says_that_it_is_there_and_nothing_else(bus: Bus) -> None:
    here = bus.half(0)
    ana, _ = enter(here, bus.turns, "ana")
    bus.turns.advance(1.0)
    bus.batches.clear()
    for step in range(12):
        here.hear(ana, Cursor(0, step, step, 0, 0))
        bus.second(here)
    assert 3 <= len(bus.batches) <= 5
    assert all(not (batch.set or batch.spots or batch.carets) for batch in bus.batches)
    assert isinstance(ana.sink, FakeSink)


def test_captions_cross_the_newest_that_is_not_final_and_each_that_is(two: tuple[Room, Room], bus: Bus) -> None:
    here, there = two
    ana, _ = enter(here, bus.turns, "ana", permissions=ALL | {"room:caption"})
    _, bens = enter(there, bus.turns, "ben")
    here.hear(ana, frames.SetPresence(captioning=True))
    bus.turns.advance(1.0)
    bens.take()
    for text, final in (("a", False), ("a b", True), ("c", False), ("c d", False)):
        here.hear(ana, frames.Caption(text, final))
    bus.turns.advance(0.2)
    assert [(told["text"], told["final"]) for told in bens.told(Kind.CAPTION)] == [("a b", True), ("c d", False)]


def test_members_are_told_while_other_nodes_are_out_of_reach_and_only_if_there_were_any(
    two: tuple[Room, Room], bus: Bus
) -> None:
    here, there = two
    _, anas = enter(here, bus.turns, "ana")
    enter(there, bus.turns, "ben")
    bus.turns.advance(0.5)
    bus.cut = True
    for _ in range(int(BEAT_SECONDS) + 1):
        bus.second(here, there)
    assert anas.told(Kind.APART) == [{"apart": True}]
    for _ in range(int(LOST_SECONDS) + 1):
        bus.second(here, there)
    # The other half is forgotten by now; that there is one is not, and is told to who comes in.
    assert names(here) == ["Ana"]
    _, dans = enter(here, bus.turns, "dan")
    assert dans.told(Kind.APART) == [{"apart": True}]
    bus.cut = False
    for _ in range(int(BEAT_SECONDS) + 1):
        bus.second(here, there)
    assert names(here) == ["Ana", "Ben", "Dan"]
    assert anas.told(Kind.APART)[-1] == dans.told(Kind.APART)[-1] == {"apart": False}


def test_a_room_on_one_node_is_never_apart(bus: Bus) -> None:
    here = bus.half(0)
    _, anas = enter(here, bus.turns, "ana")
    bus.cut = True
    for _ in range(int(LOST_SECONDS)):
        bus.second(here)
    assert anas.told(Kind.APART) == []
