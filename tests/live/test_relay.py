"""The relay without a socket: what is merged, what is skipped, what is kept, who is cut off."""

import json

import pytest

from hub.live import frames
from hub.live.closing import Closing
from hub.live.frames import Cursor, Kind, Pace, Tick, Told
from hub.live.member import Member
from hub.live.room import Room
from hub.live.rules import CUT_BYTES
from tests.live.fakes import ALL, FakeSink, FakeTurns, enter, grant


@pytest.fixture
def turns() -> FakeTurns:
    return FakeTurns()


@pytest.fixture
def room(turns: FakeTurns) -> Room:
    return Room("ses_1", turns, "node")


def ticks(sink: FakeSink) -> list[Tick]:
    return [frame for frame in sink.frames() if isinstance(frame, Tick)]


def settle(turns: FakeTurns, *sinks: FakeSink) -> None:
    """Let everything that is due go out, and forget it."""
    turns.advance(1.0)
    for sink in sinks:
        sink.writes.clear()


def test_who_comes_in_is_welcomed_and_told_who_is_here(room: Room, turns: FakeTurns) -> None:
    enter(room, turns, "ana")
    _, ben = enter(room, turns, "ben", role="read")
    (welcome,) = ben.told(Kind.WELCOME)
    assert (welcome["slot"], welcome["role"], welcome["send_ms"], welcome["epoch"]) == (1, "read", 33, "e1")
    (snapshot,) = ben.told(Kind.PSNAP)
    assert [member["name"] for member in snapshot["members"]] == ["Ana", "Ben"]


def test_the_others_learn_who_came_and_who_went(room: Room, turns: FakeTurns) -> None:
    _, ana = enter(room, turns, "ana")
    settle(turns, ana)
    ben, _ = enter(room, turns, "ben")
    turns.advance(0.2)
    room.leave(ben)
    turns.advance(0.2)
    came, went = ana.told(Kind.PDELTA)
    assert [member["name"] for member in came["set"]] == ["Ben"]
    assert (went["set"], went["gone"]) == ([], [1])


def test_presence_is_told_at_most_five_times_a_second(room: Room, turns: FakeTurns) -> None:
    _, ana = enter(room, turns, "ana")
    ben, _ = enter(room, turns, "ben")
    settle(turns, ana)
    for n in range(50):
        room.hear(ben, frames.SetPresence(state="active" if n % 2 else "idle"))
        turns.advance(0.02)
    assert 4 <= len(ana.told(Kind.PDELTA)) <= 6


def test_a_lone_mover_is_told_in_the_same_turn(room: Room, turns: FakeTurns) -> None:
    ana, ana_sink = enter(room, turns, "ana")
    _, ben_sink = enter(room, turns, "ben")
    settle(turns, ana_sink, ben_sink)
    room.hear(ana, Cursor(0, 10, 20, 0, 1))
    turns.turn()
    (tick,) = ticks(ben_sink)
    assert tick.cursors == ((0, 0, 10, 20, 0),)
    assert ticks(ana_sink) == [], "nobody is told where they point themselves"


def test_many_movers_share_one_tick_of_33_ms(room: Room, turns: FakeTurns) -> None:
    members = [enter(room, turns, f"p{n}") for n in range(10)]
    settle(turns, *(sink for _, sink in members))
    for round_ in range(30):
        for member, _ in members:
            room.hear(member, Cursor(0, round_, member.slot, 0, round_))
            turns.advance(0.001)
        turns.advance(0.023)
    turns.advance(0.1)
    told = ticks(members[0][1])
    assert 28 <= len(told) <= 33
    assert {cursor[0] for cursor in told[-2].cursors + told[-1].cursors} == set(range(10))


def test_only_the_newest_place_within_a_tick_is_told(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    ben, _ = enter(room, turns, "ben")
    _, eve = enter(room, turns, "eve")
    settle(turns, eve)
    room.hear(ben, Cursor(0, 1, 1, 0, 0))
    turns.turn()
    eve.writes.clear()
    for x in range(5):
        room.hear(ana, Cursor(0, x, 0, 0, x))
    turns.advance(0.05)
    assert [tick.cursors for tick in ticks(eve)] == [((0, 0, 4, 0, 0),)]


def test_everything_said_in_one_turn_is_one_write(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    _, ben = enter(room, turns, "ben")
    settle(turns, ben)
    for sequence in range(1, 6):
        room.relay.tell(Kind.MSG, {"sequence": sequence}, "messages", sequence)
    room.hear(ana, Cursor(0, 1, 2, 0, 0))
    room.relay.set_pace(50)
    turns.turn()
    assert len(ben.writes) == 1
    kinds = [frame.kind if isinstance(frame, Told) else type(frame) for frame in ben.frames()]
    assert kinds == [Kind.MSG] * 5 + [Pace, Tick], "what lasts comes first, what passes last"


def test_cursors_are_told_only_to_those_who_look_there(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    ben, ben_sink = enter(room, turns, "ben")
    _, eve_sink = enter(room, turns, "eve")
    room.hear(ana, frames.View(("levels.svg",)))
    room.hear(ben, frames.View(("levels.svg", "log:1")))
    settle(turns, ben_sink, eve_sink)
    number = room.views.numbers["levels.svg"]
    room.hear(ana, Cursor(number, 7, 8, 0, 0))
    turns.advance(0.1)
    assert [tick.cursors for tick in ticks(ben_sink)] == [((0, number, 7, 8, 0),)]
    assert ticks(eve_sink) == []
    room.hear(ana, Cursor(99, 7, 8, 0, 0))
    turns.advance(0.1)
    assert len(ticks(ben_sink)) == 1, "a view that one does not look at cannot be pointed into"


def test_a_cursor_that_goes_elsewhere_is_taken_off_where_it_was(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    ben, ben_sink = enter(room, turns, "ben")
    room.hear(ana, frames.View(("a", "b")))
    room.hear(ben, frames.View(("a",)))
    a, b = room.views.numbers["a"], room.views.numbers["b"]
    room.hear(ana, Cursor(a, 1, 1, 0, 0))
    settle(turns, ben_sink)
    room.hear(ana, Cursor(b, 2, 2, 0, 1))
    turns.advance(0.1)
    assert [tick.cursors for tick in ticks(ben_sink)] == [((0, a, 0, 0, frames.GONE),)]


def test_who_comes_later_sees_where_everyone_points(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    room.hear(ana, Cursor(0, 5, 6, 0, 0))
    turns.advance(1.0)
    _, ben = enter(room, turns, "ben")
    room.hear(ana, Cursor(0, 7, 8, 0, 1))
    turns.advance(0.1)
    assert ticks(ben)[-1].cursors == ((0, 0, 7, 8, 0),)


def test_in_a_crowd_each_sees_at_most_forty_near_ones_and_the_teacher(room: Room, turns: FakeTurns) -> None:
    teacher, _ = enter(room, turns, "tom", role="teacher")
    crowd = [enter(room, turns, f"p{n}", role="student") for n in range(120)]
    room.hear(teacher, Cursor(0, 65535, 65535, 0, 0))
    for index, (member, _) in enumerate(crowd):
        room.hear(member, Cursor(0, index * 500, index * 500, 0, 0))
    turns.advance(0.1)
    room.sweep()
    for _, sink in crowd:
        sink.writes.clear()
    for index, (member, _) in enumerate(crowd):
        room.hear(member, Cursor(0, index * 500 + 1, index * 500, 0, 1))
    room.hear(teacher, Cursor(0, 65535, 65534, 0, 1))
    turns.advance(0.1)
    for index, (member, sink) in enumerate(crowd):
        seen = {cursor[0] for tick in ticks(sink) for cursor in tick.cursors}
        assert len(seen) <= 40
        assert teacher.slot in seen
        assert member.slot in seen or index in (0, 119)


def test_a_hidden_tab_is_sent_nothing_that_moves_until_it_is_seen_again(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    ben, sink = enter(room, turns, "ben")
    room.hear(ben, frames.SetPresence(state="away"))
    settle(turns, sink)
    for x in range(10):
        room.hear(ana, Cursor(0, x, 0, 0, x))
        turns.advance(0.04)
    assert ticks(sink) == []
    room.hear(ben, frames.SetPresence(state="active"))
    turns.advance(0.1)
    assert ticks(sink)[-1].cursors == ((0, 0, 9, 0, 0),)


# Backpressure


def test_a_stalled_member_is_skipped_and_nobody_else_notices(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    _, slow = enter(room, turns, "slow")
    _, ben = enter(room, turns, "ben")
    settle(turns, slow, ben)
    slow.stall()
    for x in range(100):
        room.hear(ana, Cursor(0, x, 0, 0, x % 256))
        turns.advance(0.033)
    assert len(ticks(slow)) == 1, "the write that showed the stall"
    assert len(ticks(ben)) == 100
    assert room.relay.counters.skipped_ticks == 99


def test_a_drained_member_gets_what_lasts_in_order_then_the_places_of_the_moment(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    _, slow = enter(room, turns, "slow")
    settle(turns, slow)
    slow.stall()
    for number in range(1, 6):
        room.hear(ana, Cursor(0, number, 0, 0, number))
        room.relay.tell(Kind.MSG, {"sequence": number}, "messages", number)
        turns.advance(0.05)
    room.hear(ana, frames.SetPresence(call=True, mic=True))
    turns.advance(0.5)
    slow.writes[:] = slow.writes[:1]
    slow.flow()
    turns.advance(0.1)
    assert [message["sequence"] for message in slow.told(Kind.MSG)] == [1, 2, 3, 4, 5]
    assert slow.told(Kind.PDELTA)[-1]["set"][0]["mic"]
    assert ticks(slow)[-1].cursors == ((0, 0, 5, 0, 0),)


def test_who_falls_too_far_behind_is_cut_off_and_may_come_back(room: Room, turns: FakeTurns) -> None:
    _, slow = enter(room, turns, "slow")
    _, ben = enter(room, turns, "ben")
    slow.stall()
    for number in range(1, 30):
        room.relay.tell(Kind.MSG, {"sequence": number, "text": "x" * 16_000}, "messages", number)
        turns.advance(0.01)
    assert slow.closed is not None
    assert slow.closed[0] == Closing.SLOW
    assert sum(map(len, slow.writes)) < CUT_BYTES, "what is kept for it is not kept in its buffer"
    assert len(ben.told(Kind.MSG)) == 29


def test_who_reads_nothing_for_ten_seconds_is_cut_off_even_for_little(room: Room, turns: FakeTurns) -> None:
    member, slow = enter(room, turns, "slow")
    slow.stall()
    room.relay.tell(Kind.MSG, {"sequence": 1}, "messages", 1)
    for _ in range(10):
        turns.advance(1.0)
        slow.last_heard = turns.now()
        room.sweep()
    assert slow.closed is None
    turns.advance(1.0)
    room.sweep()
    assert slow.closed is not None
    assert room.relay.counters.cut == 1
    assert member.closed


def call(room: Room, *members: Member) -> None:
    for member in members:
        room.hear(member, frames.SetPresence(call=True))


def test_signals_are_never_merged_and_too_many_kept_ones_cut(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    ben, slow = enter(room, turns, "ben")
    call(room, ana, ben)
    slow.stall()
    room.relay.tell(Kind.MSG, {"sequence": 1}, "messages", 1)
    turns.turn()
    signal = frames.Signal(ben.slot, 1 << 16 | 1, b'{"cand":null}')
    for _ in range(300):
        room.hear(ana, signal)
        turns.advance(0.02)
    assert slow.closed is not None


def test_a_paused_relay_says_nothing_and_then_what_lasts(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    _, ben = enter(room, turns, "ben")
    settle(turns, ben)
    room.relay.paused = True
    room.relay.tell(Kind.MSG, {"sequence": 1}, "messages", 1)
    room.hear(ana, Cursor(0, 3, 4, 0, 0))
    turns.advance(1.0)
    assert ben.writes == []
    room.relay.resume()
    turns.advance(0.1)
    assert len(ben.told(Kind.MSG)) == 1
    assert ticks(ben)[-1].cursors == ((0, 0, 3, 4, 0),)


# Coming back


def test_what_happens_during_a_replay_is_held_back_and_not_told_twice(room: Room, turns: FakeTurns) -> None:
    sink = FakeSink(turns)
    member = room.join(grant("ana"), sink)
    for number in (7, 8, 9):
        room.relay.tell(Kind.MSG, {"sequence": number}, "messages", number)
    turns.turn()
    assert sink.told(Kind.MSG) == []
    room.relay.go_live(member, {"messages": 8})
    room.relay.tell(Kind.MSG, {"sequence": 10}, "messages", 10)
    turns.turn()
    assert [message["sequence"] for message in sink.told(Kind.MSG)] == [9, 10]


def test_who_looks_at_a_thing_during_the_replay_is_told_its_number_once(room: Room, turns: FakeTurns) -> None:
    sink = FakeSink(turns)
    member = room.join(grant("ana"), sink)
    room.hear(member, frames.View(("artifact:x",)))
    turns.turn()
    room.relay.go_live(member, {})
    turns.turn()
    assert [frame.names for frame in sink.frames() if isinstance(frame, frames.Views)] == [((1, "artifact:x"),)]


def test_what_only_moderators_may_know_is_told_to_one_whose_replay_runs_and_only_once(
    room: Room, turns: FakeTurns
) -> None:
    sink = FakeSink(turns)
    member = room.join(grant("ana", permissions=ALL | {"room:moderate"}), sink)
    room.tell_moderators(Kind.EVENT, {"sequence": None, "event": {"what": "hand"}})
    turns.turn()
    room.relay.go_live(member, {})
    turns.turn()
    assert [body["event"] for body in sink.told(Kind.EVENT)] == [{"what": "hand"}]


def test_who_returns_with_its_token_takes_its_own_slot_and_the_old_socket_closes(room: Room, turns: FakeTurns) -> None:
    ana, old = enter(room, turns, "ana")
    enter(room, turns, "ben")
    fresh = FakeSink(turns)
    again = room.join(grant("ana"), fresh, ana.token)
    assert (again.slot, again.incarnation) == (ana.slot, 2)
    assert old.closed is not None
    assert old.closed[0] == Closing.MOVED
    room.leave(ana)
    assert room.members[again.slot] is again, "the old connection's end does not end the new one"


def test_a_token_is_its_persons_alone_and_good_once(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    assert room.join(grant("eve"), FakeSink(turns), ana.token).slot != ana.slot
    again = room.join(grant("ana"), FakeSink(turns), ana.token)
    assert room.join(grant("ana"), FakeSink(turns), ana.token).slot != again.slot


def test_a_slot_is_nobodys_for_a_minute(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    room.leave(ana)
    assert enter(room, turns, "ben")[0].slot == 1
    turns.advance(61)
    assert enter(room, turns, "eve")[0].slot == 0


def test_silence_takes_presence_after_eight_seconds_and_the_connection_after_eighteen(
    room: Room, turns: FakeTurns
) -> None:
    ana, sink = enter(room, turns, "ana")
    _, ben = enter(room, turns, "ben")

    def pass_time(seconds: float) -> None:
        turns.advance(seconds)
        ben.last_heard = turns.now()
        room.sweep()
        turns.advance(0.2)

    pass_time(7.0)
    assert ana.slot in room.relay.presence
    pass_time(1.0)
    assert ana.slot not in room.relay.presence
    assert ben.told(Kind.PDELTA)[-1]["gone"] == [ana.slot]
    sink.last_heard = turns.now()
    pass_time(0.1)
    assert ana.slot in room.relay.presence, "it was only a tunnel"
    pass_time(18.0)
    assert sink.closed is not None
    assert ben.closed is None


# What members may say


@pytest.mark.parametrize("kind", [Kind.CUR, Kind.YAWARE])
def test_cursors_and_carets_in_excess_vanish_without_punishment_short_of_a_flood(
    room: Room, turns: FakeTurns, kind: Kind
) -> None:
    ana, sink = enter(room, turns, "ana")
    for _ in range(5):
        passed = sum(room.admit(ana, kind, turns.now()) for _ in range(200))
        assert passed <= 40
        turns.advance(1)
    assert sink.closed is None
    assert sink.told(Kind.ERR) == []
    for _ in range(600):
        room.admit(ana, kind, turns.now())
    assert sink.closed is not None
    assert sink.closed[0] == Closing.FLOOD


def test_other_floods_are_answered_and_then_end_the_connection(room: Room, turns: FakeTurns) -> None:
    ana, sink = enter(room, turns, "ana")
    for _ in range(100):
        room.admit(ana, Kind.MSG, turns.now())
        turns.advance(0.05)
    assert sink.told(Kind.ERR)[0]["code"] == "too_many"
    assert sink.closed is not None
    assert sink.closed[0] == Closing.FLOOD


def test_a_signal_reaches_only_its_peer_and_says_from_whom(room: Room, turns: FakeTurns) -> None:
    ana, ana_sink = enter(room, turns, "ana")
    ben, ben_sink = enter(room, turns, "ben")
    eve, eve_sink = enter(room, turns, "eve")
    call(room, ana, ben)
    body = json.dumps({"desc": {"type": "offer", "sdp": "v=0"}}).encode()
    room.hear(ana, frames.Signal(ben.slot, 1 << 16 | 1, body))
    turns.turn()
    got = [frame for frame in ben_sink.frames() if isinstance(frame, frames.Signal)]
    assert got == [frames.Signal(ana.slot, 1 << 16 | 1, body)]
    assert not any(isinstance(frame, frames.Signal) for frame in ana_sink.frames() + eve_sink.frames())
    for sender, peer in ((eve, ben), (ben, eve)):
        room.hear(sender, frames.Signal(peer.slot, 1 << 16 | 1, body))
        turns.turn()
    assert [said["code"] for said in eve_sink.told(Kind.ERR) + ben_sink.told(Kind.ERR)] == ["not_in_call"] * 2
    assert not any(isinstance(frame, frames.Signal) for frame in eve_sink.frames()), "who is not in the call hears none"


@pytest.mark.parametrize(("peer", "generation"), [(1, 1 << 16 | 2), (1, 0), (0, 1 << 16 | 1), (77, 1 << 16 | 1)])
def test_a_signal_of_another_connection_is_not_passed_on(
    room: Room, turns: FakeTurns, peer: int, generation: int
) -> None:
    ana, sink = enter(room, turns, "ana")
    _, ben = enter(room, turns, "ben")
    room.hear(ana, frames.Signal(peer, generation, b'{"bye":true}'))
    turns.turn()
    assert sink.told(Kind.ERR)[0]["code"] in {"stale_generation", "no_such_member"}
    assert not any(isinstance(frame, frames.Signal) for frame in ben.frames())


def test_what_a_room_does_not_offer_is_not_relayed(room: Room, turns: FakeTurns) -> None:
    off = {"live_cursor": False, "voice_chat": False, "screen_sharing": False}
    ana, ana_sink = enter(room, turns, "ana", features=off)
    ben, ben_sink = enter(room, turns, "ben", features=off)
    settle(turns, ana_sink, ben_sink)
    room.hear(ana, Cursor(0, 1, 2, 0, 0))
    room.hear(ana, frames.Signal(ben.slot, 1 << 16 | 1, b'{"bye":true}'))
    turns.advance(0.1)
    assert ben_sink.writes == []
    assert ana_sink.told(Kind.ERR)[0]["code"] == "not_offered"


def test_views_are_numbered_and_numbers_nobody_needs_are_given_again(room: Room, turns: FakeTurns) -> None:
    ana, sink = enter(room, turns, "ana")
    for n in range(300):
        room.hear(ana, frames.View((f"thing {n}",)))
        turns.advance(0.3)
    assert len(room.views.numbers) == 255
    assert room.views.numbers["thing 299"] in ana.views
    assert sink.told(Kind.ERR) == []


def test_a_changed_role_is_seen_by_everyone(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    _, ben = enter(room, turns, "ben")
    settle(turns, ben)
    room.regrant(ana, grant("ana", role="read", permissions=frozenset({"room:join"})))
    turns.advance(0.2)
    assert ben.told(Kind.PDELTA)[0]["set"][0]["role"] == "read"
    assert not ana.may("room:speak")


def test_an_empty_room_keeps_nothing(room: Room, turns: FakeTurns) -> None:
    members: list[Member] = [enter(room, turns, f"p{n}")[0] for n in range(50)]
    for member in members:
        room.hear(member, Cursor(0, 1, 2, 0, 0))
        room.leave(member)
    turns.advance(61)
    assert room.release_slots()
    assert not room.relay.cursors.spots
    assert room.relay.presence.snapshot().endswith(b'"members":[]}')


def test_a_crowd_is_told_as_a_density_of_the_cursors_one_is_not_shown(turns: FakeTurns) -> None:
    room = Room("ses_1", turns, visible=10)
    people = [enter(room, turns, f"p{number}") for number in range(50)]
    for number, (member, _) in enumerate(people):
        room.hear(member, Cursor(0, number * 1300, 0, 0, 0))
    turns.advance(1)
    room.sweep()
    turns.advance(0.1)
    for _, sink in people:
        [heat] = [frame for frame in sink.frames() if isinstance(frame, frames.Heat)]
        assert (heat.view, len(heat.counts), sum(heat.counts)) == (0, heat.columns * heat.rows, 40)
        assert set(heat.counts[heat.columns :]) == {0}, "all point at the upper edge"
    for member, _ in people[10:]:
        room.leave(member)
    room.sweep()
    turns.advance(0.1)
    _, sink = people[0]
    sink.take()
    room.sweep()
    turns.advance(0.1)
    assert not any(isinstance(frame, frames.Heat) for frame in sink.take()), "ten are no crowd"


def test_who_is_behind_is_told_and_who_leads_hears_how_many_are(room: Room, turns: FakeTurns) -> None:
    moderator = frozenset({"room:join", "room:moderate"})
    _, lead = enter(room, turns, "ana", permissions=moderator)
    shows, shower = enter(room, turns, "eve")
    room.hear(shows, frames.SetPresence(call=True, screens=1))
    ben, slow = enter(room, turns, "ben")
    slow.stall()
    room.relay.tell(Kind.MSG, {"sequence": 1}, "messages", 1)
    turns.advance(0.1)
    room.sweep()
    turns.advance(0.1)
    for sink in (lead, shower):
        assert [said["behind"] for said in sink.told(Kind.LAG)] == [1]
    room.hear(shows, Cursor(0, 1, 2, 0, 0))
    turns.advance(0.1)
    slow.flow()
    room.sweep()
    room.sweep()
    turns.advance(0.1)
    assert slow.told(Kind.LAG)[-1] == {"state": "clear", "skipped": 1, "send_ms": 33}
    for sink in (lead, shower):
        assert [said["behind"] for said in sink.told(Kind.LAG)] == [1, 0], "told when it changes, not each second"
    assert ben.clear


def test_a_message_for_some_stands_between_those_for_all_and_is_written_to_no_one_else(
    room: Room, turns: FakeTurns
) -> None:
    sinks = {name: enter(room, turns, name)[1] for name in ("ana", "ben", "eve")}
    for sink in sinks.values():
        sink.take()
    for number, audience in ((1, None), (2, frozenset({"per_ana", "per_ben"})), (3, None)):
        room.relay.tell(Kind.MSG, {"change": number}, "messages", number, audience)
    turns.turn()
    numbers = {name: [body["change"] for body in sink.told(Kind.MSG)] for name, sink in sinks.items()}
    assert numbers == {"ana": [1, 2, 3], "ben": [1, 2, 3], "eve": [1, 3]}
    assert {len(sink.writes) for sink in sinks.values()} == {1}


def test_a_private_message_waits_for_who_stalls_and_in_a_pause_keeps_its_place(room: Room, turns: FakeTurns) -> None:
    _, slow = enter(room, turns, "ben")
    _, eve = enter(room, turns, "eve")
    for sink in (slow, eve):
        sink.take()
    slow.stall()
    room.relay.paused = True
    for number, audience in ((1, None), (2, frozenset({"per_ben"})), (3, None)):
        room.relay.tell(Kind.MSG, {"change": number}, "messages", number, audience)
        turns.turn()
    room.relay.resume()
    turns.turn()
    room.relay.tell(Kind.MSG, {"change": 4}, "messages", 4, frozenset({"per_ben"}))
    turns.turn()
    slow.flow()
    turns.turn()
    assert [body["change"] for body in slow.told(Kind.MSG)] == [1, 2, 3, 4]
    assert [body["change"] for body in eve.told(Kind.MSG)] == [1, 3]


def test_a_report_is_told_to_who_moderates_and_to_nobody_else(room: Room, turns: FakeTurns) -> None:
    _, ana = enter(room, turns, "ana", permissions=ALL | {"room:moderate"})
    _, ben = enter(room, turns, "ben")
    room.tell_moderators(Kind.EVENT, {"sequence": None, "event": {"kind": "for_moderators"}})
    turns.turn()
    assert [body["event"] for body in ana.told(Kind.EVENT)] == [{"kind": "for_moderators"}]
    assert ben.told(Kind.EVENT) == []
