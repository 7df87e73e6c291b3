"""The one door to the network: every request the hub makes over HTTP goes through `fetch`.

https only. A name is resolved once, all its addresses are judged, and the connection goes to a judged address; the name
is used again only for TLS and for the `Host` header, so a name server that changes its mind changes nothing. Redirects
are followed at most three times and judged anew each. Everything together has five seconds and five megabytes.
"""

from __future__ import annotations

import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import h11
import msgspec

from hub.core import limits
from hub.core.addresses import Address, parsed, why_refused
from hub.core.errors import InvalidInput, TooLarge, Unavailable

Resolver = Callable[[str, int], list[str]]
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?\.?")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEAD_BYTES = 64 * 1024


class Fetched(msgspec.Struct, frozen=True):
    """What came back; `headers` by lower-case name, `certificate` as DER when it came over TLS."""

    url: str
    status: int
    headers: dict[str, str]
    body: bytes
    certificate: bytes | None = None


class _Target(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    authority: str


class _Rules(NamedTuple):
    allow_private: frozenset[str]
    plain_loopback: bool
    resolve: Resolver
    context: ssl.SSLContext | None
    deadline: float
    most_bytes: int


def resolve_by_system(host: str, port: int) -> list[str]:
    """The addresses of a name, as this machine resolves names."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    allow_private: Collection[str] = (),
    plain_loopback: bool = False,
    resolve: Resolver = resolve_by_system,
    context: ssl.SSLContext | None = None,
    seconds: float = limits.FETCH_SECONDS,
    most_bytes: int = limits.FETCH_BYTES,
) -> Fetched:
    """Send one request and read its whole answer.

    `allow_private` names hosts that may be on one's own network (the hub's own address on a campus); `plain_loopback`
    lets `http:` pass to this very machine. Raises InvalidInput for an address that is not fetched from, Unavailable
    when nobody answers properly in time, TooLarge.
    """
    rules = _Rules(
        frozenset(host.lower() for host in allow_private),
        plain_loopback,
        resolve,
        context,
        time.monotonic() + seconds,
        most_bytes,
    )
    for _ in range(limits.FETCH_REDIRECTS + 1):
        target = _target(url)
        answer = _once(url, target, method, headers or {}, body, rules)
        onward = answer.headers.get("location")
        if answer.status not in _REDIRECTS or onward is None:
            return answer
        following = urljoin(url, onward)
        if _target(following)[:3] != target[:3]:
            # What was said to one host is not for another.
            headers = {k: v for k, v in (headers or {}).items() if k.lower() not in {"authorization", "cookie"}}
        if answer.status == 303 or (answer.status in {301, 302} and method == "POST"):
            method, body = "GET", b""
        url = following
    raise Unavailable(f"{_shown(url)} redirects more than {limits.FETCH_REDIRECTS} times", code="fetch_redirects")


def _target(url: str) -> _Target:
    """The parts of an address. Raises InvalidInput for everything but a plain http(s) URL."""
    if not url.isascii() or any(c in url for c in '\\ "<>^`{|}') or not url.isprintable():
        raise _refused(url, "it holds characters that no URL has")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(url, "it is not a URL") from None
    if parts.scheme not in {"https", "http"}:
        raise _refused(url, "only https is fetched")
    if "@" in parts.netloc:
        raise _refused(url, "a URL with a user in it is not fetched")
    host = parts.hostname or ""
    if ":" in host:
        try:
            parsed(host)
        except ValueError:
            raise _refused(url, "its host is not an address") from None
        if "%" in host:
            raise _refused(url, "its address names a cable")
    elif not _HOST.fullmatch(host) or ".." in host or "[" in parts.netloc:
        raise _refused(url, "it names no host")
    if port == 0:
        raise _refused(url, "there is no port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), path, parts.netloc)


def _once(url: str, target: _Target, method: str, headers: Mapping[str, str], body: bytes, rules: _Rules) -> Fetched:
    addresses = _judged(url, target, rules)
    if target.scheme == "http" and not (rules.plain_loopback and all(each.is_loopback for each in addresses)):
        raise _refused(url, "only https is fetched")
    try:
        with _connected(addresses, target, rules) as link:
            if target.scheme == "http":
                return _exchange(url, link, target, method, headers, body, rules, None)
            context = rules.context or ssl.create_default_context()
            with context.wrap_socket(link, server_hostname=target.host.rstrip(".")) as secure:
                return _exchange(url, secure, target, method, headers, body, rules, secure.getpeercert(True))
    except ssl.SSLCertVerificationError as error:
        words = f"the certificate of {target.host} is not trusted: {error.verify_message}"
        raise Unavailable(words, code="fetch_certificate") from None
    except TimeoutError:
        raise Unavailable(f"{_shown(url)} did not answer in time", code="fetch_timeout") from None
    except (ssl.SSLError, ssl.CertificateError) as error:
        raise Unavailable(f"{target.host} does not speak TLS properly: {error.args[-1]}", code="fetch_tls") from None
    except h11.ProtocolError:
        raise Unavailable(f"{_shown(url)} answered with something that is not HTTP", code="fetch_protocol") from None
    except OSError as error:
        words = f"{_shown(url)} cannot be reached: {error.strerror or error}"
        raise Unavailable(words, code="fetch_unreachable") from None


def _judged(url: str, target: _Target, rules: _Rules) -> list[Address]:
    """The addresses of the target's host, every one of them allowed. Raises InvalidInput when one is not."""
    is_own = target.host.lower() in rules.allow_private
    try:
        addresses = [parsed(text) for text in _resolved(target, rules)]
    except (OSError, ValueError, UnicodeError):
        raise Unavailable(f"the name {target.host} is not known", code="fetch_unknown_host") from None
    if not addresses:
        raise Unavailable(f"the name {target.host} has no address", code="fetch_unknown_host")
    for address in addresses:
        may_be_here = is_own or (rules.plain_loopback and target.scheme == "http" and address.is_loopback)
        if (reason := why_refused(address, allow_private=may_be_here)) is not None:
            raise _refused(url, reason)
    return addresses


def _resolved(target: _Target, rules: _Rules) -> list[str]:
    """Resolve within the deadline: a system's resolver may take much longer, and cannot be interrupted."""
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(rules.resolve(target.host, target.port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        found = answers.get(timeout=max(0.0, rules.deadline - time.monotonic()))
    except queue.Empty:
        raise Unavailable(f"the name {target.host} was not resolved in time", code="fetch_timeout") from None
    if isinstance(found, Exception):
        raise found
    return found


def _connected(addresses: list[Address], target: _Target, rules: _Rules) -> socket.socket:
    """A connection to the first address that takes one."""
    last: OSError | None = None
    for address in addresses:
        link = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            link.settimeout(_left(rules))
            link.connect((str(address), target.port))
        except OSError as error:
            link.close()
            last = error
        else:
            return link
    assert last is not None
    raise last


def _left(rules: _Rules) -> float:
    left = rules.deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _exchange(
    url: str, link: socket.socket, target: _Target, method: str, headers: Mapping[str, str], body: bytes,
    rules: _Rules, certificate: bytes | None,
) -> Fetched:  # fmt: skip
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES)
    own = {"host": target.authority, "user-agent": "Collegium", "accept-encoding": "identity", "connection": "close"}
    if body or method not in {"GET", "HEAD"}:
        own["content-length"] = str(len(body))
    sent = {**own, **{name.lower(): value for name, value in headers.items()}}
    request = h11.Request(method=method, target=target.path, headers=list(sent.items()))
    pieces = [http.send(request), http.send(h11.Data(data=body)) if body else b"", http.send(h11.EndOfMessage())]
    link.settimeout(_left(rules))
    link.sendall(b"".join(piece or b"" for piece in pieces))
    head: h11.Response | None = None
    found = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            link.settimeout(_left(rules))
            http.receive_data(link.recv(64 * 1024))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            found += event.data
            if len(found) > rules.most_bytes:
                raise TooLarge(f"{_shown(url)} answers with more than {rules.most_bytes} bytes", code="fetch_too_large")
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            break
    if head is None:
        raise Unavailable(f"{_shown(url)} hung up without an answer", code="fetch_unreachable")
    names = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in head.headers}
    return Fetched(url, head.status_code, names, bytes(found), certificate)


def _refused(url: str, reason: str) -> InvalidInput:
    return InvalidInput(f"{_shown(url)} is not fetched: {reason}", code="fetch_refused")


def _shown(url: str) -> str:
    """A URL without what may be secret in it: user, query."""
    text = url.partition("?")[0]
    scheme, slashes, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"[:200]
