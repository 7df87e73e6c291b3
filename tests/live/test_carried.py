"""A call above six goes to the media server: who is told what, and what becomes of those who leave or lose a right."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import jwt
import pytest

from hub.core.errors import InvalidInput
from hub.core.settings import load
from hub.live import frames
from hub.live.carried import Carried
from hub.live.frames import Kind
from hub.live.member import Member
from hub.live.record import CallMember, OutOfReachError
from hub.live.room import Room
from hub.live.rules import CALL_MEMBERS
from hub.rooms.media_server import TOKEN_SECONDS, MediaServer, sources
from tests.live.fakes import FakeSink, FakeTurns, enter, grant

BOTH = {"voice_chat": True, "screen_sharing": True}
SECRET = "s" * 40


class FakeRecord:
    """What web would say: a token for whoever asks, until `away`."""

    def __init__(self) -> None:
        self.away = False
        self.asked: list[tuple[list[CallMember], list[str]]] = []

    async def call(
        self, session: str, members: Sequence[CallMember], elsewhere: Sequence[str]
    ) -> tuple[str, dict[str, str]]:
        self.asked.append((list(members), list(elsewhere)))
        if self.away:
            raise OutOfReachError("no answer")
        return "ws://calls", {each.identity: f"for {each.identity}" for each in members if each.token}


class World:
    """A room that has a media server, and nobody in it."""

    def __init__(self) -> None:
        self.turns = FakeTurns()
        self.room = Room("ses_1", self.turns, carries=True)
        self.record = FakeRecord()
        self.work: list[Coroutine[Any, Any, None]] = []
        self.carried = Carried(self.room, self.record, self.work.append)  # type: ignore[arg-type]

    def calls(self, many: int) -> list[tuple[Member, FakeSink]]:
        """So many people, all of them in the call."""
        found = [enter(self.room, self.turns, f"p{number}", features=BOTH) for number in range(many)]
        for member, _ in found:
            self.room.hear(member, frames.SetPresence(call=True))
        self.settle()
        return found

    def settle(self) -> None:
        while self.work:
            asyncio.run(_run(self.work.pop(0)))
        self.turns.advance(1)

    def is_carried(self, member: Member) -> bool:
        entry = self.room.relay.presence.get(member.slot)
        return entry is not None and entry.carried


async def _run(work: Coroutine[Any, Any, None]) -> None:
    await work


@pytest.fixture
def world() -> World:
    return World()


def test_six_reach_each_other_and_the_seventh_takes_everyone_to_the_media_server(world: World) -> None:
    people = world.calls(CALL_MEMBERS)
    assert not any(world.is_carried(member) for member, _ in people)
    assert all(sink.told(Kind.SFU) == [] for _, sink in people)
    seventh, its_sink = enter(world.room, world.turns, "seventh", features=BOTH)
    world.room.hear(seventh, frames.SetPresence(call=True))
    world.settle()
    for member, sink in [*people, (seventh, its_sink)]:
        assert world.is_carried(member)
        [told] = sink.told(Kind.SFU)
        assert told == {"url": "ws://calls", "token": f"for {member.slot}:{member.incarnation}"}


def test_the_call_stays_there_until_the_last_has_left_and_the_next_begins_from_page_to_page(world: World) -> None:
    people = world.calls(CALL_MEMBERS + 1)
    for member, _ in people[1:]:
        world.room.hear(member, frames.SetPresence(call=False))
    world.settle()
    assert world.is_carried(people[0][0]) and not world.is_carried(people[1][0])
    assert [one.identity for one in world.record.asked[-1][0]] == [f"{people[0][0].slot}:1"]
    world.room.hear(people[0][0], frames.SetPresence(call=False))
    world.settle()
    assert world.record.asked[-1] == ([], []), "the server is told that nobody is left"
    world.room.hear(people[0][0], frames.SetPresence(call=True))
    world.settle()
    assert not world.is_carried(people[0][0])


def test_who_loses_the_right_or_leaves_is_not_among_those_the_server_may_have(world: World) -> None:
    people = world.calls(CALL_MEMBERS + 2)
    world.room.regrant(people[0][0], grant("p0", features={}))
    world.room.leave(people[1][0])
    world.settle()
    named = {one.identity for one in world.record.asked[-1][0]}
    assert named == {f"{member.slot}:1" for member, _ in people[2:]}


def test_people_on_other_nodes_are_named_so_that_they_are_not_put_out(world: World) -> None:
    people = world.calls(CALL_MEMBERS + 1)
    entry = world.room.relay.presence.get(people[0][0].slot)
    assert entry is not None
    import msgspec

    world.room.relay.presence.put(msgspec.structs.replace(entry, slot=5000, incarnation=3))
    world.carried.changed()
    world.settle()
    assert world.record.asked[-1][1] == ["5000:3"]


def test_a_server_out_of_reach_is_told_and_tried_again(world: World) -> None:
    world.record.away = True
    people = world.calls(CALL_MEMBERS + 1)
    assert {said["code"] for _, sink in people for said in sink.told(Kind.ERR)} == {"call_unreachable"}
    assert all(sink.told(Kind.SFU) == [] for _, sink in people)
    world.record.away = False
    world.turns.advance(11)
    world.carried.sweep()
    world.settle()
    assert all(len(sink.told(Kind.SFU)) == 1 for _, sink in people)


def test_without_a_media_server_the_seventh_is_refused_as_before() -> None:
    turns = FakeTurns()
    room = Room("ses_1", turns)
    for number in range(CALL_MEMBERS + 1):
        member, sink = enter(room, turns, f"p{number}", features=BOTH)
        room.hear(member, frames.SetPresence(call=True))
    turns.advance(1)
    assert [said["code"] for said in sink.told(Kind.ERR)] == ["call_full"]


@pytest.mark.parametrize(
    ("permissions", "features", "may"),
    [
        ({"room:voice", "room:present"}, BOTH, {"microphone", "camera", "screen_share", "screen_share_audio"}),
        ({"room:voice"}, BOTH, {"microphone", "camera"}),
        ({"room:present"}, BOTH, {"screen_share", "screen_share_audio"}),
        ({"room:voice", "room:present"}, {"voice_chat": True}, {"microphone", "camera"}),
        ({"room:join"}, BOTH, set()),
    ],
)
def test_a_token_lets_its_bearer_publish_what_their_role_may_and_enter_one_room(
    permissions: set[str], features: dict[str, bool], may: set[str]
) -> None:
    server = MediaServer("https://calls.example", "key", SECRET)
    found = sources(frozenset(permissions), features)
    token = server.token("ses_1", "4:1", found, 1_000)
    said = jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_nbf": False})
    assert (said["iss"], said["sub"], said["exp"]) == ("key", "4:1", 1_000 + TOKEN_SECONDS)
    grants = said["video"]
    assert (grants["room"], grants["roomJoin"], grants["canPublishData"]) == ("ses_1", True, False)
    assert set(grants["canPublishSources"]) == may and grants["canPublish"] == bool(may)
    assert "roomAdmin" not in grants


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"COLLEGIUM_LIVEKIT_URL": "wss://calls.example"}, "begins with https"),
        ({"COLLEGIUM_LIVEKIT_URL": "https://calls.example"}, "COLLEGIUM_LIVEKIT_KEY"),
        ({"COLLEGIUM_LIVEKIT_URL": "https://c", "COLLEGIUM_LIVEKIT_KEY": "k", "COLLEGIUM_LIVEKIT_SECRET": "x"}, "32"),
    ],
)
def test_a_media_server_that_cannot_be_used_is_refused_at_the_start(settings: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        load(settings)
