"""The door for agents elsewhere: the port of one account on a cluster, over HTTPS, with waiting done here.

A token opens the account it is bound to and nothing else; no other credential opens these routes. It is looked at with
every request, and twice a second while one waits or streams, so that an agent hears at once that it was revoked. While
its question waits here an agent is there, and its lease is renewed for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.core import actions, limits
from hub.core.context import ANYONE
from hub.core.errors import Conflict, InvalidInput, NotSignedIn
from hub.core.house import House
from hub.jobs.anywhere import wire
from hub.jobs.anywhere.wire import Place, Wait, Work
from hub.jobs.clusters.agents import AgentPort, place_of
from hub.jobs.clusters.arriving import Arriving
from hub.jobs.port import Overtaken
from hub.web.endpoints import body_of, house_of, json_response, query_of
from hub.web.holding import Held, Holding
from hub.web.routes import number

T = TypeVar("T")
LOOK_SECONDS = 0.5
RENEW_SECONDS = 2.0
Answer = Callable[[AgentPort, Any], Any]


class Waiting:
    """Who of this process waits for work, woken by the bus; nobody needs to be, because everybody looks regularly."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def heard(channel: str, _: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closing
                loop.call_soon_threadsafe(self._wake, channel.removeprefix("agent:"))

        forget = self._house.bus.listen("agent:*", heard)
        try:
            yield
        finally:
            forget()

    @contextlib.contextmanager
    def of(self, account: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._events[account].add(event)
        try:
            yield event
        finally:
            self._events[account].discard(event)
            if not self._events[account]:
                del self._events[account]

    def _wake(self, account: str) -> None:
        for event in self._events.get(account, ()):
            event.set()


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise NotSignedIn("use `Authorization: Bearer <the agent's token>`")
    return token.strip()


async def _place(request: Request) -> Place:
    return await to_thread.run_sync(place_of, house_of(request), _token(request))


async def _in_port(request: Request, place: Place, work: Callable[[AgentPort], T]) -> T:
    """Carry it out for the account, in a thread. Raises Conflict for an agent that was overtaken."""
    port = AgentPort(house_of(request), place.account)
    try:
        return await to_thread.run_sync(work, port)
    except Overtaken:
        raise Conflict("another agent of this account watches now", code="overtaken", path="epoch") from None


def _told(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.convert(actions.parse(body), shape)
    except msgspec.ValidationError as error:
        said, _, where = str(error).partition(" - at `")
        raise InvalidInput(said, path=where.rstrip("`") or "$") from None


def _asks(
    shape: type[Any], answer: Answer, limit: int = limits.FORM_BODY_BYTES
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        place = await _place(request)
        asked = _told(await body_of(request, limit), shape)
        return json_response(await _in_port(request, place, lambda port: answer(port, asked)))

    return endpoint


async def whoami(request: Request) -> Response:
    """GET /api/agent/account: which account the token is bound to."""
    return json_response(await _place(request))


async def work(request: Request) -> Response:
    """POST /api/agent/work: answered as soon as there is something else to do than the agent knows."""
    token, house = _token(request), house_of(request)
    place = await _place(request)
    asked = _told(await body_of(request, limits.FORM_BODY_BYTES), Wait)
    waiting: Waiting = request.app.state.agents
    loop = asyncio.get_running_loop()
    begun = loop.time()
    renewed, epoch = float("-inf"), None
    with waiting.of(place.account) as woken:
        while True:
            woken.clear()
            now = loop.time()
            if now - renewed >= RENEW_SECONDS:
                epoch = await _in_port(request, place, lambda port: port.lease(asked.agent))
                renewed = now
            found = await _in_port(request, place, lambda port: _work(port, epoch, place))  # noqa: B023
            if (found.epoch, found.mark) != (asked.epoch, asked.mark) or now - begun >= asked.seconds:
                return json_response(found)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_SECONDS, max(0.01, begun + asked.seconds - now))):
                    await woken.wait()
            if await request.is_disconnected():
                return Response(status_code=204)
            place = await to_thread.run_sync(place_of, house, token)


def _work(port: AgentPort, epoch: int | None, place: Place) -> Work:
    at = wire.place_mark(place)
    if epoch is None:
        return Work(epoch=None, place=at, mark=at)
    found = Work(
        epoch=epoch, watched=port.watched(epoch), questions=port.questions(epoch), rate=port.rate(epoch), place=at
    )
    return msgspec.structs.replace(found, mark=wire.mark_of(found))


async def report(request: Request) -> Response:
    """POST /api/agent/report: what was seen; answers with what is watched after it."""
    place = await _place(request)
    asked = _told(await body_of(request, limits.ACTION_BODY_BYTES), wire.Told)

    def take(port: AgentPort) -> Work:
        port.heard(asked.epoch, asked.number, asked.reports)
        return _work(port, asked.epoch, place)

    return json_response(await _in_port(request, place, take))


async def log(request: Request) -> Response:
    """POST /api/agent/log?epoch=&job=&offset=: bytes of a job's log."""
    place = await _place(request)
    query = query_of(request, ("epoch", "job", "offset"))
    epoch, job, offset = number(query, "epoch", 0), query.get("job", ""), number(query, "offset", 0)
    piece = await body_of(request, limits.AGENT_LOG_PIECE_BYTES)
    size = await _in_port(request, place, lambda port: port.add_log(epoch, job, offset, piece))
    return json_response(wire.Size(size))


async def content(request: Request) -> Response:
    """GET /api/agent/content?epoch=&job=&digest=&offset=: the bytes of an input of a job that is to be submitted."""
    place = await _place(request)
    query = query_of(request, ("epoch", "job", "digest", "offset"))
    epoch, job, offset = number(query, "epoch", 0), query.get("job", ""), number(query, "offset", 0)
    digest = query.get("digest", "")
    pieces = await _in_port(request, place, lambda port: port.input(epoch, job, digest, offset))
    return Held(_ByToken(request), pieces, media_type="application/octet-stream")


class _ByToken(Holding):
    """The right of a request that came by an agent's token."""

    def __init__(self, request: Request) -> None:
        token = _token(request)
        super().__init__(request, ANYONE, lambda house, _: place_of(house, token))

    def _right(self) -> None:
        self._check(self._house, self._actor)


async def add_output(request: Request) -> Response:
    """PUT /api/agent/outputs?epoch=&job=&run=&at=&offset=: bytes of a file that was announced."""
    place = await _place(request)
    query = query_of(request, ("epoch", "job", "run", "at", "offset"))
    epoch, job, run = number(query, "epoch", 0), query.get("job", ""), number(query, "run", 0)
    at, offset = number(query, "at", 0), number(query, "offset", 0)
    piece = await body_of(request, limits.AGENT_FILE_PIECE_BYTES)

    def add(port: AgentPort) -> int:
        port.coming_home(epoch, job, run)
        return Arriving(port.folder(job, run)).add(at, offset, piece)

    return json_response(wire.Size(await _in_port(request, place, add)))


def _announce(port: AgentPort, asked: wire.Outputs) -> wire.Wanted:
    fetch = port.coming_home(asked.epoch, asked.job, asked.run)
    return wire.Wanted(Arriving(port.folder(asked.job, asked.run)).announce(asked.files, asked.there, fetch))


def _fetched(port: AgentPort, asked: wire.Fetched) -> wire.Done:
    port.coming_home(asked.epoch, asked.job, asked.run)
    Arriving(port.folder(asked.job, asked.run)).whole()
    port.fetched(asked.epoch, asked.job, asked.run)
    return wire.Done()


def _ready(port: AgentPort, asked: wire.Ready) -> wire.Done:
    port.ready(asked.standing)
    return wire.Done()


def _stands(port: AgentPort, asked: wire.Stands) -> wire.Done:
    port.stands(asked.epoch, asked.standing)
    return wire.Done()


def _answer(port: AgentPort, asked: wire.Answers) -> wire.Done:
    port.answer(asked.epoch, asked.answers)
    return wire.Done()


def _swept(port: AgentPort, asked: wire.Swept) -> wire.Done:
    port.swept(asked.epoch, asked.sweep)
    return wire.Done()


def _given(port: AgentPort, asked: wire.OfJob) -> msgspec.Raw:
    return msgspec.Raw(port.given(asked.epoch, asked.job))


ROUTES = [
    Route("/api/agent/account", whoami, methods=["GET"]),
    Route("/api/agent/work", work, methods=["POST"]),
    Route("/api/agent/ready", _asks(wire.Ready, _ready), methods=["POST"]),
    Route("/api/agent/report", report, methods=["POST"]),
    Route("/api/agent/stands", _asks(wire.Stands, _stands), methods=["POST"]),
    Route("/api/agent/answer", _asks(wire.Answers, _answer), methods=["POST"]),
    Route("/api/agent/sweepable", _asks(wire.Due, lambda port, a: port.sweepable(a.epoch)), methods=["POST"]),
    Route("/api/agent/swept", _asks(wire.Swept, _swept), methods=["POST"]),
    Route("/api/agent/order", _asks(wire.OfJob, lambda port, a: port.ordered(a.epoch, a.job)), methods=["POST"]),
    Route("/api/agent/given", _asks(wire.OfJob, _given), methods=["POST"]),
    Route("/api/agent/content", content, methods=["GET"]),
    Route("/api/agent/log", log, methods=["POST"]),
    Route("/api/agent/outputs", _asks(wire.Outputs, _announce, limits.ACTION_BODY_BYTES), methods=["POST"]),
    Route("/api/agent/outputs", add_output, methods=["PUT"]),
    Route("/api/agent/fetched", _asks(wire.Fetched, _fetched), methods=["POST"]),
]
