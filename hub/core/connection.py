"""A connection of ours: never far ahead of its reader, and able to be dropped with what was not read yet.

A kernel keeps megabytes for a slow reader, which would go on arriving long after a right had ended. So little is handed
over before it can be sent, and a stream that is cut takes with it what lies in the buffers: it is reset, not closed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

UNSENT_BYTES = 128 * 1024
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 0x201 if sys.platform == "darwin" else 25)
_CUT = "collegium.cut"


class Droppable(H11Protocol):
    """HTTP/1.1 for uvicorn, whose requests carry in their scope how to drop the connection."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        raw = transport.get_extra_info("socket")
        if raw is None:
            return
        with contextlib.suppress(OSError):
            if raw.family == socket.AF_UNIX:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNSENT_BYTES)
            else:
                raw.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)

    def handle_events(self) -> None:
        # The application runs from the loop's next turn on, so it finds what is put here now.
        super().handle_events()
        scope: Any = self.scope
        if scope is not None:
            scope.setdefault("extensions", {})[_CUT] = self._drop

    def _drop(self) -> None:
        raw = self.transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            with contextlib.suppress(OSError):
                # No lingering: what was not sent is thrown away, and the reader is told by a reset.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def cut(scope: MutableMapping[str, Any]) -> None:
    """Drop the connection of a request with all that is on its way, where the server can; else it is closed."""
    drop = scope.get("extensions", {}).get(_CUT)
    if drop is not None:
        drop()
