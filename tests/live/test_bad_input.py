"""What no client of ours sends: each is refused by name, ends at most its own socket, and the room does not notice."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from hub.live.closing import MESSAGE_TOO_BIG, Closing
from hub.live.frames import (
    MAX_FRAME_BYTES,
    Cursor,
    FollowLog,
    Hello,
    Kind,
    Log,
    Pace,
    Resume,
    Say,
    SetPresence,
    Signal,
    Tick,
)
from hub.live.rules import pair_generation
from tests.live.conftest import Run
from tests.live.loopback import Client, Hub

pytestmark = pytest.mark.slow

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
MALFORMED = [vector for vector in VECTORS["malformed"] if vector["from"] == "client"]
# A frame that only the hub sends is as foreign as one of no kind, however well it is formed.
FOREIGN = [
    next(vector for vector in VECTORS["server"] if vector["frame"]["kind"] == kind)
    for kind in ("WELCOME", "PSNAP", "TICK", "ACK", "ICE", "GOAWAY")
]
OFFER = {"desc": {"type": "offer", "sdp": "v=0\r\n"}}


@contextlib.asynccontextmanager
async def quiet_room(live: Hub) -> AsyncIterator[tuple[Client, Client, Client]]:
    """Ana and Ben, who must not notice Eve; they still see each other's cursors when it is over, and nothing else."""
    async with live.member("ana") as ana, live.member("ben") as ben, live.member("eve") as eve:
        for client in (ana, ben):
            await client.say(SetPresence(call=True))
        await ben.until(lambda f: _says_of(f, 0).get("call"))
        await ana.until(lambda f: _says_of(f, 1).get("call"))
        for client in (ana, ben, eve):
            client.seen.clear()
        yield ana, ben, eve
        for at, (one, other) in enumerate(((ana, ben), (ben, ana))):
            await one.say(Cursor(0, 11, 22, 0, 0))
            await other.until(lambda f, at=at: isinstance(f, Tick) and (at, 0, 11, 22, 0) in f.cursors)  # type: ignore[misc]
        for client in (ana, ben):
            kinds = {getattr(frame, "kind", type(frame)) for frame in client.seen} - {
                Tick,
                Pace,
            }  # a busy machine paces everybody
            assert kinds <= {Kind.PDELTA, Kind.LAG}, "nobody else is told anything, except who came and went"
            assert all(_of_neither(frame.body) for frame in client.seen if getattr(frame, "kind", None) is Kind.PDELTA)
        assert {0, 1} <= set(live.room.members)


def _says_of(frame: Any, slot: int) -> dict[str, Any]:
    """What a PDELTA says of a slot."""
    if getattr(frame, "kind", None) is not Kind.PDELTA:
        return {}
    return next((entry for entry in frame.body["set"] if entry["slot"] == slot), {})


def _of_neither(delta: dict[str, Any]) -> bool:
    return {0, 1}.isdisjoint({*delta["gone"], *(entry["slot"] for entry in delta["set"])})


@pytest.mark.parametrize("vector", MALFORMED + FOREIGN, ids=lambda vector: vector["name"])
def test_every_malformed_or_foreign_frame_ends_its_own_socket_for_good(
    live: Hub, run: Run, vector: dict[str, str]
) -> None:
    async def scenario() -> None:
        async with quiet_room(live) as (_, _, eve):
            await eve.socket.send(bytes.fromhex(vector["hex"]))
            assert await eve.closed() in {Closing.INVALID, Closing.TOO_LARGE}

    run(scenario)


@pytest.mark.parametrize(
    "text",
    ["", "hello", json.dumps(OFFER), b"\xff\xfe not UTF-8"],
    ids=["nothing", "words", "json", "no text"],
)
def test_text_is_refused_and_is_no_error_of_the_servers(
    live: Hub, run: Run, caplog: pytest.LogCaptureFixture, text: str | bytes
) -> None:
    async def scenario() -> None:
        async with quiet_room(live) as (_, _, eve):
            await eve.socket.send(text, text=True)
            assert await eve.closed() == Closing.INVALID

    run(scenario)
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


@pytest.mark.parametrize(
    ("sdp_bytes", "code"),
    [
        (33 * 1024, Closing.TOO_LARGE),
        (MAX_FRAME_BYTES - 200, Closing.TOO_LARGE),
        (MAX_FRAME_BYTES * 4, MESSAGE_TOO_BIG),
    ],
)
def test_an_oversized_sdp_is_refused_and_reaches_nobody(live: Hub, run: Run, sdp_bytes: int, code: int) -> None:
    async def scenario() -> None:
        async with quiet_room(live) as (_, _, eve):
            await eve.say(SetPresence(call=True))
            offer = {"desc": {"type": "offer", "sdp": "x" * sdp_bytes}}
            await eve.say(Signal(0, pair_generation(2, 1, 0, 1), json.dumps(offer).encode()))
            assert await eve.closed() == code

    run(scenario)


def test_the_largest_sdp_that_is_allowed_is_passed_on_whole(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("ben") as ben:
            for client in (ana, ben):
                await client.say(SetPresence(call=True))
            await ben.until(lambda f: _says_of(f, 0).get("call"))
            await ana.until(lambda f: _says_of(f, 1).get("call"))
            body = json.dumps({"desc": {"type": "offer", "sdp": "x" * (32 * 1024 - 60)}}).encode()
            await ana.say(Signal(1, pair_generation(0, 1, 1, 1), body))
            assert (await ben.until(lambda frame: isinstance(frame, Signal))).body == body

    run(scenario)


@pytest.mark.parametrize(
    ("peer", "generation", "code"),
    [
        (0, pair_generation(2, 1, 0, 1), "not_in_call"),
        (1, pair_generation(2, 1, 1, 1), "not_in_call"),
        (0, pair_generation(2, 1, 0, 2), "stale_generation"),
        (0, 0, "stale_generation"),
        (2, pair_generation(2, 1, 2, 1), "no_such_member"),
        (3, pair_generation(2, 1, 3, 1), "no_such_member"),
        (65535, pair_generation(2, 1, 65535, 1), "no_such_member"),
    ],
    ids=[
        "not in the call",
        "nor with the other",
        "of a connection to come",
        "of none",
        "oneself",
        "nobody",
        "the last slot",
    ],
)
@pytest.mark.parametrize(
    "body",
    [{"cand": {"candidate": "candidate:1 1 udp 1 10.0.0.9 9 typ host", "sdpMid": "0"}}, OFFER, {"bye": True}],
    ids=["candidate", "offer", "bye"],
)
def test_a_signal_to_a_stranger_is_answered_and_passed_on_to_nobody(
    live: Hub, run: Run, peer: int, generation: int, code: str, body: dict[str, object]
) -> None:
    async def scenario() -> None:
        async with quiet_room(live) as (_, _, eve):
            await eve.say(Signal(peer, generation, json.dumps(body).encode()))
            answer = await eve.told(Kind.ERR)
            assert (answer["code"], answer["peer"]) == (code, peer)

    run(scenario)


@pytest.mark.parametrize("token", ["anas", "anas cut short", "x" * 500, "\xe4\0", ""], ids=ascii)
def test_a_place_is_not_taken_by_anothers_or_a_made_up_token(live: Hub, run: Run, token: str) -> None:
    async def scenario() -> None:
        async with quiet_room(live):
            hers = live.room.members[0].token
            shown = {"anas": hers, "anas cut short": hers[:-1]}.get(token, token)
            async with live.socket(live.web.ticket("eve")) as forger:
                await forger.say(Hello(1, resume=Resume(token=shown)))
                welcome = await forger.told(Kind.WELCOME)
                assert (welcome["slot"], welcome["incarnation"], welcome["person"]["id"]) == (3, 1, "per_eve")

    run(scenario)


def test_of_ten_who_come_at_once_with_one_ticket_one_is_let_in(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with quiet_room(live):
            ticket = live.web.ticket("cem")

            async def attempt() -> int:
                async with live.socket(ticket) as client:
                    with contextlib.suppress(ConnectionClosed):
                        await client.say(Hello(1))
                        await client.told(Kind.PSNAP)
                        return 0
                    return await client.closed()

            answers = await asyncio.gather(*(attempt() for _ in range(10)))
            assert sorted(answers) == [0] + [Closing.TICKET_EXPIRED] * 9

    run(scenario)


@pytest.mark.parametrize(
    ("lost", "attempt", "code"),
    [
        ("room:speak", Say("c1", "May I?"), "not_allowed"),
        ("room:voice", SetPresence(call=True, mic=True), "not_allowed"),
        ("room:present", SetPresence(call=True, screens=1), "not_allowed"),
        ("room:caption", SetPresence(captioning=True), "not_allowed"),
        ("job:read", FollowLog("job_1", 0, True), "not_allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_right_that_was_revoked_a_moment_ago_is_gone_from_the_open_socket_within_a_second(
    live: Hub, run: Run, lost: str, attempt: Any, code: str
) -> None:
    rights = ["job:read", "room:caption", "room:join", "room:present", "room:speak", "room:voice"]

    async def scenario() -> None:
        live.web.features["screen_sharing"] = True
        live.web.logs["job_1"] = (b"x", False)
        async with live.member("ana") as ana, live.member("eve", permissions=rights) as eve:
            await eve.say(attempt)
            await _answered(eve, attempt)
            revoked = time.monotonic()
            live.web.roles["eve"] = ("read", [right for right in rights if right != lost])
            live.web.line("grant_change", person="per_eve")
            standing = await eve.told(Kind.STANDING)
            assert time.monotonic() - revoked < 1.0
            assert lost not in standing["permissions"]
            if isinstance(attempt, SetPresence):
                ended = await ana.until(lambda f: _says_of(f, 1).get("role") == "read")
                entry = _says_of(ended, 1)
                assert not (entry.get("mic") or entry.get("screens") or entry.get("captioning")), "others see it end"
            await eve.say(msgspec.structs.replace(attempt, client_id="c2") if isinstance(attempt, Say) else attempt)
            assert (await eve.told(Kind.ERR))["code"] == code
            assert live.room.members.keys() == {0, 1}

    run(scenario)


async def _answered(eve: Client, attempt: Any) -> None:
    """Wait until the hub has done what was asked for while it was allowed."""
    match attempt:
        case Say():
            await eve.told(Kind.ACK)
        case SetPresence():
            await eve.until(lambda f: any(_says_of(f, 1).get(name) for name in ("mic", "screens", "captioning")))
        case FollowLog():
            await eve.until(lambda frame: isinstance(frame, Log))
