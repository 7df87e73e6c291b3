"""What "ready" can mean for a child of the launcher: it answers as expected at its address."""

from __future__ import annotations

import functools
import socket
import ssl
from collections.abc import Callable


def http_ready(port: int, path: str = "/readyz", host: str = "127.0.0.1") -> Callable[[], bool]:
    """Ready when a GET answers 200."""
    return functools.partial(answers, (host, port), f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n", b" 200 ")


def https_ready(port: int, path: str = "/readyz", host: str = "127.0.0.1") -> Callable[[], bool]:
    """The same over TLS. Whose certificate it is does not matter here: it is our own child at our own port."""
    return functools.partial(answers, (host, port), f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n", b" 200 ", tls=True)


def answers(address: tuple[str, int] | str, request: str, expected: bytes, *, tls: bool = False) -> bool:
    """Whether who listens at `address` (host and port, or a socket's path) begins its answer as expected."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as link:
            link.settimeout(2)
            link.connect(address)
            with _unverified().wrap_socket(link) if tls else link as spoken:
                spoken.sendall(request.encode())
                return expected in spoken.recv(64)
    except OSError:
        return False


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
