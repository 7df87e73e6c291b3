"""A right that is taken away ends within a second on every surface and in every process, with Redis and without.

The hub's promise is one second; on a machine that does much else the test allows three, and prints what it measured
(`pytest -s`). What counts is when the last byte arrived after the action that took the right was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import sqlalchemy as sa

from hub.artifacts import leases, versions
from hub.core.context import ANYONE, Actor
from hub.core.house import House
from hub.core.ids import new_id, new_secret, secret_digest
from hub.jobs import logs
from hub.jobs.tables import jobs
from hub.people import accounts
from hub.people.tables import persons, tokens
from hub.perform import perform, record
from tests.conftest import make_person
from tests.real.revocation import Listening, Pair, pair
from tests.web import page_world

pytestmark = [pytest.mark.real, pytest.mark.timeout(500)]

ALLOWED_SECONDS = 3.0
FILE_BYTES = 48 * 1024 * 1024


class Lab:
    """Ana's session with a job that writes, a large file and a picture, and Ben in it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.ana = self._owner()
        self.ben = make_person(house, "ben")
        self.session = str(self.do(self.ana, "session_create", name="lab")["session"])
        self.job = self._running_job()
        self.file = self._artifact("big.bin", os.urandom(1 << 20) * (FILE_BYTES >> 20))
        self.picture = self._artifact("levels.png", page_world.png())
        self.anas = self.token(self.ana)

    def do(self, actor: Actor, action: str, **params: Any) -> Any:
        envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        return perform(self.house, envelope, actor).result

    def token(self, actor: Actor) -> str:
        return str(self.do(actor, "token_create", name="t")["secret"])

    def let_in(self, role: str = "read_write") -> None:
        asked = [{"email": f"{new_id('x')}@x.org", "role": role}]
        shared = self.do(self.ana, "session_share", session_id=self.session, participants=asked)
        self.do(self.ben, "invitation_accept", secret=shared["invitations"][0]["secret"])

    def service(self) -> str:
        """A service token, as a bot holds one."""
        secret = new_secret("clg")
        row = {"id": new_id("tok"), "kind": "service", "name": "bot", "digest": secret_digest(secret)}
        self.house.db.write(lambda tx: tx.insert_new(tokens, created_at=self.house.clock.now(), **row))
        return secret

    def disable(self) -> None:
        """As the action of an operator does it: the mark, and a ledger line of `account_`."""

        def work(ctx: Any) -> None:
            ctx.execute(sa.update(persons).where(persons.c.id == self.ben.id).values(disabled_at=ctx.now))
            ctx.about("person", self.ben.id)

        record(self.house, "account_disable", work)

    def _owner(self) -> Actor:
        with self.house.db.read() as conn:
            found = accounts.actor_of(conn, accounts.by_handle(conn, "ana") or "")
        assert found is not None
        return found

    def _running_job(self) -> str:
        made = self.do(self.ana, "job_submit", session_id=self.session, job_type="local", script="#!/bin/sh\ntrue\n")
        state = sa.update(jobs).where(jobs.c.id == made["id"]).values(state="RUNNING")
        self.house.db.write(lambda tx: tx.execute(state) and None)
        return str(made["id"])

    def _artifact(self, path: str, content: bytes) -> str:
        blob = leases.keep(self.house, self.session, io.BytesIO(content), owner=self.ana.id, filename=path)
        add = record(self.house, "artifact_versioning", lambda ctx: versions.add(ctx, self.session, path, blob.digest))
        return add.version


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a database, or nothing for SQLite under the data folder."""
    if request.param == "sqlite":
        return ""
    server: str = request.getfixturevalue("postgres_url")
    name = f"rev_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    return server.rsplit("/", 1)[0] + f"/{name}"


@contextlib.asynccontextmanager
async def world_going_on(hub: Pair, lab: Lab) -> AsyncIterator[None]:
    """The job writes and Ana talks, ten times a second, so that there is always something to hear."""

    async def go_on() -> None:
        store, offset, said = logs.store(lab.house.settings.data), 0, 0
        while True:
            line = f"line {said}\n".encode() * 20
            await asyncio.to_thread(store.append, lab.job, offset, line)
            offset, said = offset + len(line), said + 1
            if said % 2:
                await hub.act(lab.anas, "room_message", session_id=lab.session, text=f"said {said}")
            await asyncio.sleep(0.1)

    going = asyncio.create_task(go_on())
    try:
        yield
    finally:
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)


async def surfaces(hub: Pair, lab: Lab, credential: dict[str, str], *, upload: bool) -> list[Listening]:
    """Everything somebody can have open at once, all of it begun."""
    found = {name: Listening(name) for name in ("room on live 1", "room on live 2", "log", "download", "events")}
    first, second = await hub.ticket(credential, lab.session), await hub.ticket(credential, lab.session)
    tasks = [
        hub.room(found["room on live 1"], first, 0),
        hub.room(found["room on live 2"], second, 1),
        hub.stream(found["log"], credential, f"/api/jobs/{lab.job}/log?follow=1"),
        hub.stream(found["download"], credential, f"/api/artifacts/{lab.file}/content", pause=0.005),
        hub.poll(found["events"], credential, lab.session),
    ]
    if upload:
        found["upload"] = Listening("upload")
        async with httpx.AsyncClient(headers={"Host": "hub.test", **credential}) as client:
            begun = await client.post(
                f"http://127.0.0.1:{hub.webs[0]}/api/uploads?session={lab.session}",
                headers={"Upload-Length": str(FILE_BYTES * 4), "Tus-Resumable": "1.0.0"},
            )
        assert begun.status_code == 201, begun.text
        tasks.append(hub.upload(found["upload"], credential, begun.headers["Location"], FILE_BYTES * 4))
    hub.reading = [asyncio.create_task(task) for task in tasks]
    for each in found.values():
        try:
            async with asyncio.timeout(40):
                await each.begun.wait()
        except TimeoutError:
            pytest.fail(f"{each.name} never began: {each.told}")
    return list(found.values())


async def ended(what: str, listening: list[Listening], since: float) -> None:
    """All of them end; the last byte of each came in time."""
    for each in listening:
        try:
            async with asyncio.timeout(15):
                await each.ended.wait()
        except TimeoutError:
            pytest.fail(f"{what}: {each.name} goes on, {each.size} bytes, {each.told}")
    late = {each.name: each.heard_at - since for each in listening}
    print(f"{what}: " + ", ".join(f"{name} {seconds:+.2f} s" for name, seconds in late.items()))
    assert {name: seconds for name, seconds in late.items() if seconds > ALLOWED_SECONDS} == {}, what


def now() -> float:
    return asyncio.get_running_loop().time()


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


def test_a_removed_person_hears_nothing_more_on_any_surface(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with pair(tmp_path, database) as hub:
            lab = await asyncio.to_thread(Lab, hub.house)
            await asyncio.to_thread(lab.let_in)
            bens = bearer(lab.token(lab.ben))
            picture, content = f"/api/artifacts/{lab.picture}/preview", f"/api/artifacts/{lab.file}/content"
            kept = {path: (await hub.get(bens, path, Range="bytes=0-9")).headers["ETag"] for path in (picture, content)}
            for path, etag in kept.items():
                again = await hub.get(bens, path, **{"If-None-Match": etag})
                assert (again.status_code, again.headers["Cache-Control"]) == (304, "private, no-cache")
            async with world_going_on(hub, lab):
                listening = await surfaces(hub, lab, bens, upload=True)
                ticket = await hub.ticket(bens, lab.session)
                await hub.act(lab.anas, "grant_revoke", session_id=lab.session, participant="ben")
                since = now()
                for path, etag in kept.items():
                    assert (await hub.get(bens, path, **{"If-None-Match": etag})).status_code == 404
                late = Listening("ticket made before")
                await hub.room(late, ticket, 0)
                assert late.size == 0 and late.told in ("4501", "4503", "4504"), late.told
                await ended("removed", listening, since)
            assert {each.told for each in listening if each.name.startswith("room")} == {"4503"}
            assert next(each.told for each in listening if each.name == "upload") == "404"
            assert next(each.told for each in listening if each.name == "events") == "404"

    asyncio.run(scenario())


def test_every_other_way_in_ends_as_soon(tmp_path: Path, database: str) -> None:
    async def scenario() -> None:
        async with pair(tmp_path, database) as hub:
            lab = await asyncio.to_thread(Lab, hub.house)
            await asyncio.to_thread(lab.let_in)
            async with world_going_on(hub, lab):
                link = lab.do(lab.ana, "link_create", session_id=lab.session, role="read_write")
                guest = {"Cookie": f"collegium={lab.do(ANYONE, 'link_open', secret=link['secret'])['cookie']}"}
                listening = await surfaces(hub, lab, guest, upload=False)
                await hub.act(lab.anas, "link_revoke", link=link["link"])
                await ended("link revoked", listening, now())

                token = lab.do(lab.ben, "token_create", name="laptop")
                listening = await surfaces(hub, lab, bearer(token["secret"]), upload=True)
                await hub.act(lab.token(lab.ben), "token_revoke", token=token["token"])
                await ended("token revoked", listening, now())

                service = await asyncio.to_thread(lab.service)
                listening = await surfaces(hub, lab, bearer(service, **{"Collegium-Act-As": lab.ben.id}), upload=True)
                await hub.act(lab.anas, "grant_revoke", session_id=lab.session, participant="ben")
                await ended("service for somebody removed", listening, now())
                await asyncio.to_thread(lab.let_in)

                cookie = page_world.sign_in(lab.house, lab.ben)
                listening = await surfaces(hub, lab, {"Cookie": f"collegium={cookie}"}, upload=False)
                async with httpx.AsyncClient(headers={"Host": "hub.test", "Cookie": f"collegium={cookie}"}) as browser:
                    out = await browser.post(
                        f"http://127.0.0.1:{hub.webs[1]}/do",
                        headers={"Origin": "http://hub.test"},
                        data={"action": "sign_out"},
                    )
                assert out.status_code == 303, out.text
                await ended("signed out", listening, now())

                hub.valkey.kill()  # From here on everything is found by asking.
                await hub.valkey.wait()
                cookie = page_world.sign_in(lab.house, lab.ben)
                listening = await surfaces(hub, lab, {"Cookie": f"collegium={cookie}"}, upload=False)
                await asyncio.to_thread(lab.disable)
                await ended("account disabled, without Redis", listening, now())

    asyncio.run(scenario())
