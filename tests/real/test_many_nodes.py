"""Two nodes of rooms and two web processes behind nginx, with PostgreSQL and Valkey: one room to whoever is in it.

Then a node is killed, and the bus: nobody is a ghost, everybody is back, and no message is lost or told twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from hub.live import frames
from hub.live.frames import Cursor, Kind, Resume, Say, Tick, Told
from hub.live.protocol import parse_server
from tests.live.loopback import Client
from tests.real.stack import Stack

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
BACK_WITHIN_SECONDS = 10.0


class Person:
    """Somebody in the room: everything they are told, in order, over every break of the connection."""

    def __init__(self, stack: Stack, session: str, token: dict[str, str]) -> None:
        self.stack, self.session, self.token = stack, session, token
        self.heard: list[dict[str, Any]] = []
        self.present: dict[int, dict[str, Any]] = {}
        self.spots: dict[int, tuple[int, ...]] = {}
        self.welcome: dict[str, Any] = {}
        self.acknowledged: set[str] = set()
        self.client: Client | None = None
        self.apart = False
        self.changed = asyncio.Event()

    async def ticket(self) -> str:
        made = await asyncio.to_thread(
            self.stack.ask, "/api/tickets", "POST", json={"session": self.session}, headers=self.token
        )
        return str(made.json()["ticket"])

    async def stay(self) -> None:
        """Be in the room, and come back at once whenever the connection is gone."""
        while True:
            with contextlib.suppress(ConnectionClosed, InvalidHandshake, OSError, TimeoutError, KeyError):
                url = f"wss://localhost:{self.stack.ports['https']}/ws?ticket={await self.ticket()}"
                async with connect(
                    url, ssl=self.stack.trust(), origin=self.stack.origin, compression=None, proxy=None,  # type: ignore[arg-type]
                    ping_interval=None, open_timeout=5,
                ) as link:  # fmt: skip
                    await self._listen(Client(link))
            self.client, self.welcome = None, {}
            self.changed.set()
            await asyncio.sleep(0.2)

    async def _listen(self, client: Client) -> None:
        last = self.heard[-1]["change"] if self.heard else 0
        await client.say(frames.Hello(1, resume=Resume("", last, None)))
        while True:
            # Not `wait_for`: Python 3.11 may lose a cancellation in it.
            async with asyncio.timeout(12):
                data = await client.socket.recv()
            assert isinstance(data, bytes)
            self._take(client, parse_server(data))
            self.changed.set()
            if isinstance(frame := parse_server(data), frames.Ping):
                await client.say(frames.Pong(frame.mark, 0))

    def _take(self, client: Client, frame: Any) -> None:
        match frame:
            case Told(Kind.WELCOME, body):
                self.welcome, self.client, self.apart = body, client, False
                self.present.clear()
            case Told(Kind.PSNAP, body):
                self.present |= {entry["slot"]: entry for entry in body["members"]}
            case Told(Kind.PDELTA, body):
                self.present |= {entry["slot"]: entry for entry in body["set"]}
                for slot in body["gone"]:
                    self.present.pop(slot, None)
            case Told(Kind.MSG, body):
                self.heard.append(body)
            case Told(Kind.REPLAY, body):
                self.heard += body["messages"]
            case Told(Kind.APART, body):
                self.apart = body["apart"]
            case Told(Kind.ACK, body):
                self.acknowledged.add(body["client_id"])
            case Tick():
                self.spots |= {spot[0]: spot for spot in frame.cursors}

    async def until(self, holds: Any, seconds: float = BACK_WITHIN_SECONDS) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.welcome} {self.present} {len(self.heard)}") from None

    async def say(self, frame: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            if self.client is not None:
                await self.client.say(frame)

    @property
    def slot(self) -> int:
        return int(self.welcome["slot"])

    @property
    def node(self) -> str:
        return str(self.welcome.get("node", ""))

    def sees(self, *others: Person) -> bool:
        """Whether these and nobody else are here besides oneself."""
        here = {other.slot for other in (self, *others) if other.welcome}
        return len(here) == len(others) + 1 and set(self.present) == here


@contextlib.asynccontextmanager
async def three(stack: Stack) -> AsyncIterator[tuple[Person, Person, Person]]:
    """Three connections to one room: the first alone on its node, the others together on the other one."""
    session = stack.ask("/api/sessions", headers=stack.signed_in()).json()[0]["id"]
    people: dict[Person, asyncio.Task[None]] = {}
    deadline = time.monotonic() + 30
    try:
        while len({person.node for person in people}) < 2 or len(people) < 3:
            assert time.monotonic() < deadline, "nginx gives each new socket to the next node that is there"
            if len(people) == 3:  # A node that was killed a moment ago is not asked yet.
                await left(people, next(iter(people)))
            person = Person(stack, session, stack.signed_in())
            people[person] = asyncio.create_task(person.stay())
            await person.until(lambda person=person: person.welcome, 30)  # type: ignore[misc]
        single = next(p for p in people if sum(p.node == other.node for other in people) == 1)
        yield single, *(p for p in people if p is not single)  # type: ignore[misc]
    finally:
        for person in list(people):
            await left(people, person)


async def left(people: dict[Person, asyncio.Task[None]], person: Person) -> None:
    """Somebody leaves for good."""
    task = people.pop(person)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def node_of(stack: Stack, person: Person) -> str:
    """The process that holds this person's socket: the one that counts one member."""
    token = (stack.root / "secrets" / "live_token").read_text().strip()
    counted = {}
    for name in ("live-1", "live-2"):
        text = httpx.get(
            f"http://127.0.0.1:{stack.ports[name]}/live/metrics", headers={"authorization": f"Bearer {token}"},
            trust_env=False,
        ).text  # fmt: skip
        counted[name] = float(
            next(line for line in text.splitlines() if line.startswith("collegium_live_members ")).split()[1]
        )
    return next(name for name, number in counted.items() if number == 1)


async def converse(people: list[Person], prefix: str, stop: asyncio.Event) -> set[str]:
    """Say numbered things, each until it is acknowledged, from whoever is connected; what was acknowledged."""
    said: set[str] = set()
    number = 0
    while not stop.is_set():
        client_id = f"{prefix}-{number}"
        deadline = time.monotonic() + 30
        while not any(client_id in person.acknowledged for person in people):
            assert time.monotonic() < deadline, client_id
            speaker = next((person for person in people if person.client is not None), None)
            if speaker is not None:
                await speaker.say(Say(client_id, f"line {client_id}"))
            await asyncio.sleep(0.3)
        said.add(client_id)
        number += 1
    return said


def told_once(person: Person, said: set[str]) -> None:
    heard = [message["client_id"] for message in person.heard if message["client_id"] in said]
    assert sorted(heard) == sorted(said), "lost or told twice"
    changes = [message["change"] for message in person.heard]
    assert changes == sorted(set(changes))


def test_people_cursors_and_messages_cross_between_the_nodes(stack: Stack) -> None:
    async def scenario() -> None:
        async with three(stack) as (ana, ben, cem):
            for one, *others in ((ana, ben, cem), (ben, ana, cem), (cem, ana, ben)):
                await one.until(lambda one=one, others=others: one.sees(*others))  # type: ignore[misc]
            await ana.say(Cursor(0, 111, 222, 0, 1))
            await ben.until(lambda: ben.spots.get(ana.slot, ())[2:4] == (111, 222))
            await cem.say(Cursor(0, 333, 444, 0, 1))
            await ana.until(lambda: ana.spots.get(cem.slot, ())[2:4] == (333, 444))
            await ana.say(Say("crossing-1", "from one node to the other"))
            await cem.until(lambda: any(message["client_id"] == "crossing-1" for message in cem.heard))

    asyncio.run(scenario())


def test_a_killed_nodes_people_are_back_and_no_ghost_is_left_within_ten_seconds(stack: Stack) -> None:
    async def scenario() -> None:
        async with three(stack) as (ana, ben, cem):
            await ben.until(lambda: ben.sees(ana, cem))
            stop = asyncio.Event()
            talking = asyncio.create_task(converse([ana, ben, cem], "kill", stop))
            await asyncio.sleep(1)
            ghost, dead = ana.slot, node_of(stack, ana)
            stack.kill(dead)
            killed = time.monotonic()
            await ana.until(lambda: ana.node == ben.node)
            assert time.monotonic() - killed < BACK_WITHIN_SECONDS
            for one, *others in ((ben, ana, cem), (ana, ben, cem)):
                left = BACK_WITHIN_SECONDS - (time.monotonic() - killed) + 0.5
                await one.until(lambda one=one, others=others: one.sees(*others), left)  # type: ignore[misc]
            assert ghost not in ben.present
            await asyncio.sleep(1)
            stop.set()
            said = await talking
            assert len(said) > 5
            for person in (ana, ben, cem):
                await person.until(lambda person=person: {m["client_id"] for m in person.heard} >= said)  # type: ignore[misc]
                told_once(person, said)
            stack.start_ours(dead)

    asyncio.run(scenario())


def test_a_bus_that_is_restarted_in_mid_lesson_costs_no_message_and_heals_by_itself(stack: Stack) -> None:
    async def scenario() -> None:
        async with three(stack) as people:
            await bus_restarts(stack, *people)

    asyncio.run(scenario())


async def bus_restarts(stack: Stack, ana: Person, ben: Person, cem: Person) -> None:
    await ben.until(lambda: ben.sees(ana, cem))
    stop = asyncio.Event()
    talking = asyncio.create_task(converse([ana, ben, cem], f"bus-{time.monotonic_ns()}", stop))
    await asyncio.sleep(1)
    stack.kill("redis")
    killed = time.monotonic()
    while not ana.apart or time.monotonic() - killed < 2:
        await ana.say(Cursor(0, 1, 1, 0, 1))  # something that is to cross, and cannot
        await asyncio.sleep(0.2)
        assert time.monotonic() - killed < BACK_WITHIN_SECONDS, "nobody is told that others may be missing"
    stack.start_redis()
    back = time.monotonic()
    await asyncio.sleep(1)
    stop.set()
    said = await talking
    for one, *others in ((ana, ben, cem), (ben, ana, cem)):
        await one.until(lambda one=one, others=others: one.sees(*others))  # type: ignore[misc]
    x = 1
    while ben.spots.get(ana.slot, ())[2:3] != (x,):
        x = x % 1000 + 1
        await ana.say(Cursor(0, x, 5, 0, x % 256))
        await asyncio.sleep(0.2)
        assert time.monotonic() - back < BACK_WITHIN_SECONDS, "cursors do not cross again"
    assert said
    await ana.until(lambda: not ana.apart)
    for person in (ana, ben, cem):
        await person.until(lambda person=person: {m["client_id"] for m in person.heard} >= said)  # type: ignore[misc]
        told_once(person, said)
