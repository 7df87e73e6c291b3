"""The rows of the table: each makes its servers, measures them alternately and says the ratios."""

import statistics
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.load import servers
from tests.benchmarks.load.servers import Members, say

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
        for _ in range(5):
            rates = {}
            for name, (port, pid) in both.items():
                how = {"senders": 1, "hertz": 400, "seconds": seconds / 2}
                with Members(folder, port, ["/ws"] * 200, wire="plain", **how) as load:
                    found = load.go(pid)
                    say(name, found, seconds / 2)
                    rates[name] = _each_second(found)
                time.sleep(0.5)
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


def chat(folder: Path, seconds: float) -> dict[str, Any]:
    return {}


def busy(folder: Path, seconds: float) -> dict[str, Any]:
    return {}


def pressure(folder: Path, seconds: float) -> dict[str, Any]:
    return {}


def leaks(folder: Path, seconds: float) -> dict[str, Any]:
    return {}
