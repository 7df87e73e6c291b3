"""The one door to the network leads nowhere inside, however the address is spelled."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.core import limits
from hub.core.addresses import parsed, why_refused
from hub.core.errors import HubError, InvalidInput, TooLarge, Unavailable
from hub.core.fetch import fetch
from tests.certificates import Authority


def spelled(hosts: str) -> list[str]:
    return hosts.split()


# This machine, spelled in every way a resolver understands.
THIS_MACHINE = spelled("""
127.0.0.1 127.0.0.2 127.1 127.0.1 127.255.255.254 127.127.127.127 2130706433 2130706434 0x7f000001 0x7F000001
017700000001 0177.0.0.1 0177.1 0x7f.0.0.1 0x7f.1 0x7f.0x0.0x0.0x1 127.0x0.0.1 0177.0.0x0.1 127.0.0.01 00000177.0.0.1
localhost LOCALHOST localhost. 0 0.0.0.0 0x0 00 0.0 0.0.0 00000000000
[::1] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::0001] [0::1] [::]
[::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:127.0.0.1] [0:0:0:0:0:ffff:127.0.0.1] [::ffff:127.1.2.3] [::ffff:0.0.0.0]
[::127.0.0.1] [::7f00:1] [::127.0.0.2]
""")
PRIVATE = spelled("""
10.0.0.0 10.0.0.1 10.255.255.255 10.1 0x0a000001 167772161 012.0.0.1 0xa.0.0.1
172.16.0.1 172.31.255.255 172.16.1 0xac100001 2886729729 192.168.0.1 192.168.1.254 192.168.1 0xc0a80001 3232235521
0300.0250.0.1 100.64.0.1 100.127.255.255 198.18.0.1 198.19.255.255
[fc00::1] [fd00::1] [fd12:3456:789a::1] [fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff] [fec0::1]
[::ffff:10.0.0.1] [::ffff:192.168.1.1] [::ffff:172.16.0.1] [::ffff:a00:1] [::ffff:100.64.0.1] [::10.0.0.1]
""")
CLOUD_AND_CABLE = spelled("""
169.254.169.254 169.254.0.1 169.254.255.255 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 169.16689662
0xa9.0xfe.0xa9.0xfe [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [fe80::1] [fe80::a9fe:a9fe] [febf::1]
[64:ff9b::169.254.169.254] [64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::1] [fd00:ec2::254]
""")
THROUGH_A_TUNNEL = spelled("""
[64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b::10.0.0.1] [64:ff9b::192.168.0.1] [64:ff9b::0.0.0.0]
[64:ff9b:1::127.0.0.1] [64:ff9b:1::a00:1] [2002:7f00:1::] [2002:7f00:1::1] [2002:a00:1::1] [2002:c0a8:1::1]
[2002:808:808::1] [2001::1] [2001:0:7f00:1::] [2001:0:4136:e378:8000:63bf:80ff:fffe]
[2607:f8b0::5efe:7f00:1] [2607:f8b0::200:5efe:10.0.0.1] [::8.8.8.8]
""")
NOBODY = spelled("""
224.0.0.1 239.255.255.250 255.255.255.255 240.0.0.1 250.1.2.3 0.1.2.3 0.255.255.255 192.0.2.1 198.51.100.7 203.0.113.9
192.0.0.1 192.0.0.170 4294967295 0xffffffff [ff02::1] [ff0e::1] [ff01::1] [2001:db8::1] [100::1] [::ffff:224.0.0.1]
[::ffff:255.255.255.255] [::ffff:192.0.2.1]
""")
ADDRESSES = [*THIS_MACHINE, *PRIVATE, *CLOUD_AND_CABLE, *THROUGH_A_TUNNEL, *NOBODY]
NOT_URLS = [
    "", "https://", "https:///path", "https:127.0.0.1", "//127.0.0.1/", "127.0.0.1", "https://.", "https://..",
    "file:///etc/passwd", "FILE:///etc/passwd", "ftp://example.org/", "gopher://127.0.0.1:6379/_FLUSHALL",
    "data:text/plain,x", "javascript:alert(1)", "unix:///run/docker.sock", "jar:https://example.org!/", "ws://example.org/",
    "http://example.org/", "HTTP://example.org", "https://user@example.org/", "https://user:pw@example.org/",
    "https://example.org@127.0.0.1/", "https://127.0.0.1\\@example.org/", "https://example.org\\.evil/",
    "https://exa mple.org/", "https://example.org/\r\nHost: inside", "https://example.org\t/", "https://example.org\n",
    "https://example.org/\x00", "https://example.org:0/", "https://example.org:65536/", "https://example.org:x/",
    "https://[::1", "https://[fe80::1%25lo]/", "https://[v1.x]/", "https://[nonsense]/", "https://[::ffff:999.0.0.1]/",
    "https://%31%32%37.0.0.1/", "https://ⓛocalhost/", "https://１２７.０.０.１/", "https://127。0。0。1/",
    "https://-example.org/", "https://exa_mple..org/", "https://" + "a" * 300 + ".org/",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nobody_is_called(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A refused address is not so much as connected to."""
    if "server" in request.fixturenames or "secure" in request.fixturenames:
        return

    def connect(*_: Any) -> None:
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", connect)


def test_the_corpus_is_as_large_as_it_must_be() -> None:
    assert len(set(ADDRESSES)) >= 120


@pytest.mark.parametrize("host", ADDRESSES)
def test_nothing_inside_is_fetched_however_it_is_spelled(host: str) -> None:
    with pytest.raises(HubError) as refusal:
        fetch(f"https://{host}/")
    # Spellings that only some systems understand are unknown names on the others.
    assert refusal.value.code in {"fetch_refused", "fetch_unknown_host"}


@pytest.mark.parametrize("host", THIS_MACHINE[:1] + PRIVATE[:1] + CLOUD_AND_CABLE[:1])
def test_a_name_that_leads_inside_is_refused_as_its_address_is(host: str) -> None:
    with pytest.raises(InvalidInput, match="not fetched"):
        fetch("https://hub.example.org/", resolve=lambda name, port: [host])


def test_one_address_inside_among_many_outside_is_enough_to_refuse() -> None:
    with pytest.raises(InvalidInput, match="this machine"):
        fetch("https://hub.example.org/", resolve=lambda name, port: ["93.184.216.34", "::ffff:127.0.0.1"])


@pytest.mark.parametrize("url", NOT_URLS)
def test_what_is_no_https_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        fetch(url, resolve=lambda name, port: ["93.184.216.34"])
    assert refusal.value.code == "fetch_refused"


@pytest.mark.parametrize("text", ["10.1.2.3", "127.0.0.1", "192.168.7.7", "172.20.0.1", "100.64.3.2", "fd12::1", "::1"])
def test_the_hubs_own_host_may_be_on_a_private_network(text: str) -> None:
    assert why_refused(parsed(text)) is not None
    assert why_refused(parsed(text), allow_private=True) is None


@pytest.mark.parametrize(
    "text",
    ["169.254.169.254", "fe80::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "192.0.2.1", "2002:7f00:1::1",
     "64:ff9b::169.254.169.254", "::ffff:169.254.169.254", "ff02::1", "0.1.2.3", "fec0::1"],
)  # fmt: skip
def test_what_no_server_can_have_is_refused_even_for_the_hubs_own_host(text: str) -> None:
    assert why_refused(parsed(text), allow_private=True) is not None


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_open_network_pass(text: str) -> None:
    assert why_refused(parsed(text)) is None


class _Answers(http.server.BaseHTTPRequestHandler):
    """What a server may do to whoever asks it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server: Any = self.server
        server.seen.append((self.path, dict(self.headers)))
        if self.path.startswith("/to/"):
            self._head(302, Location=server.onward[int(self.path[4:])])
        elif self.path == "/endless":
            self._head(200, length=None)
            self._pour()
        elif self.path == "/slow":
            self._head(200, length="10")
            server.over.wait(10)
        elif self.path == "/drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for _ in range(200):
                if server.over.wait(0.05):
                    break
                try:
                    self.wfile.write(b"X-More: 1\r\n")
                except OSError:
                    break
            self.close_connection = True
        elif self.path == "/nonsense":
            self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
            self.close_connection = True
        elif self.path == "/silent":
            self.close_connection = True
        else:
            self._head(200, length="5")
            self.wfile.write(b"hello")

    def do_POST(self) -> None:
        server: Any = self.server
        server.seen.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self._head(200, length="2")
        self.wfile.write(b"ok")

    def _head(self, status: int, length: str | None = "0", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()

    def _pour(self) -> None:
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None: ...


class _Server(http.server.ThreadingHTTPServer):
    seen: list[Any]
    onward: list[str]
    over: threading.Event

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no fault of this server's."""

    @property
    def at(self) -> str:
        return f"127.0.0.1:{self.server_port}"


def _serving(context: ssl.SSLContext | None = None) -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Answers)
    server.seen, server.onward, server.over = [], [], threading.Event()
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server() -> Iterator[_Server]:
    yield from _serving()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def secure(authority: Authority) -> Iterator[_Server]:
    yield from _serving(authority.serving("hub.test"))


def test_http_passes_to_this_machine_only_when_the_caller_says_so(server: _Server) -> None:
    with pytest.raises(InvalidInput, match="only https"):
        fetch(f"http://{server.at}/", allow_private=["127.0.0.1"])
    assert fetch(f"http://{server.at}/", plain_loopback=True).body == b"hello"


def test_http_never_passes_to_another_machine() -> None:
    with pytest.raises(InvalidInput, match="private network"):
        fetch("http://hub.test/", plain_loopback=True, resolve=lambda name, port: ["10.0.0.1"])
    with pytest.raises(InvalidInput, match="only https"):
        fetch("http://hub.test/", plain_loopback=True, resolve=lambda name, port: ["8.8.8.8"])


def test_the_connection_goes_to_the_address_that_was_judged(secure: _Server, authority: Authority) -> None:
    """A name server that answers differently the second time (DNS rebinding) is not asked a second time."""
    answers = [["127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]]
    asked: list[str] = []

    def rebinding(name: str, port: int) -> list[str]:
        asked.append(name)
        return answers[len(asked) - 1]

    url = f"https://hub.test:{secure.server_port}/"
    found = fetch(url, allow_private=["hub.test"], resolve=rebinding, context=authority.trusting())
    assert (found.body, asked) == (b"hello", ["hub.test"])
    assert found.certificate is not None
    assert secure.seen[0][1]["host"] == f"hub.test:{secure.server_port}"


def test_a_rebinding_name_does_not_pass_where_private_addresses_are_refused(secure: _Server) -> None:
    turns = iter([["93.184.216.34"], ["127.0.0.1"]])
    next(turns)
    with pytest.raises(InvalidInput, match="this machine"):
        fetch(f"https://hub.test:{secure.server_port}/", resolve=lambda name, port: next(turns))
    assert secure.seen == []


def test_a_certificate_nobody_vouches_for_is_not_trusted(secure: _Server) -> None:
    with pytest.raises(Unavailable, match=r"certificate of hub\.test is not trusted") as refusal:
        fetch(f"https://hub.test:{secure.server_port}/", allow_private=["hub.test"], resolve=_here)
    assert refusal.value.code == "fetch_certificate"


def test_a_certificate_for_another_name_is_not_trusted(secure: _Server, authority: Authority) -> None:
    with pytest.raises(Unavailable, match="not trusted"):
        fetch(
            f"https://other.test:{secure.server_port}/",
            allow_private=["other.test"],
            resolve=_here,
            context=authority.trusting(),
        )


def _here(name: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize(
    "onward",
    ["https://169.254.169.254/latest/meta-data/", "https://[::ffff:127.0.0.1]/", "file:///etc/passwd",
     "http://8.8.8.8/", "gopher://127.0.0.1:6379/_FLUSHALL", "https://user@example.org/", "//10.0.0.1/"],
)  # fmt: skip
def test_a_redirect_is_judged_as_the_first_address_was(server: _Server, onward: str) -> None:
    server.onward = [onward]
    with pytest.raises(HubError) as refusal:
        fetch(f"http://{server.at}/to/0", plain_loopback=True)
    assert refusal.value.code == "fetch_refused"


def test_three_redirects_are_followed_and_a_fourth_is_not(server: _Server) -> None:
    server.onward = ["/to/1", "/to/2", "/end"]
    assert fetch(f"http://{server.at}/to/0", plain_loopback=True).body == b"hello"
    server.onward = ["/to/1", "/to/2", "/to/3", "/end"]
    with pytest.raises(Unavailable, match="redirects more than 3 times"):
        fetch(f"http://{server.at}/to/0", plain_loopback=True)


def test_a_credential_is_not_carried_to_another_host(server: _Server) -> None:
    server.onward = [f"http://localhost:{server.server_port}/end"]
    sent = {"Authorization": "Bearer xoxb-1", "Cookie": "a=b", "X-Plain": "1"}
    fetch(f"http://{server.at}/to/0", plain_loopback=True, headers=sent, resolve=_here)
    (_, first), (_, second) = server.seen
    assert first["authorization"] == "Bearer xoxb-1"
    assert "authorization" not in second
    assert "cookie" not in second
    assert second["x-plain"] == "1"


def test_an_endless_answer_is_cut(server: _Server) -> None:
    with pytest.raises(TooLarge):
        fetch(f"http://{server.at}/endless", plain_loopback=True)


@pytest.mark.parametrize("path", ["/slow", "/drip"])
def test_all_of_it_together_has_a_deadline(server: _Server, path: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="in time"):
        fetch(f"http://{server.at}{path}", plain_loopback=True, seconds=0.4)
    assert time.monotonic() - began < 5


def test_a_resolver_that_never_answers_has_a_deadline() -> None:
    over = threading.Event()

    def stuck(name: str, port: int) -> list[str]:
        over.wait(10)
        return []

    with pytest.raises(Unavailable, match="not resolved in time"):
        fetch("https://example.org/", resolve=stuck, seconds=0.2)
    over.set()


@pytest.mark.parametrize("path", ["/nonsense", "/silent"])
def test_a_server_that_speaks_something_else_is_unavailable(server: _Server, path: str) -> None:
    with pytest.raises(Unavailable):
        fetch(f"http://{server.at}{path}", plain_loopback=True)


def test_a_closed_port_and_a_name_without_address_are_told_apart(server: _Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(Unavailable) as refusal:
        fetch(f"http://127.0.0.1:{port}/", plain_loopback=True)
    assert refusal.value.code == "fetch_unreachable"
    with pytest.raises(Unavailable) as unknown:
        fetch("https://nowhere.test/", resolve=lambda name, port: [])
    assert unknown.value.code == "fetch_unknown_host"


def test_a_body_is_posted_and_a_query_is_not_shown_in_errors(server: _Server) -> None:
    found = fetch(f"http://{server.at}/api?x=1", plain_loopback=True, method="POST", body=b"token=1")
    assert (found.status, server.seen) == (200, [("/api?x=1", b"token=1")])
    with pytest.raises(HubError) as refusal:
        fetch("https://127.0.0.1/x?token=hidden")
    assert "hidden" not in str(refusal.value)


def test_the_limits_are_those_that_are_promised() -> None:
    assert (limits.FETCH_SECONDS, limits.FETCH_BYTES, limits.FETCH_REDIRECTS) == (5, 5 << 20, 3)
