"""A real hub, a fake Slack and a follower of cards between them, run turn by turn."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import sqlalchemy as sa

from bot.card_work import Need
from bot.chat_hub import ChatHub
from bot.follower import Follower
from bot.posts import SlackPosts
from bot.slack_client import web_client
from hub.chats.tables import chat_cards
from hub.core.context import Actor, Context
from hub.core.house import House
from hub.jobs.transitions import OBSERVED, happen, lock
from hub.ledger.sequencer import pass_once
from hub.people.tables import chat_identities
from hub.perform import perform, record
from tests.bot.fake_slack import FakeSlack, Message
from tests.bot.slack_world import HubServer
from tests.conftest import NOW
from tests.web.test_chats import service_token

TEAM = "T0LAB"
SCRIPT = "#!/bin/sh\ntrue\n"


class Lab:
    """Ana's session, a channel, a follower that is run until nothing is left to be done."""

    def __init__(self, house: House, slack: FakeSlack, hub: ChatHub, ana: Actor) -> None:
        self.house, self.slack, self.hub, self.ana = house, slack, hub, ana
        self.channel = slack.channel("lab")
        self.user = slack.person("Ana")
        self.turns = 0
        values = {"platform": "slack", "workspace": TEAM, "user": self.user, "person": ana.id}
        house.db.write(
            lambda tx: tx.execute(
                sa.insert(chat_identities).values(shown_name="Ana", via="link", linked_at=NOW, **values)
            )
        )
        self.follow()

    def act(
        self, action: str, *, channel: str | None = "", tool: str = "distributed_collaboration", **params: Any
    ) -> Any:
        """Ana does something, heard in the channel unless it is None."""
        came_by = None if channel is None else f"slack:{TEAM}:{channel or self.channel}"
        actor = Actor(
            id=self.ana.id, name="Ana", handle="ana", came_by=came_by, by_service=None if came_by is None else "tok_bot"
        )
        envelope = {"tool": tool, "params": {"action": action, **params}}
        return perform(self.house, envelope, actor).result

    def submit(self, **params: Any) -> str:
        return str(self.act("job_submit", script=SCRIPT, **{"name": "fit", **params})["id"])

    def happen(self, job: str, *events: str, **values: Any) -> None:
        for event in events:
            self._happen(job, event, values if event == events[0] else {})

    def _happen(self, job: str, event: Any, values: dict[str, Any]) -> None:
        def work(ctx: Context) -> None:
            row = lock(ctx, job)
            assert row is not None
            happen(ctx, row, event, **values)

        record(self.house, OBSERVED, work)

    def end(self, job: str, event: str = "succeeded", reason: str = "", seconds: float = 1.0) -> None:
        begun = self.house.clock.now()
        self.happen(job, "placed", started_at=begun)
        self.house.clock.advance(seconds)  # type: ignore[attr-defined]
        self.happen(job, "started", "ended")
        self.happen(job, event, reason=reason, ended_at=self.house.clock.now())

    def follow(self, *, seconds: float = 3.0, leave: tuple[Need, ...] = ()) -> Follower:
        """A process that begins, takes in what happened, does all there is to be done, and ends."""
        pass_once(self.house.db, "test", self.house.clock.now())
        self.turns += 1
        return asyncio.run(self._follow(f"process {self.turns}", seconds, leave))

    async def _follow(self, holder: str, seconds: float, leave: tuple[Need, ...]) -> Follower:
        async with aiohttp.ClientSession() as session:
            posts = SlackPosts(web_client(self.slack.bot_token, self.slack.url, session), timeout_seconds=1.0)
            self.house.clock.advance(20)  # type: ignore[attr-defined]
            follower = Follower(self.hub, lambda *_: posts, holder, settle_seconds=0.0, wait_seconds=0)
            follower.worker.breath.seconds = 0.0
            sequence = await follower.begin()
            while (page := self.hub.events(sequence)).events:
                sequence = await follower.take_in(page)
            deadline = time.monotonic() + seconds
            while needs := [one for one in follower.needs() if one[1] not in leave]:
                if time.monotonic() > deadline:
                    break
                ready = [one for one in needs if follower.worker.ready_in(*one) <= 0]
                for live, need in ready[:1]:
                    follower.worker.reserve(live, need)
                    await follower._do(live, need)
                await asyncio.sleep(0 if ready else 0.02)
            return follower

    def cards(self) -> list[Any]:
        with self.house.db.read() as conn:
            return list(conn.execute(sa.select(chat_cards).order_by(chat_cards.c.id)).all())

    @property
    def roots(self) -> list[Message]:
        return [one for one in self.slack.messages if one.thread is None]

    @property
    def replies(self) -> list[Message]:
        return [one for one in self.slack.messages if one.thread is not None]


def give_channel(lab: Lab, channel: str, cards: str) -> None:
    """The channel belongs to the session and shows so many cards."""
    envelope = {"action": "channel_set", "platform": "slack", "workspace": TEAM, "channel": channel, "cards": cards}
    actor = Actor(id=lab.ana.id, name="Ana", handle="ana", came_by=f"slack:{TEAM}:{channel}", by_service="tok_bot")
    perform(lab.house, {**envelope, "session_id": "hcl"}, actor)


@contextlib.contextmanager
def card_lab(house: House, ana: Actor, folder: Path) -> Iterator[Lab]:
    """Ana's lab, with a hub on a Unix socket in `folder`."""
    server = HubServer(house, folder / "web.sock")
    hub = ChatHub("http://hub.test", service_token(house), transport=httpx.HTTPTransport(uds=str(server.place)))
    try:
        with FakeSlack(TEAM) as slack:
            slack.rate("chat.postMessage", None)
            yield Lab(house, slack, hub, ana)
    finally:
        hub.close()
        server.stop()
