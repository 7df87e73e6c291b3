"""What may be sent of a request's head is bounded, and what reads two ways is refused: on a real socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from hub.core.connection import HEAD_BYTES, Droppable

BODY = 3_000_000


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with how many bytes the body had."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = str(size).encode()
    head = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "echo.sock"
    config = uvicorn.Config(echo, uds=str(place), http=Droppable, log_level="critical", lifespan="off", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    while not running.started:
        assert thread.is_alive()
        time.sleep(0.005)
    yield place
    running.should_exit = True
    thread.join(10)


def said(place: Path, *pieces: bytes) -> bytes:
    """All that is answered before the server hangs up, or until it has answered what was asked to be the last."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(place))
        client.settimeout(10)
        answer = b""
        try:
            for piece in pieces:
                client.sendall(piece)
            while data := client.recv(65536):
                answer += data
        except (BrokenPipeError, ConnectionResetError):
            pass
        return answer


HEAD = b"POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"


def test_a_body_of_any_size_passes(server: Path) -> None:
    sized = said(server, HEAD + b"Content-Length: %d\r\n\r\n" % BODY, b"x" * BODY)
    assert sized.startswith(b"HTTP/1.1 200") and sized.endswith(str(BODY).encode())
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    chunked = said(server, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40, b"0\r\n\r\n")
    assert chunked.startswith(b"HTTP/1.1 200") and chunked.endswith(str(40 * 0x10000).encode())


@pytest.mark.parametrize(
    "flood",
    [
        HEAD + b"X-Long: " + b"a" * (2 * HEAD_BYTES),
        HEAD + b"X-Long: " + b"a" * (2 * HEAD_BYTES) + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: a\r\n" % n for n in range(HEAD_BYTES)),
        b"GET /" + b"a" * (2 * HEAD_BYTES),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"".join(b"T-%d: a\r\n" % n for n in range(HEAD_BYTES)),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * (8 * HEAD_BYTES),
    ],
    ids=["one header without end", "one long header", "many headers", "address", "trailers", "chunk extension"],
)
def test_a_head_a_trailer_or_an_extension_without_end_is_refused(server: Path, flood: bytes) -> None:
    pieces = [flood[start : start + 16_384] for start in range(0, len(flood), 16_384)]
    assert b"HTTP/1.1 200" not in said(server, *pieces)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"Transfer-Encoding: identity, chunked, x\r\n\r\n0\r\n\r\n",
        b"X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length : 5\r\n\r\nhello",
    ],
    ids=["both lengths", "two lengths", "an odd encoding", "a folded header", "a signed length", "a space before :"],
)
def test_what_two_servers_could_read_in_two_ways_is_refused(server: Path, head: bytes) -> None:
    assert said(server, HEAD + head).startswith(b"HTTP/1.1 400")
