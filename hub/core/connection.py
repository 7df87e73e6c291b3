"""A connection of ours: of bounded requests, never far ahead of its reader, able to be dropped with what was not read.

A kernel keeps megabytes for a slow reader, which would go on arriving long after a right had ended. So little is handed
over before it can be sent, and a stream that is cut takes with it what lies in the buffers: it is reset, not closed.

The parser is httptools (the C parser of Node), since h11 takes longer to read a request than most take to be answered.
It keeps whatever it is sent of a head, a trailer or a chunk's extension, so what may be sent of them is counted here.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

UNSENT_BYTES = 128 * 1024
HEAD_BYTES = 64 * 1024
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 0x201 if sys.platform == "darwin" else 25)
_CUT = "collegium.cut"


class Droppable(HttpToolsProtocol):
    """HTTP/1.1 for uvicorn, whose requests carry in their scope how to drop the connection."""

    _head_bytes = 0  # of this message, trailers too
    _idle_bytes = 0  # received since something last came of them
    _has_come = False

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

    def data_received(self, data: bytes) -> None:
        self._has_come = False
        super().data_received(data)
        self._idle_bytes = 0 if self._has_come else self._idle_bytes + len(data)
        if self._idle_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        scope: Any = self.scope
        scope["extensions"] = {_CUT: self._drop}

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._has_come = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._has_come = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_come = True
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            raise ValueError("the head is too large")  # the parser refuses the request

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
