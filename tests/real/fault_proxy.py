"""A proxy before the API server that does to requests what networks do: loses answers, hangs, breaks off, refuses.

It ends TLS on both sides and hands everything else on, one request to a connection, so that watches and commands in
pods go through it as they are.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from typing import Literal

from tests.certificates import Authority

# `hold` keeps a request and never passes it on; `hang` passes it on and keeps the answer.
Kind = Literal["lose_answer", "hang", "hold", "refuse", "break_off", "answer"]


class Fault:
    """What happens to the next `times` requests of that method whose path holds `path`."""

    def __init__(
        self, kind: Kind, method: str, path: str, *, times: int = 1, status: int = 500, body: str = ""
    ) -> None:
        self.kind, self.method, self.path, self.times = kind, method, path, times
        self.status, self.body = status, body
        self.happened = 0

    def fits(self, method: str, path: str) -> bool:
        return self.happened < self.times and method == self.method and self.path in path


class FaultProxy:
    """Listens on loopback; `url` is the API server as seen through it."""

    def __init__(self, authority: Authority, port: int) -> None:
        self._upstream, self._trust = port, authority.trusting()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*authority.issue("127.0.0.1", name="proxy"))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.down = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def add(self, kind: Kind, method: str, path: str, **known: object) -> Fault:
        fault = Fault(kind, method, path, **known)  # type: ignore[arg-type]
        with self._lock:
            self.faults.append(fault)
        return fault

    def cut(self) -> None:
        """End every connection at once."""
        with self._lock:
            now = list(self._open)
        for each in now:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            if self.down:
                return
            near = stack.enter_context(self._context.wrap_socket(connection, server_side=True))
            self._tracked(stack, near)
            head, body = _request(near)
            method, path = head.split(b" ", 2)[:2]
            with self._lock:
                self.requests.append((method.decode(), path.decode()))
                fault = next((each for each in self.faults if each.fits(method.decode(), path.decode())), None)
                if fault is not None and fault.kind in ("refuse", "answer", "hold"):
                    fault.happened += 1
            if fault is not None and fault.kind == "refuse":
                return
            if fault is not None and fault.kind == "hold":
                near.recv(1)
                return
            if fault is not None and fault.kind == "answer":
                said = fault.body.encode()
                near.sendall(
                    f"HTTP/1.1 {fault.status} X\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(said)}\r\nConnection: close\r\n\r\n".encode()
                    + said
                )
                return
            raw = socket.create_connection(("127.0.0.1", self._upstream), 10)
            far = stack.enter_context(self._trust.wrap_socket(raw, server_hostname="127.0.0.1"))
            self._tracked(stack, far)
            far.settimeout(None)
            far.sendall(_closing(head) + body)
            if fault is not None:
                self._lose(fault, near, far)
                return
            _relay(near, far)

    def _lose(self, fault: Fault, near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
        answer = b""
        if fault.kind == "break_off":
            with contextlib.suppress(OSError):
                near.sendall(far.recv(400))
            fault.happened += 1
            return
        # The server has done it when it answers.
        while piece := far.recv(1 << 16):
            answer += piece
        fault.happened += 1
        if fault.kind == "hang":
            with contextlib.suppress(OSError):
                near.settimeout(120)
                near.recv(1)

    def _tracked(self, stack: contextlib.ExitStack, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)
        stack.callback(self._open.discard, connection)


def _request(near: ssl.SSLSocket) -> tuple[bytes, bytes]:
    """(the head of one request, what has come of its body)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = near.recv(1 << 16)
        if not piece:
            raise ValueError("the client left")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += near.recv(1 << 16)
    return head + b"\r\n\r\n", body


def _closing(head: bytes) -> bytes:
    """The same head, asking the server to close after its answer; a change of protocol stays one."""
    if b"upgrade:" in head.lower():
        return head
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([kept[0], b"Connection: close", *kept[1:]])


def _relay(near: ssl.SSLSocket, far: ssl.SSLSocket) -> None:
    """Both ways until one side leaves; in one thread, because a TLS connection must not be used by two at once."""
    other = {near: far, far: near}
    while True:
        waiting = [each for each in other if each.pending()] or select.select(list(other), [], [])[0]
        for each in waiting:
            piece = each.recv(1 << 16)
            if not piece:
                return
            other[each].sendall(piece)
