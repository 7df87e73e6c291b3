"""The front door: everything that is not a room's socket reaches web unchanged, whatever its size and order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.live.conftest import Run
from tests.live.loopback import Hub, hub, listen_unix, serving

BIG = 8 * 1024 * 1024
PIECE = b"0123456789abcdef" * 4096


class Behind:
    """A web that shows what reached it."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        routes = [
            Route("/seen", self._seen, methods=["GET", "POST", "HEAD", "DELETE"]),
            Route("/size", self._size, methods=["PUT"]),
            Route("/big", self._big),
            Route("/drip", self._drip),
            Route("/empty/{status:int}", self._empty, methods=["GET", "HEAD"]),
            Route("/headers", self._headers),
            Route("/early", Early(), methods=["POST"]),
            Route("/echo", Echo(), methods=["POST"]),
            Route("/broken", Broken()),
        ]
        self.app = Starlette(routes=routes)

    async def _seen(self, request: Request) -> Response:
        body = (await request.body()).decode()
        headers = [[name.decode(), value.decode("latin-1")] for name, value in request.headers.raw]
        path = request.scope["raw_path"].decode()
        return JSONResponse(
            {"method": request.method, "path": path, "query": request.url.query, "headers": headers, "body": body}
        )

    async def _size(self, request: Request) -> Response:
        size = 0
        try:
            async for piece in request.stream():
                size += len(piece)
        except ClientDisconnect:
            self.left.set()
            raise
        return JSONResponse({"size": size})

    async def _big(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(BIG // len(PIECE)):
                yield PIECE

        sized = {"Content-Length": str(BIG)} if "sized" in request.query_params else {}
        return StreamingResponse(pieces(), headers=sized)

    async def _drip(self, request: Request) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"drop\n"
                    await asyncio.sleep(0.01)
            finally:
                self.left.set()

        return StreamingResponse(pieces())

    async def _empty(self, request: Request) -> Response:
        return Response(status_code=request.path_params["status"])

    async def _headers(self, request: Request) -> Response:
        headers = {"Connection": "close, X-Hop", "X-Hop": "1", "X-End": "2", "Keep-Alive": "timeout=5"}
        answer = Response("x", headers=headers)
        answer.raw_headers += [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
        return answer


class Early:
    """Answers before it has read its request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse({"code": "too_large"}, 413)(scope, receive, send)


class Echo:
    """Answers each piece of the request as soon as it is there."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message.get("body", b""), "more_body": more})
            if not more:
                return


class Broken:
    """Breaks off in the middle of its answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"only this", "more_body": True})


@pytest.fixture(scope="module")
def behind(runner: asyncio.Runner) -> Behind:
    return Behind()


@pytest.fixture(scope="module")
def front(runner: asyncio.Runner, behind: Behind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    standing = hub(tmp_path_factory.mktemp("front"), web_app=behind.app)
    yield runner.run(standing.__aenter__())
    runner.run(standing.__aexit__(None, None, None))


async def ask(front: Hub, method: str, path: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=front.origin) as client:
        return await client.request(method, path, **options)


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


def test_method_path_query_and_body_arrive_as_they_were_sent(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        seen = (await ask(front, "POST", "/seen?a=1&a=%2F", content="bödy".encode())).json()
        assert (seen["method"], seen["path"], seen["query"], seen["body"]) == ("POST", "/seen", "a=1&a=%2F", "bödy")

    run(scenario)


def test_only_the_front_door_says_who_the_client_is(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        forged = {
            "X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil",
            "Forwarded": "for=6", "Connection": "keep-alive, X-Secret", "X-Secret": "1", "TE": "trailers",
            "Proxy-Authorization": "x", "X-Kept": "yes",
        }  # fmt: skip
        seen = dict((await ask(front, "GET", "/seen", headers=forged)).json()["headers"])
        assert seen["x-forwarded-for"] == "127.0.0.1"
        assert seen["x-forwarded-proto"] == "http"
        assert seen["x-forwarded-host"] == seen["host"] == f"127.0.0.1:{front.port}"
        assert seen["x-kept"] == "yes"
        assert seen["connection"] == "close"
        assert not {"forwarded", "x-secret", "te", "proxy-authorization"} & set(seen)

    run(scenario)


def test_headers_of_the_answer_come_back_without_those_of_the_hop(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        answer = await ask(front, "GET", "/headers")
        assert answer.headers["x-end"] == "2"
        assert "x-hop" not in answer.headers
        assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert len(answer.headers.get_list("date")) == 1

    run(scenario)


@pytest.mark.parametrize(("method", "status"), [("GET", 204), ("GET", 304), ("HEAD", 200), ("HEAD", 404)])
def test_answers_without_a_body_end(front: Hub, run: Run, method: str, status: int) -> None:
    async def scenario() -> None:
        answer = await ask(front, method, f"/empty/{status}")
        assert (answer.status_code, answer.content) == (status, b"")

    run(scenario)


@pytest.mark.parametrize("sized", [True, False])
def test_large_bodies_pass_both_ways_in_pieces(front: Hub, run: Run, sized: bool) -> None:
    async def scenario() -> None:
        headers = {"Content-Length": str(BIG)} if sized else {}
        sent = await ask(front, "PUT", "/size", content=pieces(BIG), headers=headers)
        assert sent.json() == {"size": BIG}
        got = 0
        async with (
            httpx.AsyncClient(base_url=front.origin) as client,
            client.stream("GET", "/big" + ("?sized" if sized else "")) as answer,
        ):
            async for piece in answer.aiter_raw():
                got += len(piece)
        assert got == BIG

    run(scenario)


def test_an_answer_may_come_before_the_request_has_ended(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        head = f"POST /early HTTP/1.1\r\nHost: 127.0.0.1:{front.port}\r\nContent-Length: {BIG}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(head.encode() + b"x" * 1000)
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        writer.close()

    run(scenario)


def test_request_and_answer_may_stream_at_the_same_time(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        head = f"POST /echo HTTP/1.1\r\nHost: 127.0.0.1:{front.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(head.encode())
        for turn in range(3):
            said = f"turn {turn}\n".encode()
            writer.write(f"{len(said):x}\r\n".encode() + said + b"\r\n")
            assert await reader.readuntil(said) is not None
        writer.write(b"0\r\n\r\n")
        assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
        writer.close()

    run(scenario)


def test_a_client_that_leaves_takes_its_request_with_it(front: Hub, behind: Behind, run: Run) -> None:
    async def scenario() -> None:
        behind.left = asyncio.Event()
        async with (
            httpx.AsyncClient(base_url=front.origin) as client,
            client.stream("GET", "/drip") as answer,
        ):
            await anext(answer.aiter_raw())
        await behind.left.wait()
        behind.left = asyncio.Event()
        _, writer = await asyncio.open_connection("127.0.0.1", front.port)
        head = f"PUT /size HTTP/1.1\r\nHost: 127.0.0.1:{front.port}\r\nContent-Length: {BIG}\r\n\r\n"
        writer.write(head.encode() + b"x" * 100_000)
        await writer.drain()
        writer.transport.abort()
        await behind.left.wait()

    run(scenario)


def test_an_answer_cut_short_is_seen_to_be_cut_short(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await ask(front, "GET", "/broken")

    run(scenario)


def test_while_web_is_away_the_answer_says_so_in_the_one_shape(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def scenario() -> None:
        async with hub(tmp_path_factory.mktemp("away")) as alone:
            path = alone.settings.web_socket
            path.unlink()
            answer = await ask(alone, "GET", "/readyz")
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert answer.json()["code"] == "unavailable"
            assert answer.headers["retry-after"] == "1"
            with socket.socket(socket.AF_UNIX) as deaf:
                deaf.bind(str(path))
                deaf.listen(8)
                asking = asyncio.create_task(ask(alone, "GET", "/readyz"))
                link, _ = await asyncio.to_thread(deaf.accept)
                link.close()
                answer = await asking
            assert (answer.status_code, answer.json()["code"]) == (502, "unavailable")

    run(scenario)


def test_what_a_chat_platform_sends_reaches_the_bot_byte_for_byte(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        signed = {"X-Slack-Signature": "v0=abc", "X-Slack-Request-Timestamp": "1700000000"}
        body = b"payload=%7B%22a%22%3A+1%7D&text=\xff\x00"
        bot = uvicorn.Server(uvicorn.Config(BotBehind(), log_level="warning", lifespan="off", access_log=False))
        with listen_unix(front.settings.bot_socket) as listen:
            async with serving(bot, listen):
                answer = await ask(front, "POST", "/slack/events?x=%2F", content=body, headers=signed)
        seen = answer.json()
        assert (seen["path"], seen["query"], bytes.fromhex(seen["body"])) == ("/slack/events", "x=%2F", body)
        assert signed.items() <= {name.title(): value for name, value in seen["headers"].items()}.items()
        front.settings.bot_socket.unlink()

    run(scenario)


def test_without_a_bot_chat_platforms_are_told_so(front: Hub, run: Run) -> None:
    async def scenario() -> None:
        answer = await ask(front, "POST", "/slack/events", content=b"{}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "no chat bot is running here" in answer.json()["detail"]

    run(scenario)


class BotBehind:
    """A bot that shows what reached it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        shown = {
            "path": scope["raw_path"].decode(), "query": scope["query_string"].decode(), "body": body.hex(),
            "headers": dict(request.headers),
        }  # fmt: skip
        await JSONResponse(shown)(scope, receive, send)
