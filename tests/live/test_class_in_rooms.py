"""Class tools in a room without a socket: its door, mute, captions."""

import pytest

from hub.live import frames
from hub.live.closing import Closing
from hub.live.frames import Kind
from hub.live.room import DoorError, Room
from hub.live.rules import QUARANTINE_SECONDS
from tests.live.fakes import ALL, FakeTurns, enter, grant


@pytest.fixture
def turns() -> FakeTurns:
    return FakeTurns()


@pytest.fixture
def room(turns: FakeTurns) -> Room:
    return Room("ses_1", turns, "node")


def test_before_a_shut_door_stands_who_was_not_inside_a_moment_ago(room: Room, turns: FakeTurns) -> None:
    ben, _ = enter(room, turns, "ben")
    room.leave(ben)
    enter(room, turns, "ben", door="locked")
    with pytest.raises(DoorError) as shut:
        enter(room, turns, "eve", door="locked")
    assert shut.value.code == Closing.DOOR
    with pytest.raises(DoorError) as away:
        enter(room, turns, "eve", door="out")
    assert away.value.code == Closing.NOT_ALLOWED
    room.leave(next(iter(room.members.values())))
    turns.advance(QUARANTINE_SECONDS + 1)
    with pytest.raises(DoorError):
        enter(room, turns, "ben", door="lobby")


def test_a_mute_is_for_one_or_for_all_who_do_not_moderate(room: Room, turns: FakeTurns) -> None:
    voices = {"features": {"voice_chat": True}}
    ana, _ = enter(room, turns, "ana", permissions=ALL | {"room:moderate"}, **voices)
    ben, _ = enter(room, turns, "ben", **voices)
    eve, _ = enter(room, turns, "eve", **voices)
    for member in (ana, ben, eve):
        room.hear(member, frames.SetPresence(call=True, mic=True, camera=True))

    def heard() -> list[tuple[bool, bool]]:
        return [(entry.mic, entry.camera) for entry in room.relay.presence.entries()]

    room.mute("per_ben", camera=False)
    assert heard() == [(True, True), (False, True), (True, True)]
    room.mute(None, camera=True)
    assert heard() == [(True, True), (False, False), (False, False)]
    room.hear(ben, frames.SetPresence(mic=True))
    assert heard()[1] == (True, False), "a mute is no right taken away"


def test_captions_are_told_by_who_said_so_before_and_kept_by_nobody(room: Room, turns: FakeTurns) -> None:
    ana, anas = enter(room, turns, "ana", permissions=ALL | {"room:caption"})
    ben, bens = enter(room, turns, "ben")
    room.hear(ana, frames.Caption("too early"))
    room.hear(ben, frames.SetPresence(captioning=True))
    turns.turn()
    assert [sink.told(Kind.ERR)[0]["code"] for sink in (anas, bens)] == ["not_captioning", "not_allowed"]
    room.hear(ana, frames.SetPresence(captioning=True))
    turns.advance(1.0)
    assert bens.told(Kind.PDELTA)[-1]["set"][0]["captioning"] is True
    bens.stall()
    room.relay.hint(Kind.EVENT, {})
    turns.turn()
    for text, final in (("the", False), ("the gap", False), ("the gap is  at\n2886", True)):
        room.hear(ana, frames.Caption(text, final))
        turns.turn()
    bens.flow()
    turns.turn()
    assert bens.told(Kind.CAPTION) == [{"slot": ana.slot, "text": "the gap is at 2886", "final": True}]
    assert [told["text"] for told in anas.told(Kind.CAPTION)] == ["the", "the gap", "the gap is at 2886"]
    late, lates = enter(room, turns, "late")
    assert lates.told(Kind.CAPTION) == [] and late.slot == 2
    room.regrant(ana, grant("ana"))
    entry = room.relay.presence.get(ana.slot)
    assert entry is not None and not entry.captioning
    room.hear(ana, frames.Caption("x" * 251))
    turns.turn()
    assert anas.told(Kind.ERR)[-1]["code"] == "not_captioning"


def test_a_final_caption_is_not_overtaken_by_a_part_of_itself(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana", permissions=ALL | {"room:caption"})
    _, bens = enter(room, turns, "ben")
    room.hear(ana, frames.SetPresence(captioning=True))
    turns.turn()
    room.hear(ana, frames.Caption("the gap"))
    room.hear(ana, frames.Caption("the gap is open", final=True))
    turns.turn()
    assert [told["text"] for told in bens.told(Kind.CAPTION)] == ["the gap", "the gap is open"]
