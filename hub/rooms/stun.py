"""Whether a relay of calls is there: it is asked who we are (STUN Binding, RFC 8489), which needs no credentials."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
import struct

_URL = re.compile(
    r"(?P<scheme>turns?):(?P<host>\[[0-9a-fA-F:]+\]|[^:?/\[\]]+)(?::(?P<port>\d+))?(?:\?transport=(?P<by>udp|tcp))?"
)
_COOKIE = 0x2112A442
_REQUEST, _SUCCESS = 0x0001, 0x0101
SECONDS = 3.0


def answers(url: str) -> tuple[bool, str]:
    """Whether the relay at `turn:HOST:PORT?transport=...` answers, and that in words."""
    found = _URL.fullmatch(url)
    if found is None:
        return False, "that is not turn:HOST:PORT?transport=udp"
    secure = found["scheme"] == "turns"
    host, port = found["host"].strip("[]"), int(found["port"] or (5349 if secure else 3478))
    by = found["by"] or ("tcp" if secure else "udp")
    asked = secrets.token_bytes(12)
    try:
        told = _ask(host, port, struct.pack("!HHI", _REQUEST, 0, _COOKIE) + asked, by=by, secure=secure)
    except ssl.SSLCertVerificationError as error:
        return False, f"its certificate is not trusted: {error.verify_message}"
    except OSError as error:
        return False, f"it does not answer: {error.strerror or error}"
    if len(told) < 20 or told[8:20] != asked or struct.unpack("!H", told[:2])[0] != _SUCCESS:
        return False, "something answers there that is no relay"
    return True, "it answers"


def _ask(host: str, port: int, request: bytes, *, by: str, secure: bool) -> bytes:
    kind = socket.SOCK_STREAM if by == "tcp" else socket.SOCK_DGRAM
    family, _, _, _, address = socket.getaddrinfo(host, port, type=kind)[0]
    with socket.socket(family, kind) as link:
        link.settimeout(SECONDS)
        link.connect(address)
        if not secure:
            link.sendall(request)
            return link.recv(2048)
        with ssl.create_default_context().wrap_socket(link, server_hostname=host) as sealed:
            sealed.sendall(request)
            return sealed.recv(2048)
