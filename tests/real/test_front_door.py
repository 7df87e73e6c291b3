"""Two gibibytes up and down through the front door, a process of its own, whose memory stays what it was."""

from __future__ import annotations

import asyncio
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hub.core.settings import Settings
from tests.live.loopback import listen_unix
from tests.real.sshd_box import answers
from tests.waiting import wait_for

SIZE = 2 << 30
BLOCK = b"0123456789abcdef" * 65536
ALLOWED_GROWTH_KIB = 32 * 1024

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


async def count(request: Request) -> Response:
    return JSONResponse({"size": sum([len(piece) async for piece in request.stream()])})


async def give(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(SIZE // len(BLOCK)):
            yield BLOCK

    return StreamingResponse(pieces(), headers={"Content-Length": str(SIZE)})


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """(process id, port) of a live process in front of a small web in this one."""
    settings = Settings(data=tmp_path)
    app = Starlette(routes=[Route("/count", count, methods=["PUT"]), Route("/give", give)])
    web = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none", access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {"COLLEGIUM_DATA": str(tmp_path), "COLLEGIUM_PORT": str(port), "COLLEGIUM_LIVE_TOKEN": "clg_x"}
    with listen_unix(settings.web_socket) as listen:
        thread = threading.Thread(target=lambda: asyncio.run(web._serve(sockets=[listen])))
        thread.start()
        live = subprocess.Popen([sys.executable, "-m", "hub.live"], env={**os.environ, **environment})
        try:
            wait_for(lambda: answers(port), 30, "the front door listening")
            yield live.pid, port
        finally:
            live.terminate()
            live.wait(20)
            web.should_exit = True
            thread.join(20)


def peak_kib(pid: int) -> int:
    """The most memory a process has held (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_two_gibibytes_pass_both_ways_in_constant_memory(door: tuple[int, int]) -> None:
    pid, port = door
    before = peak_kib(pid)
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    started = time.monotonic()
    link.request("PUT", "/count", (BLOCK for _ in range(SIZE // len(BLOCK))), {"Content-Length": str(SIZE)})
    assert link.getresponse().read() == b'{"size":%d}' % SIZE
    up = time.monotonic() - started
    link.request("GET", "/give")
    answer, got = link.getresponse(), 0
    while piece := answer.read(1 << 20):
        got += len(piece)
    down = time.monotonic() - started - up
    link.close()
    assert got == SIZE
    growth = peak_kib(pid) - before
    print(f"up {SIZE / up / 1e6:.0f} MB/s, down {SIZE / down / 1e6:.0f} MB/s, {growth} KiB more")
    assert growth < ALLOWED_GROWTH_KIB
