"""How many cursors one live process carries, beside the naive relay in the same run.

    python -m tests.benchmarks.rooms [--members 300] [--movers 300] [--hertz 30] [--seconds 4]

Members are raw sockets served by one epoll loop in this process; the server is a process of its own. Each mover's
position is its sending time, so latency is measured inside the payload, from the moment a cursor was due (a sender that
is late is counted as late). The peer is the relay everyone writes first: each message is sent on to each member with
`await send_bytes`. Read the ratio; the absolute figures are this machine's.
"""

import argparse
import asyncio
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from hub.core.settings import Settings
from tests.live.loopback import TOKEN, FakeWeb, listen_unix

NAIVE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
members = set()
async def relay(websocket):
    await websocket.accept()
    members.add(websocket)
    try:
        async for message in websocket.iter_bytes():
            for member in list(members):
                await member.send_bytes(message)
    finally:
        members.discard(websocket)
app = Starlette(routes=[WebSocketRoute("/ws", relay)])
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", ws_per_message_deflate=False)
"""
HELLO = b'\x01{"proto":1}'
CUR, TICK = 0x10, 0x11
SAMPLED_MEMBERS = 20


def masked(payload: bytes) -> bytes:
    """One client frame; a mask of zeros is a mask."""
    return bytes((0x82, 0x80 | len(payload))) + b"\0\0\0\0" + payload


def stamp() -> int:
    """Tenths of a millisecond, in the 32 bits of a position."""
    return int(time.monotonic() * 10_000) & 0xFFFFFFFF


def connect(port: int, ticket: str, greeting: bytes) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port))
    link.sendall(
        f"GET /ws?ticket={ticket} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += link.recv(1)
    if b" 101 " not in head:
        raise SystemExit(f"refused: {head.decode()}")
    if greeting:
        link.sendall(masked(greeting))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setblocking(False)
    return link


class Reader:
    """Counts the cursors one member is told and samples their age."""

    def __init__(self, sampled: bool) -> None:
        self.sampled = sampled
        self.rest = b""
        self.cursors = 0
        self.ages: list[int] = []

    def feed(self, data: bytes) -> None:
        data, at = self.rest + data, 0
        while len(data) - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size == 126:
                if len(data) - at < 4:
                    break
                size, start = struct.unpack_from(">H", data, at + 2)[0], at + 4
            elif size == 127:
                if len(data) - at < 10:
                    break
                size, start = struct.unpack_from(">Q", data, at + 2)[0], at + 10
            if len(data) < start + size:
                break
            if size and data[at] == 0x82:
                self.frame(data, start)
            at = start + size
        self.rest = data[at:]

    def frame(self, data: bytes, start: int) -> None:
        if data[start] == TICK:
            count = data[start + 3]
            self.cursors += count
            if self.sampled:
                now = stamp()
                for spot in range(start + 4, start + 4 + count * 8, 8):
                    self.ages.append((now - struct.unpack_from(">I", data, spot + 3)[0]) & 0xFFFFFFFF)
        elif data[start] == CUR:
            self.cursors += 1
            if self.sampled:
                self.ages.append((stamp() - struct.unpack_from(">I", data, start + 2)[0]) & 0xFFFFFFFF)


def drive(links: list[socket.socket], movers: int, hertz: float, seconds: float) -> tuple[int, list[Reader]]:
    """Move and listen for so long; returns how many cursors were sent."""
    poll = select.epoll()
    readers = {}
    for index, link in enumerate(links):
        poll.register(link, select.EPOLLIN)
        readers[link.fileno()] = (link, Reader(index % max(1, len(links) // SAMPLED_MEMBERS) == 0))
    begin = time.monotonic() + 0.1
    due = [(begin + index / movers / hertz) for index in range(movers)]
    end, sent, after = begin + seconds, 0, 0
    while (now := time.monotonic()) < end:
        while due[after] <= now:
            at = int(due[after] * 10_000) & 0xFFFFFFFF
            try:
                links[after].send(masked(struct.pack(">BBIBB", CUR, 0, at, 0, sent & 0xFF)))
                sent += 1
            except BlockingIOError:
                pass
            due[after] += 1 / hertz
            after = (after + 1) % movers
        for number, _ in poll.poll(max(0.0, min(due[after], end) - now), 512):
            link, reader = readers[number]
            try:
                reader.feed(link.recv(1 << 18))
            except BlockingIOError:
                continue
    return sent, [reader for _, reader in readers.values()]


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def server(argv: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[int]:
    process = subprocess.Popen(argv, env={**os.environ, **(environment or {})})
    try:
        if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(process.pid, {0})
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process.pid
    finally:
        # The naive relay may be too far behind to hear that it is to end.
        process.kill()
        process.wait()


@contextmanager
def web_behind(path: Path) -> Iterator[FakeWeb]:
    """The small web in a thread of this process: it is asked a few times a second."""
    web = FakeWeb()
    inner = uvicorn.Server(uvicorn.Config(web.app, log_level="error", lifespan="off", ws="none", access_log=False))
    with listen_unix(path) as listen:
        thread = threading.Thread(target=lambda: asyncio.run(inner._serve(sockets=[listen])), daemon=True)
        thread.start()
        yield web
        inner.should_exit = True
        thread.join(5)


def report(name: str, pid: int, links: list[socket.socket], args: argparse.Namespace) -> float:
    """Run one load; prints a line and returns cursors delivered per second of processor."""
    time.sleep(1.0)
    before = cpu_seconds(pid)
    sent, readers = drive(links, args.movers, args.hertz, args.seconds)
    cpu = cpu_seconds(pid) - before
    ages = sorted(age / 10 for reader in readers for age in reader.ages) or [float("nan")]
    told = sum(reader.cursors for reader in readers)
    p50, p95, p99 = (ages[min(len(ages) - 1, int(len(ages) * share))] for share in (0.5, 0.95, 0.99))
    print(
        f"{name:12} in {sent / args.seconds:7.0f}/s  told {told / args.seconds:9.0f}/s  cpu {cpu / args.seconds:5.0%}  "
        f"p50 {p50:6.1f}  p95 {p95:6.1f}  p99 {p99:6.1f} ms"
    )
    for link in links:
        link.close()
    return told / max(cpu, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=300)
    parser.add_argument("--movers", type=int, default=300)
    parser.add_argument("--hertz", type=float, default=30)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--naive", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args()
    args.movers = min(args.movers, args.members)
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    ours = theirs = 0.0
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        settings = Settings(data=Path(folder))
        environment = {"COLLEGIUM_DATA": folder, "COLLEGIUM_PORT": str(port), "COLLEGIUM_LIVE_TOKEN": TOKEN}
        with (
            web_behind(settings.web_socket) as web,
            server([sys.executable, "-m", "hub.live"], port, environment) as pid,
        ):
            links = [connect(port, web.ticket(f"p{n}"), HELLO) for n in range(args.members)]
            ours = report("collegium", pid, links, args)
    if args.naive:
        port = free_port()
        with server([sys.executable, "-c", NAIVE, str(port)], port) as pid:
            theirs = report("naive relay", pid, [connect(port, "", b"") for _ in range(args.members)], args)
        print(f"cursors told per second of processor: {ours / theirs:.1f} times the naive relay")


if __name__ == "__main__":
    main()
