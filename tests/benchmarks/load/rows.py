"""The rows of the table: each makes its servers, measures them alternately and says the ratios."""

import contextlib
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from hub.live.rules import QUARANTINE_SECONDS
from tests.benchmarks.load import servers
from tests.benchmarks.load.servers import Members, say
from tests.embedded import Hub

IO_PATH = "/socket.io/?EIO=4&transport=websocket"


def _peers(folder: Path, members: int, **how: object) -> dict[str, dict[str, Any]]:
    """The two peers under the load of `how`."""
    seconds = float(str(how["seconds"]))
    found = {}
    with servers.broadcast() as (port, pid), Members(folder, port, ["/"] * members, wire="plain", **how) as load:
        found["websockets"] = load.go(pid)
    with servers.socketio() as (port, pid), Members(folder, port, [IO_PATH] * members, wire="io", **how) as load:
        found["socket.io"] = load.go(pid)
    for name, row in found.items():
        say(name, row, seconds)
    return found


def _each_second(found: dict[str, Any]) -> float:
    """Delivered per second of the server's processor."""
    return float(found["told"]) / max(float(found["cpu"]), 0.01)


def cursors(folder: Path, seconds: float) -> dict[str, Any]:
    """300 members, all moving at 30 Hz, everyone visible."""
    how = {"senders": 300, "hertz": 30, "seconds": seconds}
    with (
        servers.room(folder, COLLEGIUM_VISIBLE_CURSORS="300") as room,
        Members(folder, room.port, room.paths(300), wire="hub", **how) as load,
    ):
        ours = load.go(room.pid)
    say("collegium", ours, seconds)
    peers = _peers(folder, 300, **how)
    return {
        "cursors_per_cpu_second": _each_second(ours) / max(map(_each_second, peers.values())),
        "cursors_p99_ms": min(peer["p99"] for peer in peers.values()) / ours["p99"],
        "cursors_p99_ms_ours": ours["p99"],
        "cursors_tick_ms": ours["pace_ms"],
        "cursors_share_of_a_core": ours["cpu"] / seconds,
    }


def relay(folder: Path, seconds: float) -> dict[str, Any]:
    """20 senders of carets, 200 receivers; nothing is stored."""
    how = {"senders": 20, "hertz": 15, "seconds": seconds, "say": "aware"}
    with servers.room(folder) as room, Members(folder, room.port, room.paths(200), wire="hub", **how) as load:
        ours = load.go(room.pid)
    say("collegium", ours, seconds)
    peers = _peers(folder, 200, **how)
    return {"messages_per_cpu_second": _each_second(ours) / max(map(_each_second, peers.values()))}


def fanout(folder: Path, seconds: float) -> dict[str, Any]:
    """One write per member and message, beside a loop of `send()` in C; median of five alternating runs."""
    shares = []
    with servers.one_by_one(folder) as both:
        open_before = {name: servers.open_files(pid) for name, (_, pid) in both.items()}
        for _ in range(5):
            rates = {}
            for name, (port, pid) in both.items():
                how = {"senders": 1, "hertz": 400, "seconds": seconds / 2}
                with Members(folder, port, ["/ws"] * 200, wire="plain", **how) as load:
                    found = load.go(pid)
                    say(name, found, seconds / 2)
                    rates[name] = _each_second(found)
                servers.wait_until(
                    lambda pid=pid, open_before=open_before[name]: servers.open_files(pid) <= open_before
                )
            shares.append(rates["ours"] / rates["bare"])
    return {"fanout_share_of_bare_loop": statistics.median(shares)}


def thousand(folder: Path, seconds: float) -> dict[str, Any]:
    """1,000 members, 100 of them moving."""
    how = {"senders": 100, "hertz": 30, "seconds": seconds}
    with servers.room(folder) as room, Members(folder, room.port, room.paths(1000), wire="hub", **how) as load:
        found = load.go(room.pid)
    say("collegium", found, seconds)
    return {
        "thousand_tick_ms": found["pace_ms"],
        "thousand_p99_above_tick_ms": found["p99"] - found["pace_ms"],
        "thousand_share_of_a_core": found["cpu"] / seconds,
    }


def idle(folder: Path, seconds: float) -> dict[str, Any]:
    """Private memory per member who does nothing, presence of all the others included."""
    many, found = 900, {}
    how = {"senders": 0, "seconds": 1}
    with servers.room(folder) as room:
        before = _settled(room.pid)
        with Members(folder, room.port, room.paths(many), wire="hub", **how):
            found["collegium"] = (_settled(room.pid) - before) / many / 1024
    with servers.broadcast() as (port, pid):
        before = _settled(pid)
        with Members(folder, port, ["/"] * many, wire="plain", **how):
            found["websockets"] = (_settled(pid) - before) / many / 1024
    with servers.socketio() as (port, pid):
        before = _settled(pid)
        with Members(folder, port, [IO_PATH] * many, wire="io", **how):
            found["socket.io"] = (_settled(pid) - before) / many / 1024
    return {
        "kilobytes_per_idle_member": found["collegium"] / min(found["websockets"], found["socket.io"]),
        **{f"kilobytes_per_idle_member_{name}": value for name, value in found.items()},
    }


def _settled(pid: int) -> int:
    """A server's memory when it has stopped to change."""
    last = 0
    for _ in range(40):
        time.sleep(0.5)
        now = servers.resident_bytes(pid)
        if abs(now - last) < 100_000:
            return now
        last = now
    return last


@contextlib.contextmanager
def _whole_hub(folder: Path) -> Iterator[tuple[Hub, httpx.Client, int]]:
    """An embedded hub with all its processes, its owner's client, and the process id of live."""
    with tempfile.TemporaryDirectory(dir=folder) as root:
        hub = Hub(Path(root), COLLEGIUM_VISIBLE_CURSORS="300")
        try:
            token = (hub.data / "operator.token").read_text().strip()
            live = next(pid for pid, command in hub.processes().items() if "hub.cli live" in command)
            if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
                os.sched_setaffinity(live, {0})
            with httpx.Client(base_url=hub.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as owner:
                yield hub, owner, live
        finally:
            hub.close()


def _tickets(owner: httpx.Client, count: int, name: str = "") -> tuple[int, list[str]]:
    """The port of a hub, and so many ways into a room of this name or its owner's own; good for half a minute."""
    if name:
        params = {"action": "session_create", "name": name}
        made_now = owner.post("/api/actions", json={"tool": "distributed_collaboration", "params": params})
        room = made_now.raise_for_status().json()["result"]["session"]
    else:
        room = next(one["id"] for one in owner.get("/api/sessions").json() if one["personal"])
    made = [owner.post("/api/tickets", json={"session": room}).json()["ticket"] for _ in range(count)]
    return int(owner.base_url.port or 80), [f"/ws?ticket={ticket}" for ticket in made]


def chat(folder: Path, seconds: float) -> dict[str, Any]:
    """Messages that are kept: 50 a second by 20 people, 200 receivers; from when each was due to the last receiver."""
    how = {"senders": 20, "hertz": 2.5, "seconds": seconds * 2, "say": "message"}
    with _whole_hub(folder) as (_, owner, live):
        port, paths = _tickets(owner, 200)
        with Members(folder, port, paths, wire="hub", **how) as load:
            found = load.go(live)
    say("collegium", found, seconds * 2)
    return {
        "chat_last_receiver_p50_ms": found["last_p50"],
        "chat_last_receiver_p95_ms": found["last_p95"],
        "chat_at_all_of": f"{found['at_all']}/{found['sent']}",
    }


def busy(folder: Path, seconds: float) -> dict[str, Any]:
    """300 members all moving, with and without 50 actions and 10 pages a second at the same node; three of each."""
    quiet, loud = [], []
    how = {"senders": 300, "hertz": 30, "seconds": seconds}
    with _whole_hub(folder) as (_, owner, live):
        for turn in range(3):
            for ages, working in ((quiet, False), (loud, True)):
                # Another room: who was in the last one leaves slots that rest for a minute.
                port, paths = _tickets(owner, 300, f"turn-{turn}-{'busy' if working else 'quiet'}")
                with Members(folder, port, paths, wire="hub", **how) as load, _work(owner, working):
                    found = load.go(live)
                say("with actions" if working else "without", found, seconds)
                ages.append(found["p99"])
    return {"busy_p99_with_to_without": statistics.median(loud) / statistics.median(quiet)}


@contextlib.contextmanager
def _work(owner: httpx.Client, working: bool) -> Iterator[None]:
    """50 actions and 10 pages a second, from a process of its own."""
    if not working:
        yield
        return
    command = [sys.executable, "-m", "tests.benchmarks.load.work", str(owner.base_url), owner.headers["Authorization"]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit(f"the work beside the room ended with {process.wait()}")
        yield
    finally:
        process.kill()
        process.wait()


PRESSURES: dict[str, dict[str, int]] = {
    "quiet": {}, "stalled": {"stalled": 1}, "flooded": {"flooders": 1}, "half_open": {"vanished": 1},
}  # fmt: skip
LET_GO_SECONDS = 25.0


def pressure(folder: Path, seconds: float) -> dict[str, Any]:
    """A room of 300, 30 of them moving, without and with one that stops to read, one that floods, one that vanishes.

    Five runs of each, in turn; the middle p99 of each may be above that of the quiet room by 10 % or 5 ms.
    """
    ages: dict[str, list[float]] = {name: [] for name in PRESSURES}
    codes: set[int] = set()
    let_go: list[float] = []
    with servers.room(folder) as room:
        for _ in range(5):
            for name, extra in PRESSURES.items():
                how = {"senders": 30, "hertz": 30, "seconds": seconds} | extra
                room.web.reset()  # Another room: who was in the last one leaves slots that rest for a minute.
                with Members(folder, room.port, room.paths(300), wire="hub", **how) as load:
                    begun = time.monotonic()
                    found = load.go(room.pid)
                    if name == "half_open":
                        servers.wait_until(lambda: room.counts()["members"] < 300, LET_GO_SECONDS)
                        let_go.append(time.monotonic() - begun)
                say(name, found, seconds)
                ages[name].append(found["p99"])
                codes |= set(found["codes"])
                servers.wait_until(lambda: room.counts()["members"] == 0)
    middle = {name: statistics.median(several) for name, several in ages.items()}
    bound = max(middle["quiet"] * 0.1, 5.0)
    more = {name: value - middle["quiet"] for name, value in middle.items() if name != "quiet"}
    return {
        "pressure_p99_ms": middle["quiet"],
        "pressure_bound_ms_more": bound,
        **{f"pressure_{name}_p99_ms_more": value for name, value in more.items()},
        "pressure_within_bound": all(value <= bound for value in more.values()),
        "pressure_half_open_let_go_after_s": max(let_go),
        "pressure_flooder_cut_with": sorted(codes),
    }


def leaks(folder: Path, seconds: float) -> dict[str, Any]:
    """10,000 members that come in, and are gone without a word. Anything that stays ends the run with an error."""
    cycles = 10_000
    with servers.room(folder) as room:
        before, open_before = room.counts(), servers.open_files(room.pid)
        memory = servers.resident_bytes(room.pid)
        for path in room.paths(cycles):
            _abrupt(room.port, path)

        def left() -> dict[str, int]:
            after = room.counts()
            found = {name: int(after[name] - before[name]) for name in ("members", "rooms", "drafts", "tasks")}
            return {"sockets": servers.open_files(room.pid) - open_before, **found}

        # A slot is nobody's for a minute; a room is forgotten when none is kept.
        servers.wait_until(lambda: max(left().values()) <= 0, QUARANTINE_SECONDS + 30, otherwise=left)
        return {
            **{f"leaked_{name}": number for name, number in left().items()},
            "bytes_kept_per_cycle": (servers.resident_bytes(room.pid) - memory) / cycles,
        }


def _abrupt(port: int, path: str) -> None:
    """Come in, say hello, and reset the connection."""
    for _ in range(200):
        link = socket.create_connection(("127.0.0.1", port))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = link.recv(4096)
        if b" 101 " in answer:
            link.sendall(b"\x82\x8c\0\0\0\0\x01" + b'{"proto":1}')
            link.recv(4096)
            link.close()
            return
        link.close()
        time.sleep(0.05)
    raise SystemExit("never let in")
