"""Rooms over plain ASGI messages: the same application on a server that knows nothing of us."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hub.core.settings import Settings
from hub.live import app as live
from hub.live.closing import Closing
from hub.live.connection import MessageSink
from hub.live.frames import MAX_FRAME_BYTES, Cursor, Hello, Kind, Ping, Pong, Resume, Say, SetPresence, Tick
from tests.live.conftest import Run
from tests.live.loopback import Hub, hub

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def hypercorn(settings: Settings, listen: socket.socket) -> AsyncIterator[Starlette]:
    """The application on Hypercorn, which serves the listening socket until the block ends."""
    app = live.create(settings)
    config = Config()
    config.bind = [f"fd://{listen.fileno()}"]
    config.graceful_timeout = 0.5
    config.errorlog = None
    stop = asyncio.Event()
    task = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    while not hasattr(app.state, "node"):
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    try:
        yield app
    finally:
        stop.set()
        await task
        listen.detach()  # It has closed it.


@contextlib.asynccontextmanager
async def rooms(folder: Path) -> AsyncIterator[Hub]:
    async with hub(folder, served=hypercorn) as found:
        yield found


def test_members_see_each_other_point_speak_and_leave(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rooms(tmp_path) as at, at.member("ana") as ana:
            async with at.member("ben") as ben:
                assert all(isinstance(member.sink, MessageSink) for member in at.room.members.values())
                came = await ana.told(Kind.PDELTA)
                assert [member["name"] for member in came["set"]] == ["Ben"]
                await ana.say(Cursor(0, 5, 6, 0, 0))
                tick = await ben.until(lambda frame: isinstance(frame, Tick) and bool(frame.cursors))
                assert tick.cursors == ((0, 0, 5, 6, 0),)
                await ben.say(Cursor(0, 7, 8, 0, 0))
                await ana.until(lambda frame: isinstance(frame, Tick) and (1, 0, 7, 8, 0) in frame.cursors)
                await ana.say(Say("c1", "over plain messages"))
                assert (await ana.told(Kind.ACK))["sequence"] == 1
                assert (await ben.told(Kind.MSG))["text"] == "over plain messages"
                await ben.say(SetPresence(state="away"))
                changed = await ana.told(Kind.PDELTA)
                assert changed["set"][0]["state"] == "away"
            gone = await ana.until(lambda f: getattr(f, "kind", None) is Kind.PDELTA and f.body["gone"])
            assert gone.body["gone"] == [1]

    run(scenario)


def test_who_returns_is_told_what_they_missed(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rooms(tmp_path) as at:
            for n in range(3):
                at.web.keep("ben", f"line {n}" + "x" * 3000)
            while at.node.follower.at != at.web.head:
                await asyncio.sleep(0.01)
            async with at.member("ana", resume=Resume("e1", 1, at.web.head)) as ana:
                assert [message["sequence"] for message in (await ana.told(Kind.REPLAY))["messages"]] == [2, 3]

    run(scenario)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Closing.INVALID),
        ("text", Closing.INVALID),
        (b"\x10\x00", Closing.INVALID),
        (b'\x01{"proto":1}', Closing.INVALID),
        (b"\x50" + b"\0" * MAX_FRAME_BYTES, Closing.TOO_LARGE),
    ],
    ids=["empty", "text", "cut short", "a second hello", "too large"],
)
def test_a_malformed_frame_ends_its_own_socket_with_its_code(
    run: Run, tmp_path: Path, data: bytes | str, code: Closing
) -> None:
    async def scenario() -> None:
        async with rooms(tmp_path) as at, at.member("ana") as ana, at.member("eve") as eve:
            await eve.socket.send(data)
            assert await eve.closed() == code
            await ana.say(Ping(b"12345678"))
            await ana.until(lambda frame: isinstance(frame, Pong))

    run(scenario)


def test_tickets_origins_doors_and_ended_rights_have_their_codes(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rooms(tmp_path) as at:
            ticket = at.web.ticket("ana")
            with pytest.raises(InvalidStatus) as refused:
                async with connect(at.url(ticket), additional_headers={"Origin": "http://evil.example"}):
                    pass
            assert refused.value.response.status_code == 403
            assert ticket in at.web.tickets
            async with at.socket(ticket) as first:
                await first.say(Hello(1))
                await first.told(Kind.PSNAP)
                async with at.socket(ticket) as second:
                    assert await second.closed() == Closing.TICKET_EXPIRED
                async with at.socket(at.web.ticket("old")) as old:
                    await old.say(Hello(9))
                    assert await old.closed() == Closing.VERSION
                del at.web.roles["ana"]
                at.web.line("grant_revoke")
                async with asyncio.timeout(1.0):
                    assert await first.closed() == Closing.NOT_ALLOWED

    run(scenario)


def test_a_flooder_is_told_why_and_cut_for_good(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rooms(tmp_path) as at, at.member("ana") as ana, at.member("eve") as eve:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(2000):
                    await eve.say(SetPresence())
            assert await eve.closed() == Closing.FLOOD
            await ana.say(Ping(b"12345678"))
            await ana.until(lambda frame: isinstance(frame, Pong))

    run(scenario)


def test_the_hub_asks_by_a_ping_of_its_own_whether_somebody_silent_is_there(run: Run, tmp_path: Path) -> None:
    """What this server's own pings bring back is not told to us."""

    async def scenario() -> None:
        async with rooms(tmp_path) as at, at.member("ana") as ana:
            (member,) = at.room.members.values()
            came = member.sink.last_heard
            ping = await ana.until(lambda frame: isinstance(frame, Ping))
            assert member.sink.last_heard == came
            await ana.say(Pong(ping.mark, 0))
            while member.sink.last_heard == came:
                await asyncio.sleep(0.01)

    run(scenario)


def test_a_reader_that_stops_reading_delays_nobody_is_cut_off_and_leaves(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            rooms(tmp_path) as at,
            at.member("ana") as ana,
            at.socket(at.web.ticket("slow"), max_queue=1) as slow,
        ):
            await slow.say(Hello(1))
            await slow.told(Kind.PSNAP)
            slow.socket.transport.pause_reading()
            number = 0
            while not at.node.counters.cut:
                number += 1
                at.room.relay.tell(Kind.EVENT, {"sequence": number, "facts": {"x": "y" * 8000}}, "events", number)
                assert (await ana.told(Kind.EVENT))["sequence"] == number
            gone = await ana.until(lambda f: getattr(f, "kind", None) is Kind.PDELTA and f.body["gone"])
            assert gone.body["gone"] == [1]
            assert list(at.room.members) == [0]
            slow.socket.transport.abort()

    run(scenario)


def test_what_was_said_before_a_close_arrives_before_it(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with rooms(tmp_path) as at, at.member("ana") as ana:
            (member,) = at.room.members.values()
            for number in range(20):
                at.room.relay.tell(Kind.EVENT, {"sequence": number}, "events", number)
            at.room.relay.flush()
            member.close(Closing.NOT_ALLOWED, "that is all")
            told = []
            with contextlib.suppress(ConnectionClosed):
                while True:
                    told.append((await ana.told(Kind.EVENT))["sequence"])
            assert told == list(range(20))
            assert ana.socket.close_code == Closing.NOT_ALLOWED

    run(scenario)


def test_when_it_stops_members_are_asked_to_come_back(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with contextlib.AsyncExitStack() as after:
            async with rooms(tmp_path) as at:
                ana = await after.enter_async_context(at.member("ana"))
                async with httpx.AsyncClient(trust_env=False) as client:
                    assert (await client.get(f"{at.origin}/live/metrics")).status_code == 401
            assert await ana.closed() == Closing.UNAVAILABLE

    run(scenario)
