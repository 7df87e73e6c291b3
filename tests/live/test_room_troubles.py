"""What the fuzz of a whole room found, each by itself."""

import pytest

from hub.live import frames
from hub.live.between import NODE_SLOTS
from hub.live.closing import may_reconnect
from hub.live.frames import Kind
from hub.live.room import Room, RoomFullError
from hub.live.rules import MAX_MEMBERS, QUARANTINE_SECONDS
from tests.live.fakes import FakeSink, FakeTurns, enter, grant


@pytest.fixture
def turns() -> FakeTurns:
    return FakeTurns()


@pytest.fixture
def room(turns: FakeTurns) -> Room:
    return Room("ses_1", turns, "node")


def test_who_drains_in_a_pause_is_told_after_it_who_had_gone_before(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    _, ben = enter(room, turns, "ben")
    turns.advance(1.0)
    ben.stall()
    room.relay.tell_all(b"\x82\x01\x70")
    turns.turn()
    room.leave(ana)
    turns.advance(0.5)
    room.relay.paused = True
    ben.writes.clear()
    ben.flow()
    turns.advance(0.5)
    room.relay.resume()
    turns.advance(0.5)
    assert [delta["gone"] for delta in ben.told(Kind.PDELTA)] == [[ana.slot]]


def test_who_comes_in_a_pause_is_told_after_it_what_is_not_in_their_replay_and_nothing_twice(
    room: Room, turns: FakeTurns
) -> None:
    _, ben = enter(room, turns, "ben")
    room.relay.paused = True
    room.relay.tell(Kind.MSG, {"sequence": 5}, "messages", 5)
    sink = FakeSink(turns)
    member = room.join(grant("ana", sequence=5), sink)
    room.relay.tell(Kind.MSG, {"sequence": 6}, "messages", 6)
    room.relay.go_live(member, {"messages": 5})
    room.relay.tell(Kind.MSG, {"sequence": 7}, "messages", 7)
    turns.turn()
    room.relay.resume()
    turns.turn()
    assert [message["sequence"] for message in sink.told(Kind.MSG)] == [6, 7]
    assert [message["sequence"] for message in ben.told(Kind.MSG)] == [5, 6, 7]


def test_two_new_names_never_share_the_one_number_that_is_left(room: Room, turns: FakeTurns) -> None:
    for n in range(32):
        member, _ = enter(room, turns, f"p{n}")
        room.hear(member, frames.View(tuple(f"thing {n} {at}" for at in range(8 if n < 31 else 7))))
    ana, sink = enter(room, turns, "ana")
    assert len(room.views.numbers) == 255
    room.hear(member, frames.View(tuple(f"thing 31 {at}" for at in range(6))))
    room.hear(ana, frames.View(("one", "two")))
    turns.turn()
    assert sink.told(Kind.ERR)[0]["code"] == "too_many_views"
    assert len(set(room.views.numbers.values())) == 255


def test_a_room_whose_slots_rest_for_a_minute_is_no_room_that_is_full(room: Room, turns: FakeTurns) -> None:
    for _ in range(NODE_SLOTS):
        member, _ = enter(room, turns, "ana")
        room.leave(member)
    with pytest.raises(RoomFullError) as refused:
        enter(room, turns, "ben")
    assert may_reconnect(refused.value.code)
    turns.advance(QUARANTINE_SECONDS + 1)
    for number in range(MAX_MEMBERS):
        enter(room, turns, f"p{number}")
    with pytest.raises(RoomFullError) as full:
        enter(room, turns, "one too many")
    assert not may_reconnect(full.value.code)
