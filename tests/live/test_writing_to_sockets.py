"""How bytes leave: around the transport while the kernel takes all of them, through it when not, encrypted if it is."""

import asyncio
import contextlib
import functools
import gc
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect

from hub.live import frames
from hub.live.connection import RoomProtocol
from hub.live.frames import Kind
from hub.live.protocol import told, websocket_frame
from tests.certificates import Authority
from tests.live.loopback import Client, Hub, hub

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop,
}  # fmt: skip
MOST_FRAMES = 20_000


@pytest.fixture(params=LOOPS)
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return LOOPS[request.param]


@contextlib.asynccontextmanager
async def somebody(live: Hub, **options: Any) -> AsyncIterator[tuple[Client, RoomProtocol]]:
    """A member, and where the hub writes to it."""
    scheme = "wss" if "ssl" in options else "ws"
    url = f"{scheme}://127.0.0.1:{live.port}/ws?ticket={live.web.ticket('ana')}"
    async with connect(url, origin=live.origin, ping_interval=None, compression=None, **options) as opened:
        client = Client(opened)
        await client.say(frames.Hello(1))
        await client.told(Kind.PSNAP)
        [member] = live.room.members.values()
        assert isinstance(member.sink, RoomProtocol)
        yield client, member.sink


def numbered(number: int) -> bytes:
    return websocket_frame(told(Kind.EVENT, {"sequence": None, "number": number, "fill": "x" * 1000}))


def test_what_a_full_socket_takes_only_in_parts_arrives_whole_and_in_order(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), hub(tmp_path) as live, somebody(live) as (client, sink):
            sink.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            for _ in range(3):
                assert not sink.busy() and sink.backlog() == 0
                written = 0
                while not sink.busy() and written < MOST_FRAMES:
                    assert sink.write(numbered(written))
                    written += 1
                assert sink.busy() and sink.backlog() > 0, "the kernel took what was more than its buffer"
                for _ in range(20):
                    assert sink.write(numbered(written))
                    written += 1
                for number in range(written):
                    assert (await client.told(Kind.EVENT))["number"] == number
                while sink.busy():
                    await asyncio.sleep(0.005)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_to_who_has_gone_nothing_is_written_and_the_number_of_their_socket_is_free_for_others(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(30), hub(tmp_path) as live:
            async with somebody(live) as (client, sink):
                client.socket.transport.abort()
                while live.room.members:
                    await asyncio.sleep(0.005)
            assert not sink.write(numbered(0))
            # Whoever is given the number of the socket that was closed keeps it, and hears nothing of this one.
            ours, theirs = socket.socketpair()
            with ours, theirs:
                assert not sink.write(numbered(1))
                del sink
                gc.collect()
                ours.sendall(b"theirs")
                assert theirs.recv(100) == b"theirs"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def test_over_tls_nothing_is_sent_around_the_encryption(
    tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")

    async def scenario() -> None:
        serving = functools.partial(hub, tmp_path, ssl_certfile=str(certificate), ssl_keyfile=str(key))
        async with asyncio.timeout(30), serving() as live, somebody(live, ssl=authority.trusting()) as (client, sink):
            for number in range(50):
                assert sink.write(numbered(number))
            for number in range(50):
                assert (await client.told(Kind.EVENT))["number"] == number

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())
