"""The live process before the real hub: rights hold on an open socket, by whatever way they were given and taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.house import House
from hub.core.ids import new_id, new_secret, secret_digest
from hub.ledger.sequencer import pass_once
from hub.live.closing import Closing
from hub.live.frames import Hello, Kind, Resume, Say
from hub.people import accounts
from hub.people.tables import tokens
from hub.sessions import links
from hub.web import application, live
from hub.web.identity import by_claim
from tests.conftest import Perform, make_person
from tests.live.conftest import Run
from tests.live.loopback import Client, Hub, hub, started_again

pytestmark = pytest.mark.slow

TIMELY_SECONDS = 1.0


class Standing:
    """A hub with its sequencer at work, and its rooms."""

    def __init__(self, house: House, rooms: Hub, perform: Perform) -> None:
        self.house = house
        self.rooms = rooms
        self._perform = perform

    async def act(self, actor: Actor, action: str, **params: Any) -> Any:
        return await asyncio.to_thread(self._perform, actor, action, **params)

    @contextlib.asynccontextmanager
    async def enter(self, actor: Actor, session: str, resume: Resume | None = None) -> AsyncIterator[Client]:
        """Somebody in a room, by a ticket of their own."""
        ticket = await asyncio.to_thread(live.make_ticket, self.house, actor, {"session": session})
        async with self.rooms.socket(ticket.ticket) as client:
            await client.say(Hello(1, resume=resume))
            await client.told(Kind.PSNAP)
            yield client

    async def sequence(self) -> None:
        while True:
            await asyncio.to_thread(pass_once, self.house.db, "test", self.house.clock.now())
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def standing(house: House, folder: Path, perform: Perform) -> AsyncIterator[Standing]:
    secret = new_secret("clg")
    service = {"id": new_id("tok"), "kind": "service", "name": "live", "digest": secret_digest(secret)}
    house.db.write(lambda tx: tx.insert_new(tokens, created_at=house.clock.now(), **service))
    app = application.create(house)
    async with hub(folder, web_app=app, public_url="http://hub.test", token=secret) as rooms:
        found = Standing(house, rooms, perform)
        sequencing = asyncio.create_task(found.sequence())
        while not rooms.node.follower.current:
            await asyncio.sleep(0.01)
        try:
            yield found
        finally:
            sequencing.cancel()
            await asyncio.gather(sequencing, return_exceptions=True)


@pytest.fixture
def lab(perform: Perform, ana: Actor, ben: Actor) -> str:
    """A session of Ana's in which Ben may write."""
    session: str = perform(ana, "session_create", name="lab")["session"]
    asked = [{"email": "b@lab.test", "role": "read_write"}]
    shared = perform(ana, "session_share", session_id=session, participants=asked)
    perform(ben, "invitation_accept", secret=shared["invitations"][0]["secret"])
    return session


def guest_of(house: House, perform: Perform, secret: str) -> Actor:
    """Who opens a link without an account."""
    cookie = perform(ANYONE, "link_open", secret=secret)["cookie"]
    with house.db.read() as conn:
        row = accounts.live_sign_in(conn, cookie, house.clock.now())
        assert row is not None
        actor = links.guest(conn, row.link, row.id, house.clock.now())
    assert actor is not None
    return actor


def test_a_room_of_the_real_hub(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str, tmp_path: Path, run: Run
) -> None:
    async def scenario() -> None:
        async with standing(house, tmp_path / "live", perform) as at:
            async with at.enter(ana, lab) as hers, at.enter(ben, lab) as his:
                await hers.say(Say("c1", "Number the lines from the gap."))
                heard = await his.told(Kind.MSG)
                assert (heard["author"]["name"], heard["sequence"]) == ("Ana", 1)
                assert (await hers.told(Kind.ACK))["sequence"] == 1
                await at.act(ana, "room_message", session_id=lab, text="From the shell.")
                assert (await his.told(Kind.MSG))["text"] == "From the shell."
                await at.act(ana, "grant_change", session_id=lab, participant="ben", role="read")
                changed = await his.told(Kind.EVENT)
                assert (changed["action"], changed["session"]) == ("grant_change", lab)
                await his.say(Say("c2", "May I?"))
                assert (await his.told(Kind.ERR))["code"] == "not_allowed"
                await at.act(ana, "grant_revoke", session_id=lab, participant="ben")
                async with asyncio.timeout(TIMELY_SECONDS):
                    assert await his.closed() == Closing.NOT_ALLOWED
            async with at.enter(ana, lab, Resume(sequence=1, event=0)) as back:
                replay = await back.told(Kind.REPLAY)
                assert [message["text"] for message in replay["messages"]] == ["From the shell."]
                assert (await back.told(Kind.EVENT))["sequence"] > 0

    run(scenario)


def test_a_socket_ends_with_the_token_it_came_by(
    house: House, perform: Perform, ana: Actor, lab: str, tmp_path: Path, run: Run
) -> None:
    token = perform(ana, "token_create", name="laptop")["token"]
    with house.db.read() as conn:
        by_token = by_claim(conn, f"token:{token}", house.clock.now())
    assert by_token is not None

    async def scenario() -> None:
        async with (
            standing(house, tmp_path / "live", perform) as at,
            at.enter(by_token, lab) as client,
            at.enter(ana, lab) as other,
        ):
            await at.act(ana, "token_revoke", token=token)
            async with asyncio.timeout(TIMELY_SECONDS):
                assert await client.closed() == Closing.NOT_ALLOWED
            await other.say(Say("c1", "still here"))
            await other.told(Kind.ACK)

    run(scenario)


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_guests_socket_ends_with_the_link(
    house: House, perform: Perform, clock: FrozenClock, ana: Actor, lab: str, tmp_path: Path, run: Run, how: str
) -> None:
    link = perform(ana, "link_create", session_id=lab, expires="2024-06-01T13:00:00Z")
    guest = guest_of(house, perform, link["secret"])

    async def scenario() -> None:
        async with standing(house, tmp_path / "live", perform) as at, at.enter(guest, lab) as client:
            await client.say(Say("c1", "hello"))
            assert (await client.told(Kind.ERR))["code"] == "not_allowed", "a link to look does not let one speak"
            if how == "revoked":
                await at.act(ana, "link_revoke", link=link["link"])
            else:
                clock.advance(3601)
            async with asyncio.timeout(TIMELY_SECONDS if how == "revoked" else 4.5):
                assert await client.closed() == Closing.NOT_ALLOWED

    run(scenario)


def test_whoever_opens_a_socket_is_seen_whatever_their_role(
    house: House, perform: Perform, ana: Actor, ben: Actor, operator: Actor, lab: str, tmp_path: Path, run: Run
) -> None:
    """An observer, an operator, somebody who came by a link, and a program: nobody watches unseen."""
    perform(ana, "room_standing", session_id=lab, person="ben", standing="observe")
    perform(ana, "session_change", session_id=lab, visibility="hub")
    guest = guest_of(house, perform, perform(ana, "link_create", session_id=lab)["secret"])
    with house.db.read() as conn:
        program = by_claim(conn, f"token:{perform(ana, 'token_create', name='bot')['token']}", house.clock.now())
    assert program is not None

    async def scenario() -> None:
        async with standing(house, tmp_path / "live", perform) as at, at.enter(ana, lab) as hers:
            for who in (ben, operator, guest, program):
                async with at.enter(who, lab):
                    came = await hers.told(Kind.PDELTA)
                    (entry,) = came["set"]
                    assert entry["person"] == who.id
                    assert entry["name"] == who.name
                gone = await hers.until(lambda f: getattr(f, "kind", None) is Kind.PDELTA and f.body["gone"])
                assert gone.body["gone"] == [entry["slot"]]

    run(scenario)


@pytest.mark.parametrize("state", ["locked", "lobby"])
def test_a_shut_room_lets_its_own_people_back_in_when_its_only_node_was_started_again(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str, tmp_path: Path, run: Run, state: str
) -> None:
    perform(ana, "session_change", session_id=lab, visibility="hub")
    eve = make_person(house, "eve")

    async def asks(rooms: Hub, actor: Actor) -> Kind | int:
        ticket = await asyncio.to_thread(live.make_ticket, house, actor, {"session": lab})
        async with rooms.socket(ticket.ticket) as client:
            await client.say(Hello(1))
            with contextlib.suppress(ConnectionClosed):
                await client.told(Kind.WELCOME)
                return Kind.WELCOME
            return await client.closed()

    async def scenario() -> None:
        async with standing(house, tmp_path / "live", perform) as at:
            async with at.enter(ben, lab) as his:
                await at.act(ana, "room_door", session_id=lab, state=state)
                await his.until(lambda f: getattr(f, "kind", None) is Kind.EVENT and f.body["action"] == "room_door")
            async with started_again(at.rooms) as rooms:
                assert await asks(rooms, ben) == Kind.WELCOME
                assert await asks(rooms, eve) == Closing.DOOR
            await at.act(ana, "room_admit", session_id=lab, person=ben.id, admit=False)
            async with started_again(at.rooms) as rooms:
                assert await asks(rooms, ben) == Closing.NOT_ALLOWED, "turned away since"
                await at.act(ana, "room_door", session_id=lab, state="open")
                assert [await asks(rooms, who) for who in (ben, eve)] == [Kind.WELCOME] * 2

    run(scenario)
