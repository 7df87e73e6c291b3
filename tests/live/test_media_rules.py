"""Who may be heard, seen and show a screen is the hub's decision; and who gets which relay, until when."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from hub.core.errors import InvalidInput
from hub.core.settings import load
from hub.live import frames
from hub.live.frames import Kind
from hub.live.ice import Relays, credentials
from hub.live.room import Room
from hub.live.rules import CALL_MEMBERS
from tests.live.fakes import FakeTurns, enter, grant

LISTENER = frozenset({"room:join"})
BOTH = {"voice_chat": True, "screen_sharing": True}


@pytest.fixture
def turns() -> FakeTurns:
    return FakeTurns()


@pytest.fixture
def room(turns: FakeTurns) -> Room:
    return Room("ses_1", turns)


@pytest.mark.parametrize(
    ("features", "permissions", "wish", "code"),
    [
        (BOTH, None, {"call": True, "mic": True, "camera": True, "screens": 4}, None),
        (BOTH, LISTENER, {"call": True}, None),
        (BOTH, LISTENER, {"mic": True}, "not_allowed"),
        (BOTH, LISTENER, {"camera": True}, "not_allowed"),
        (BOTH, LISTENER, {"screens": 1}, "not_allowed"),
        (BOTH, LISTENER, {"mic": False, "screens": 0}, None),
        (BOTH, None, {"screens": 5}, "invalid_input"),
        (BOTH, None, {"screens": -1}, "invalid_input"),
        ({"voice_chat": True}, None, {"screens": 1}, "not_offered"),
        ({"screen_sharing": True}, None, {"mic": True}, "not_offered"),
        ({}, None, {"call": True}, "not_offered"),
    ],
)
def test_what_one_may_send_is_asked_of_session_and_role(
    room: Room, turns: FakeTurns, features: Any, permissions: Any, wish: dict[str, Any], code: str | None
) -> None:
    who = {} if permissions is None else {"permissions": permissions}
    ana, sink = enter(room, turns, "ana", features=features, **who)
    room.hear(ana, frames.SetPresence(**wish))
    turns.advance(1)
    assert [said["code"] for said in sink.told(Kind.ERR)] == ([] if code is None else [code])
    entry = room.relay.presence.get(ana.slot)
    assert entry is not None
    told = {name: getattr(entry, name) for name in wish}
    assert told == (wish if code is None else {name: type(value)() for name, value in wish.items()})


def test_the_call_has_room_for_six_and_for_the_next_when_one_leaves(room: Room, turns: FakeTurns) -> None:
    people = [enter(room, turns, f"p{number}") for number in range(CALL_MEMBERS + 1)]
    for member, _ in people:
        room.hear(member, frames.SetPresence(call=True))
    turns.advance(1)
    assert [[said["code"] for said in sink.told(Kind.ERR)] for _, sink in people] == [[]] * CALL_MEMBERS + [
        ["call_full"]
    ]
    first, last = people[0][0], people[-1][0]
    room.hear(first, frames.SetPresence(call=False))
    room.hear(last, frames.SetPresence(call=True))
    assert [entry.slot for entry in room.relay.presence.entries() if entry.call] == [m.slot for m, _ in people[1:]]


def test_a_right_or_a_feature_that_ends_takes_microphone_and_screen_with_it(room: Room, turns: FakeTurns) -> None:
    ana, sink = enter(room, turns, "ana")
    _, other = enter(room, turns, "ben")
    room.hear(ana, frames.SetPresence(call=True, mic=True, screens=1))
    turns.advance(1)
    room.regrant(ana, grant("ana", role="read", permissions=LISTENER))
    turns.advance(1)
    [told] = [one for delta in other.told(Kind.PDELTA)[-1:] for one in delta["set"]]
    assert (told.get("mic", False), told.get("screens", 0), told["call"]) == (False, 0, True)
    assert sink.told(Kind.STANDING)[-1]["permissions"] == ["room:join"]
    room.regrant(ana, grant("ana", role="read", permissions=LISTENER, features={}))
    turns.advance(1)
    entry = room.relay.presence.get(ana.slot)
    assert entry is not None
    assert not entry.call
    assert sink.told(Kind.STANDING)[-1]["features"] == {}


def test_what_is_told_is_taken_as_a_whole_or_not_at_all(room: Room, turns: FakeTurns) -> None:
    ana, sink = enter(room, turns, "ana", permissions=LISTENER)
    room.hear(ana, frames.SetPresence(state="away", call=True, mic=True))
    turns.advance(1)
    entry = room.relay.presence.get(ana.slot)
    assert entry is not None
    assert (entry.state, entry.call, ana.passive) == ("active", False, False)
    assert len(sink.told(Kind.ERR)) == 1


def test_nobody_is_heard_who_is_not_in_the_call(room: Room, turns: FakeTurns) -> None:
    ana, _ = enter(room, turns, "ana")
    room.hear(ana, frames.SetPresence(mic=True, screens=1))
    entry = room.relay.presence.get(ana.slot)
    assert entry is not None
    assert (entry.call, entry.mic, entry.screens) == (False, False, 0)


def test_credentials_are_those_coturn_makes_of_the_shared_secret() -> None:
    username, password = credentials("north", "per_ana", 1_700_000_000)
    assert username == "1700000000:per_ana"
    assert base64.b64decode(password) == hmac.digest(b"north", b"1700000000:per_ana", hashlib.sha1)


def test_relays_are_told_at_the_door_and_again_before_they_lapse(turns: FakeTurns) -> None:
    relays = Relays(("stun:a:3478",), ("turn:a:3478",), "north", ttl_seconds=100)
    room = Room("ses_1", turns, relays=relays)
    ana, sink = enter(room, turns, "ana")
    _, muted = enter(room, turns, "ben", features={})
    [first] = sink.told(Kind.ICE)
    assert [one["urls"] for one in first["servers"]] == [["stun:a:3478"], ["turn:a:3478"]]
    assert first["servers"][1]["username"].endswith(":per_ana")
    for _ in range(80):
        turns.advance(1)
        ana.sink.last_heard = turns.now()
        room.sweep()
        turns.turn()
    assert len(sink.told(Kind.ICE)) == 2
    assert muted.told(Kind.ICE) == [], "a room without voice and screens needs no relay"
    assert msgspec.structs.replace(relays, turn=()).servers("per_ana", 0) == [{"urls": ["stun:a:3478"]}]


def test_a_relay_without_the_secret_it_shares_with_the_hub_is_refused_at_the_start() -> None:
    environ = {"COLLEGIUM_TURN_URLS": "turn:a:3478, turns:a:5349"}
    with pytest.raises(InvalidInput, match="COLLEGIUM_TURN_SECRET"):
        load(environ)
    assert load(environ | {"COLLEGIUM_TURN_SECRET": "north"}).turn_urls == environ["COLLEGIUM_TURN_URLS"]


@pytest.mark.parametrize("number", ["0", "-3"])
def test_a_room_that_shows_no_cursor_at_all_is_refused_at_the_start(number: str) -> None:
    with pytest.raises(InvalidInput, match=f"COLLEGIUM_VISIBLE_CURSORS is {number}, and the least is 1") as refused:
        load({"COLLEGIUM_VISIBLE_CURSORS": number})
    assert refused.value.path == "COLLEGIUM_VISIBLE_CURSORS"
    assert "live_cursor" in refused.value.hint
    assert load({"COLLEGIUM_VISIBLE_CURSORS": "1"}).visible_cursors == 1


def test_who_is_in_a_room_when_voice_is_switched_on_is_told_its_relays_then() -> None:
    turns = FakeTurns()
    relays = Relays(turn=("turn:turn.example:3478",), secret="s3cret", ttl_seconds=600)
    room = Room("ses_1", turns, "node", relays=relays)
    ana, sink = enter(room, turns, "ana", features={})
    assert sink.told(Kind.ICE) == []
    room.regrant(ana, grant("ana", features={"voice_chat": True}))
    turns.turn()
    room.regrant(ana, grant("ana", features=BOTH))
    turns.turn()
    [told] = sink.told(Kind.ICE)
    assert told["ttl"] == 600
