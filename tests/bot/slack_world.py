"""A hub, a fake Slack and the bot between them, all in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn

from bot import process
from bot.process import Wiring
from hub import app
from hub.chats.tables import chat_channels
from hub.core.context import Actor
from hub.core.house import House
from hub.people import embedded
from hub.people.tables import chat_identities
from hub.perform import perform
from hub.sessions.tables import sessions
from hub.web.application import create
from tests.bot.fake_slack import FakeSlack
from tests.conftest import make_person


class HubServer:
    """The web process of a house, on a Unix socket, in a thread; it can be taken away and brought back."""

    def __init__(self, house: House, place: Path) -> None:
        self.house, self.place = house, place
        self.late_seconds: list[float] = []  # how late the next actions are answered, after they are done
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.start()

    def start(self) -> None:
        self.place.unlink(missing_ok=True)
        if self._server is not None:  # the first one closed its house when it ended
            self.house = app.build(self.house.settings, clock=self.house.clock, bus=self.house.bus)
        config = uvicorn.Config(
            self._late(create(self.house)), uds=str(self.place), log_level="error", access_log=False,
            ws="none", lifespan="on", timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.005)

    def _late(self, web: Any) -> Any:
        async def late(scope: Any, receive: Any, send: Any) -> None:
            seconds = 0.0
            if scope["type"] == "http" and scope["path"] == "/api/actions" and self.late_seconds:
                seconds = self.late_seconds.pop(0)

            async def send_late(message: Any) -> None:
                if message["type"] == "http.response.start":
                    await asyncio.sleep(seconds)
                await send(message)

            await web(scope, receive, send_late)

        return late

    def stop(self) -> None:
        assert self._server is not None and self._thread is not None
        self._server.should_exit = True
        self._thread.join(10)
        self.place.unlink(missing_ok=True)


class BotThread:
    """The bot's process as a thread of this one."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self.fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._thread.is_alive() and time.monotonic() < deadline, self.fault
            time.sleep(0.005)

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await process.serve(self._wiring, self._stop)

        try:
            asyncio.run(main())
        except BaseException as error:
            self.fault = error

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._wiring.listen_on))
                return True
            except OSError:
                return False

    def stop(self) -> None:
        assert self._loop is not None and self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        if self.fault is not None:
            raise self.fault


class SlackWorld:
    """Ana and Ben are linked, Cleo is not; the channel `lab` belongs to no session yet."""

    def __init__(self, house: House, slack: FakeSlack, folder: Path) -> None:
        self.house, self.slack = house, slack
        house.db.write(lambda tx: embedded.make_first_people(tx, house))
        embedded.write_tokens(house)
        self.operator = make_person(house, "olga", hub_role="operator")
        self.ana_here, self.ben_here = make_person(house, "ana"), make_person(house, "ben")
        self.lab = slack.channel("lab")
        self.ana, self.ben = slack.person("Ana"), slack.person("Ben")
        self.cleo = slack.person("Cleo", email="cleo@university.edu")
        self.link(self.ana, self.ana_here)
        self.link(self.ben, self.ben_here)
        self.hub = HubServer(house, folder / "web.sock")
        self.folder = folder
        self.bot: BotThread | None = None

    def install(self, **more: Any) -> None:
        self.act(
            self.operator, "chat_install", platform="slack", workspace=self.slack.team, name="The Lab",
            bot_user=self.slack.bot_user, bot_token=self.slack.bot_token, signing_secret=self.slack.signing_secret,
            **more,
        )  # fmt: skip

    def start_bot(self, *, by_http: bool = True) -> None:
        token = (self.house.settings.data / "keys" / "bot.token").read_text().strip()
        place = self.folder / "bot.sock"
        self.bot = BotThread(
            Wiring(
                hub_url=self.house.settings.origin, token=token, listen_on=place, hub_socket=self.hub.place,
                api_url=self.slack.url, with_cards=False,
            )
        )  # fmt: skip
        if by_http:
            self.slack.deliver_to("http://bot", uds=str(place))

    def link(self, user: str, person: Actor) -> None:
        self.house.db.write(
            lambda tx: tx.execute(
                sa.insert(chat_identities).values(
                    platform="slack", workspace=self.slack.team, user=user, person=person.id, shown_name=user,
                    via="link", linked_at=self.house.clock.now(),
                )
            )
        )  # fmt: skip

    def act(self, actor: Actor, action: str, **params: Any) -> Any:
        envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        return perform(self.house, envelope, actor).result

    def give_channel(self, name: str, *, chat_detail: str = "full") -> str:
        """Make a session of Ana's and give it the channel; returns its full name."""
        made = self.act(self.ana_here, "session_create", name=name, title=name)["session"]
        values = {"platform": "slack", "workspace": self.slack.team, "channel": self.lab, "session": made}

        def work(tx: Any) -> None:
            tx.execute(sa.insert(chat_channels).values(
                **values, cards="full", set_by=self.ana_here.id, set_at=self.house.clock.now()
            ))  # fmt: skip
            tx.execute(sa.update(sessions).where(sessions.c.id == made).values(chat_detail=chat_detail))

        self.house.db.write(work)
        return f"ana/{name}"

    def rows(self, table: sa.Table, *conditions: Any) -> list[Any]:
        with self.hub.house.db.read() as conn:
            return list(conn.execute(sa.select(table).where(*conditions)).all())

    def close(self) -> None:
        if self.bot is not None:
            self.bot.stop()
        self.hub.stop()
        self.hub.house.close()


@contextlib.contextmanager
def slack_world(house: House, folder: Path, *, starts: bool = True) -> Iterator[SlackWorld]:
    """A world whose bot is running and connected, unless `starts` is False."""
    with FakeSlack() as slack:
        for method in ("chat.postMessage", "chat.postEphemeral"):
            slack.rate(method, None)
        world = SlackWorld(house, slack, folder)
        try:
            if starts:
                world.install()
                world.start_bot()
            yield world
        finally:
            world.close()
