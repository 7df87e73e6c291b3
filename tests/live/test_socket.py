"""The socket end to end on loopback: who may open it, what is told through it, and when it is closed."""

import asyncio
import contextlib
import itertools
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hub.live import frames
from hub.live.closing import Closing
from hub.live.frames import Cursor, Hello, Kind, Resume, Say, SetPresence, Tick, Told
from hub.live.protocol import encode
from tests.live.conftest import Run
from tests.live.loopback import Hub, hub

pytestmark = pytest.mark.slow


def test_two_members_see_each_other_and_each_others_cursors(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("ben") as ben:
            came = await ana.told(Kind.PDELTA)
            assert [member["name"] for member in came["set"]] == ["Ben"]
            await ana.say(frames.View(("levels.svg",)))
            await ben.say(frames.View(("levels.svg",)))
            views = await ben.until(lambda frame: isinstance(frame, frames.Views))
            ((number, name),) = views.names
            assert name == "levels.svg"
            await ana.say(Cursor(number, 100, 200, 0, 1))
            tick = await ben.until(lambda frame: isinstance(frame, Tick))
            assert tick.cursors == ((0, number, 100, 200, 0),)

    run(scenario)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:{port}", True),
        ("http://localhost:{port}", True),
        ("https://127.0.0.1:{port}", False),
        ("http://127.0.0.1:1", False),
        ("http://127.0.0.1:{port}.evil.example", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_pages_of_this_hub_may_open_a_socket(
    live: Hub, run: Run, caplog: pytest.LogCaptureFixture, origin: str | None, allowed: bool
) -> None:
    async def scenario() -> None:
        ticket = live.web.ticket("ana")
        headers = {} if origin is None else {"Origin": origin.format(port=live.port)}
        try:
            async with connect(live.url(ticket), additional_headers=headers, ping_interval=None):
                assert allowed
        except InvalidStatus as refused:
            assert not allowed
            assert refused.response.status_code == 403
            assert b"wrong_origin" in (refused.response.body or b"")
            assert ticket in live.web.tickets, "a foreign page does not even spend the ticket"
            await asyncio.sleep(0)

    run(scenario)
    assert caplog.messages == [], "a refusal is no error of the server's"


@pytest.mark.parametrize("pieces", [[], [1], [3, 9], [20, 21], list(range(1, 80))], ids=str)
def test_frames_are_taken_in_order_however_they_arrive(live: Hub, run: Run, pieces: list[int]) -> None:
    """Short frames are taken apart here, all else by the library: both see each byte once, in order."""

    def masked(payload: bytes, *, opcode: int = 2, last: bool = True) -> bytes:
        mask = b"\x01\x02\x03\x04"
        size = len(payload)
        head = bytes((0x80 * last | opcode, 0x80 | size)) if size < 126 else b"\x82\xfe" + size.to_bytes(2, "big")
        return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))

    def ping(number: int) -> bytes:
        return masked(encode(frames.Ping(number.to_bytes(8, "big"))))

    whole = encode(frames.Ping((3).to_bytes(8, "big")))
    sent = [
        ping(1), ping(2), masked(whole[:4], last=False), masked(whole[4:], opcode=0), masked(b"hi", opcode=9), ping(4),
        masked(encode(frames.View(tuple("v" * 20 + str(n) for n in range(8))))), ping(5),
    ]  # fmt: skip

    async def scenario() -> None:
        async with live.member("ana") as ana:
            raw = b"".join(sent)
            for start, end in itertools.pairwise([0, *(piece for piece in pieces if piece < len(raw)), len(raw)]):
                ana.socket.transport.write(raw[start:end])
                await asyncio.sleep(0.001)
            marks = [(await ana.until(lambda frame: isinstance(frame, frames.Pong))).mark[-1] for _ in range(5)]
            assert marks == [1, 2, 3, 4, 5]
            assert len(live.room.members[0].views) == 8

    run(scenario)


def test_a_ticket_opens_one_socket(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        ticket = live.web.ticket("ana")
        async with live.socket(ticket) as first:
            await first.say(Hello(1))
            await first.told(Kind.WELCOME)
            async with live.socket(ticket) as second:
                assert await second.closed() == Closing.TICKET_EXPIRED

    run(scenario)


def test_without_a_ticket_or_without_web_the_close_code_says_what_to_do(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.socket("") as nobody:
            assert await nobody.closed() == Closing.NOT_SIGNED_IN
        ticket = live.web.ticket("ana")
        live.web.roles.clear()
        async with live.socket(ticket) as revoked:
            assert await revoked.closed() == Closing.NOT_ALLOWED
        ticket = live.web.ticket("ana")
        live.web.away = True
        async with live.socket(ticket) as early:
            assert await early.closed() == Closing.UNAVAILABLE

    run(scenario)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Closing.INVALID),
        (b"\xee", Closing.INVALID),
        (b"\x10\x00", Closing.INVALID),
        (b'\x01{"proto":9}', Closing.VERSION),
        (b'\x01{"proto":1,"x":1}', Closing.INVALID),
        ("text", Closing.INVALID),
        (b"\x01" + b" " * 2000, Closing.TOO_LARGE),
    ],
)
def test_a_first_frame_that_is_no_hello_ends_the_socket(live: Hub, run: Run, data: bytes | str, code: Closing) -> None:
    async def scenario() -> None:
        async with live.socket(live.web.ticket("ana")) as client:
            await client.socket.send(data)
            assert await client.closed() == code
            assert live.web.session not in live.node.places

    run(scenario)


@pytest.mark.parametrize("data", [b"\x11\x00\x00\x00", b'\x30{"client_id":1}', b'\x01{"proto":1}', b"\x10" + b"\0" * 9])
def test_a_malformed_frame_ends_only_its_own_socket(live: Hub, run: Run, data: bytes) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("eve") as eve:
            await eve.socket.send(data)
            assert 4500 <= await eve.closed() < 4600
            gone = await ana.until(lambda f: getattr(f, "kind", None) is Kind.PDELTA and f.body["gone"])
            assert gone.body["gone"] == [1]
            await ana.say(frames.Ping(b"12345678"))
            assert (await ana.until(lambda frame: isinstance(frame, frames.Pong))).mark == b"12345678"

    run(scenario)


def test_chat_is_kept_acknowledged_and_told_once_in_order(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("ben") as ben:
            for n in range(5):
                await ana.say(Say(f"c{n}", f"line {n}"))
            acknowledged = [await ana.told(Kind.ACK) for _ in range(5)]
            assert [(ack["client_id"], ack["sequence"]) for ack in acknowledged] == [(f"c{n}", n + 1) for n in range(5)]
            heard = [await ben.told(Kind.MSG) for _ in range(5)]
            assert [message["text"] for message in heard] == [f"line {n}" for n in range(5)]
            assert heard[0]["author"]["name"] == "Ana"
            assert live.web.posted[0] == ("sign_in:ana", f"say-{live.web.session}-c0"), "in her name, under her own id"
            await asyncio.sleep(0.4)
            await ben.say(SetPresence(call=True, mic=True))
            await ben.until(lambda f: getattr(f, "kind", None) is Kind.PDELTA and f.body["set"][0].get("mic"))
            assert sum(getattr(frame, "kind", None) is Kind.MSG for frame in ben.seen) == 5, (
                "the ledger told nothing twice"
            )

    run(scenario)


def test_saying_it_again_under_the_same_id_says_it_once(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana:
            await ana.say(Say("c1", "hello"))
            await ana.say(Say("c1", "hello"))
            assert [(await ana.told(Kind.ACK))["sequence"] for _ in range(2)] == [1, 1]
            assert len(live.web.messages) == 1

    run(scenario)


@pytest.mark.parametrize(
    ("text", "permissions", "code"),
    [
        ("hello", ["room:join"], "not_allowed"),
        ("   ", ["room:join", "room:speak"], "invalid_input"),
        ("x" * 4001, ["room:join", "room:speak"], "too_large"),
    ],
)
def test_who_may_not_speak_and_what_is_no_message_is_refused(
    live: Hub, run: Run, text: str, permissions: list[str], code: str
) -> None:
    async def scenario() -> None:
        async with live.member("ana", "read", permissions=permissions) as ana:
            await ana.say(Say("c1", text))
            refusal = await ana.told(Kind.ERR)
            assert (refusal["code"], refusal["client_id"]) == (code, "c1")
            assert live.web.posted == [], "web need not be asked"

    run(scenario)


def test_a_message_is_retried_while_web_is_away(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana:
            live.web.away = True
            await ana.say(Say("c1", "hello"))
            await asyncio.sleep(0.3)
            live.web.away = False
            assert (await ana.told(Kind.ACK))["sequence"] == 1

    run(scenario)


def test_a_revoked_member_is_closed_within_a_second_and_the_others_stay(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("eve") as eve:
            del live.web.roles["eve"]
            live.web.line("grant_revoke", person="per_eve")
            started = time.monotonic()
            assert await eve.closed() == Closing.NOT_ALLOWED
            assert time.monotonic() - started < 1.0
            await ana.say(frames.Ping(b"12345678"))
            await ana.until(lambda frame: isinstance(frame, frames.Pong))

    run(scenario)


@pytest.mark.parametrize("action", ["token_revoke", "link_revoke", "sign_out", "account_change", "session_share"])
def test_every_way_to_lose_a_right_reaches_the_socket(live: Hub, run: Run, action: str) -> None:
    async def scenario() -> None:
        async with live.member("eve") as eve:
            del live.web.roles["eve"]
            elsewhere = action in {"token_revoke", "sign_out", "account_change"}
            live.web.line(action, None if elsewhere else live.web.session)
            async with asyncio.timeout(1.0):
                assert await eve.closed() == Closing.NOT_ALLOWED

    run(scenario)


def test_what_ends_by_the_clock_without_a_line_ends_soon(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("guest", "read") as guest:
            del live.web.roles["guest"]
            async with asyncio.timeout(4.5):
                assert await guest.closed() == Closing.NOT_ALLOWED

    run(scenario)


def test_a_narrowed_role_holds_on_the_open_socket(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ben") as ben:
            live.web.roles["ben"] = ("read", ["room:join"])
            live.web.line("grant_change", person="per_ben")
            await ben.until(lambda f: getattr(f, "kind", None) is Kind.PDELTA and f.body["set"][0]["role"] == "read")
            await ben.say(Say("c1", "still here?"))
            assert (await ben.told(Kind.ERR))["code"] == "not_allowed"

    run(scenario)


def test_a_node_that_cannot_read_the_ledger_stops_delivering(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("ben") as ben:
            live.web.away = True
            while live.node.follower.current:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.15)
            await ana.say(Cursor(0, 1, 2, 0, 0))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.4):
                    await ben.until(lambda frame: isinstance(frame, Tick))
            live.web.away = False
            tick = await ben.until(lambda frame: isinstance(frame, Tick))
            assert tick.cursors == ((0, 0, 1, 2, 0),)

    run(scenario)


def test_news_of_the_ledger_reach_the_room(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana:
            live.web.line("artifact_versioning", "ses_other")
            live.web.line("artifact_versioning", path="levels.svg")
            event = await ana.told(Kind.EVENT)
            assert (event["sequence"], event["facts"]) == (live.web.head, {"path": "levels.svg"})

    run(scenario)


def test_who_returns_is_told_what_it_missed_and_nothing_twice(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        live.web.line("job_submit")
        seen = live.web.head
        for n in range(1, 4):
            live.web.keep("ben", f"line {n}")
        live.web.line("job_observed")
        while live.node.follower.at != live.web.head:
            await asyncio.sleep(0.01)
        async with live.member("ana", resume=Resume("e1", 1, seen)) as ana:
            replay = await ana.told(Kind.REPLAY)
            assert [message["text"] for message in replay["messages"]] == ["line 2", "line 3"]
            assert (replay["after"], replay["to"], replay["more"]) == (1, 3, False)
            assert (await ana.told(Kind.EVENT))["action"] == "job_observed"
            await ana.say(Say("c1", "back"))
            assert (await ana.told(Kind.MSG))["sequence"] == 4

    run(scenario)


def test_what_is_said_while_a_replay_is_read_is_told_once(live: Hub, run: Run) -> None:
    """A replay may know more than its node has told: 300 who came back after a kill heard some messages twice."""

    async def scenario() -> None:
        async with live.member("ben") as ben:
            heard = []
            live.web.keep("cem", "first")
            live.web.talkative = True
            for number in range(5):
                async with live.member("ana", resume=Resume("e1", 0, live.web.head)) as ana:
                    heard = [message["change"] for message in (await ana.told(Kind.REPLAY))["messages"]]
                    await ana.say(Say(f"c{number}", "back"))
                    while not heard or heard[-1] != live.web.messages[-1]["change"]:
                        heard.append((await ana.told(Kind.MSG))["change"])
                    assert heard == list(range(1, heard[-1] + 1))
            live.web.talkative = False
            assert [(await ben.told(Kind.MSG))["change"] for _ in range(live.web.number)] == heard

    run(scenario)


def test_what_is_told_once_without_a_number_reaches_who_still_reads_what_was_missed(
    live: Hub, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote has no line in its session's ledger: who was not told of it saw an old count until something else was."""

    async def scenario() -> None:
        live.web.keep("ben", "first")
        reads, goes_on = asyncio.Event(), asyncio.Event()
        messages = live.node.record.messages

        async def slowly(*asked: Any) -> Any:
            reads.set()
            await goes_on.wait()
            return await messages(*asked)

        monkeypatch.setattr(live.node.record, "messages", slowly)
        async with live.member("ana", resume=Resume("e1", 0, live.web.head)) as ana:
            await reads.wait()
            live.node._heard(f"session:{live.web.session}", {"kind": "poll"})
            assert await ana.told(Kind.EVENT) == {"sequence": None, "event": {"kind": "poll"}}
            goes_on.set()
            await ana.told(Kind.REPLAY)
            live.node._heard(f"session:{live.web.session}", {"kind": "preview"})
            assert (await ana.told(Kind.EVENT))["event"] == {"kind": "preview"}, "and the first one only once"

    run(scenario)


def test_numbers_of_another_record_are_a_gap(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana", resume=Resume("another", 1, 0)) as ana:
            gaps = [await ana.told(Kind.GAP) for _ in range(2)]
            assert gaps == [{"lane": lane, "reason": "epoch"} for lane in ("messages", "events")]
        async with live.member("ana", resume=Resume("e1", 99, live.web.head + 99)) as ana:
            gaps = [await ana.told(Kind.GAP) for _ in range(2)]
            assert {gap["reason"] for gap in gaps} == {"ahead"}

    run(scenario)


def test_a_message_kept_elsewhere_is_found_through_the_ledger(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana:
            for n in range(3):
                live.web.keep("cli", f"from the shell {n}")
            assert [(await ana.told(Kind.MSG))["sequence"] for _ in range(3)] == [1, 2, 3]

    run(scenario)


def test_a_log_is_followed_by_offset_by_many_for_one_fetch(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("ben") as ben:
            live.web.logs["job_1"] = (b"first\n", False)
            await ana.say(frames.FollowLog("job_1", 0, True))
            piece = await ana.until(lambda frame: isinstance(frame, frames.Log))
            assert (piece.offset, piece.data, piece.done) == (0, b"first\n", False)
            await ben.say(frames.FollowLog("job_1", 3, True))
            piece = await ben.until(lambda frame: isinstance(frame, frames.Log))
            assert (piece.offset, piece.data) == (3, b"st\n")
            live.web.log_asked.clear()
            live.web.logs["job_1"] = (b"first\nsecond\xff\n", True)
            live.node._heard("log:job_1", {"size": 14})
            for client in (ana, ben):
                piece = await client.until(lambda frame: isinstance(frame, frames.Log))
                assert (piece.offset, piece.data, piece.done, piece.size) == (6, b"second\xff\n", True, 14)
            assert live.web.log_asked == [6]

    run(scenario)


@pytest.mark.parametrize(
    ("job", "permissions", "code"),
    [
        ("missing", ["job:read"], "job_not_found"),
        ("other_1", ["job:read"], "not_found"),
        ("job_1", ["room:join"], "not_allowed"),
    ],
)
def test_only_logs_of_this_room_are_told(live: Hub, run: Run, job: str, permissions: list[str], code: str) -> None:
    async def scenario() -> None:
        async with live.member("ana", permissions=permissions) as ana:
            live.web.logs |= {"job_1": (b"x", False), "other_1": (b"x", False)}
            await ana.say(frames.FollowLog(job, 0, True))
            assert (await ana.told(Kind.ERR))["code"] == code

    run(scenario)


def test_a_reader_that_stops_reading_delays_nobody_and_is_cut_off(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with (
            live.member("ana") as ana,
            live.member("ben") as ben,
            live.socket(live.web.ticket("slow"), max_queue=1) as slow,
        ):
            await slow.say(Hello(1))
            await slow.told(Kind.PSNAP)
            slow.socket.transport.pause_reading()
            room = live.room
            worst = 0.0
            # Beyond what the ledger holds by now: what a replay has read already is not told again.
            for n in range(live.web.head + 1, live.web.head + 400):
                started = time.perf_counter()
                room.relay.tell(Kind.EVENT, {"sequence": n, "facts": {"x": "y" * 8000}}, "events", n)
                assert (await ben.told(Kind.EVENT))["sequence"] == n
                assert (await ana.told(Kind.EVENT))["sequence"] == n
                worst = max(worst, time.perf_counter() - started)
                if live.node.counters.cut:
                    break
            assert live.node.counters.cut == 1
            assert worst < 0.5, "nobody waits for the one who does not read"
            slow.socket.transport.abort()

    run(scenario)


def test_when_the_server_stops_members_are_asked_to_come_back(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with hub(tmp_path) as live:
            client = await connect(live.url(live.web.ticket("ana")), origin=live.origin, ping_interval=None)  # type: ignore[arg-type]
            await client.send(b'\x01{"proto":1}')
            await client.recv()
        kinds = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                kinds.append((await client.recv())[0])
        assert Kind.GOAWAY in kinds
        assert client.close_code == 1012

    run(scenario)


def test_rooms_and_members_are_gone_after_abrupt_ends(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        for _ in range(20):
            async with live.member("ana") as ana:
                ana.socket.transport.abort()
        while any(place.room.members for place in live.node.places.values()):
            await asyncio.sleep(0.01)
        assert not live.node._checked

    run(scenario)


@pytest.mark.parametrize("server", ["raw", "plain"])
def test_the_room_works_on_any_asgi_server(run: Run, tmp_path: Path, server: str) -> None:
    """`plain` is uvicorn's stock protocol class, which knows nothing of us."""
    options = {} if server == "raw" else {"ws": "websockets-sansio"}

    async def scenario() -> None:
        async with hub(tmp_path, **options) as live, live.member("ana") as ana, live.member("ben") as ben:
            await ana.say(Cursor(0, 5, 6, 0, 0))
            assert (await ben.until(lambda frame: isinstance(frame, Tick))).cursors == ((0, 0, 5, 6, 0),)
            del live.web.roles["ben"]
            live.web.line("grant_revoke")
            assert await ben.closed() == Closing.NOT_ALLOWED

    run(scenario)


def test_other_sockets_are_not_opened(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://127.0.0.1:{live.port}/elsewhere"):
                pass
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{live.origin}/ws")).status_code == 404

    run(scenario)


def test_a_private_message_reaches_its_two_people_in_its_place_and_nobody_else(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        async with live.member("ana") as ana, live.member("ben") as ben, live.member("eve") as eve:
            await ana.say(Say("c1", "to all"))
            await ana.say(Say("c2", "for your eyes", to="ben"))
            await ana.say(Say("c3", "to all again"))
            for two in (ana, ben):
                heard = [await two.told(Kind.MSG) for _ in range(3)]
                assert [message["text"] for message in heard] == ["to all", "for your eyes", "to all again"]
            assert [(await eve.told(Kind.MSG))["text"] for _ in range(2)] == ["to all", "to all again"]

    run(scenario)


def test_who_returns_is_told_private_messages_of_their_own_only(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        live.web.keep("ana", "to all")
        live.web.keep("ana", "for your eyes", to="ben")
        while live.node.follower.at != live.web.head:
            await asyncio.sleep(0.01)
        for name, expected in (("ben", ["to all", "for your eyes"]), ("eve", ["to all"])):
            async with live.member(name, resume=Resume("e1", 0, live.web.head)) as back:
                replay = await back.told(Kind.REPLAY)
                assert [message["text"] for message in replay["messages"]] == expected
                assert (replay["to"], replay["more"]) == (2, False)
        async with live.member("eve", resume=Resume("e1", 1, live.web.head)) as eve:
            live.web.keep("ben", "after all of it")
            # In the replay or after it, by which of the two was quicker; the private one before it in neither.
            told = await eve.until(lambda frame: isinstance(frame, Told) and frame.kind in {Kind.REPLAY, Kind.MSG})
            messages = told.body["messages"] if told.kind is Kind.REPLAY else [told.body]
            assert [message["text"] for message in messages] == ["after all of it"]

    run(scenario)


def test_an_edit_is_told_as_the_message_it_is_now(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        message = live.web.keep("ana", "2868")
        live.web.keep("ben", "sure?")
        async with live.member("ana") as ana:
            live.web.edit(message, "2868 cm")
            live.web.edit(message, "2886 cm")
            told = await ana.told(Kind.MSG)
            while told["change"] < 4:
                told = await ana.told(Kind.MSG)
            assert (told["sequence"], told["text"]) == (1, "2886 cm")
            live.web.keep("ben", "now I see")
            assert (await ana.told(Kind.MSG))["change"] == 5
        async with live.member("cem", resume=Resume("e1", 0, live.web.head)) as back:
            replay = await back.told(Kind.REPLAY)
            assert [message["text"] for message in replay["messages"]] == ["sure?", "2886 cm", "now I see"]

    run(scenario)
