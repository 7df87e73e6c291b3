"""Real web and real live for drafts: web can be stopped and started again in between, live may stand there twice.

`Writer` is an editor without a screen: it keeps a document of the library's, one edit on its way at a time, and after
every break says how far it has come and sends what the record lacks. The browser's provider does the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import uvicorn
from pycrdt import Doc, Text
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from hub import app
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.errors import HubError
from hub.core.house import House
from hub.core.settings import Settings
from hub.live import app as live_app
from hub.live import frames, protocol
from hub.live.frames import DraftAware, DraftSaved, DraftState, DraftUpdate, Kind, Told
from hub.live.node import Node
from hub.people import embedded
from hub.perform import perform
from hub.rooms.drafts import log, rules
from hub.rooms.drafts.document import joined
from hub.sessions.tables import grants
from hub.web import application, live
from tests.conftest import make_person
from tests.live.loopback import listen_unix, serving

TOKEN = "live-" + "t" * 40
ORIGIN = "http://hub.test"
PIECE_BYTES = 48 * 1024


class World:
    """A hub on SQLite whose processes stand in this loop."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(
            data=folder, public_url=ORIGIN, live_token=TOKEN, redis_url=f"unix://{folder}/nobody.sock"
        )
        self.house: House
        self.ports: list[int] = []
        self.nodes: list[Node] = []
        self._web: contextlib.AsyncExitStack = contextlib.AsyncExitStack()

    async def start_web(self) -> None:
        """A web process with nothing open yet."""
        self.house = await asyncio.to_thread(app.build, self.settings, bus=MemoryBus())
        config = uvicorn.Config(
            application.create(self.house), log_level="error", lifespan="on", ws="none", access_log=False,
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        listen = self._web.enter_context(listen_unix(self.settings.web_socket))
        await self._web.enter_async_context(serving(uvicorn.Server(config), listen))

    async def stop_web(self) -> None:
        """It closes its house as it ends."""
        await self._web.aclose()
        self._web = contextlib.AsyncExitStack()

    async def act(self, actor: Actor, action: str, **params: Any) -> Any:
        envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        return (await asyncio.to_thread(perform, self.house, envelope, actor)).result

    async def person(self, handle: str, session: str = "", role: str = "read_write") -> Actor:
        """Somebody new, with this role in a session."""
        actor = await asyncio.to_thread(make_person, self.house, handle)
        if session:
            await self.give(session, actor, role)
        return actor

    async def give(self, session: str, actor: Actor, role: str) -> None:
        row = {"session": session, "subject": actor.id, "via": "share", "role": role, "at": self.house.clock.now()}
        await asyncio.wrap_future(
            self.house.db.submit(
                lambda tx: (
                    tx.execute(grants.delete().where(grants.c.session == session, grants.c.subject == actor.id)),
                    tx.insert(grants, **row),
                )
            )
        )

    async def text(self, draft: str) -> str:
        """What the record says, read by nobody's cache."""

        def read() -> str:
            with self.house.db.read() as conn:
                row = log.row(conn, draft)
                assert row is not None
                return log.load(conn, self.house.keys.domain(row.session), row).text()

        return await asyncio.to_thread(read)

    async def ticket(self, actor: Actor, session: str) -> str:
        return (await asyncio.to_thread(live.make_ticket, self.house, actor, {"session": session})).ticket

    async def socket(self, actor: Actor, session: str, node: int = 0) -> ClientConnection:
        """A member's socket, after its HELLO."""
        ticket = await self.ticket(actor, session)
        url = f"ws://127.0.0.1:{self.ports[node]}/ws?ticket={ticket}"
        found = await connect(url, origin=ORIGIN, ping_interval=None, compression=None, max_queue=256)  # type: ignore[arg-type]
        await found.send(protocol.encode(frames.Hello(1)))
        return found


@contextlib.asynccontextmanager
async def world(folder: Path, empty_database: Path, nodes: int = 1) -> AsyncIterator[World]:
    """One web, and so many live processes before it that know nothing of each other."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(empty_database, folder / "hub.sqlite3")
    made = World(folder)
    await made.start_web()
    await asyncio.to_thread(embedded.write_tokens, _with_owner(made.house))
    try:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(nodes):
                listen = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
                made.ports.append(listen.getsockname()[1])
                server = live_app.server(made.settings, timeout_graceful_shutdown=1)
                await stack.enter_async_context(serving(server, listen))
                node: Node = server.config.app.state.node  # type: ignore[union-attr]
                made.nodes.append(node)
                while not node.follower.current:
                    await asyncio.sleep(0.01)
            yield made
    finally:
        await made.stop_web()


def _with_owner(house: House) -> House:
    house.db.write(lambda tx: embedded.make_first_people(tx, house))
    return house


class Writer:
    """Somebody who writes in a draft, and comes back whenever the connection breaks."""

    def __init__(self, world: World, actor: Actor, session: str, draft: str, node: int = 0) -> None:
        self.world, self.actor, self.session, self.draft, self.node = world, actor, session, draft, node
        self.epoch = 0
        self.sequence = 0
        self.doc: Doc[Text] = Doc()
        self.text_of_draft = self.doc.get(rules.TEXT, type=Text)
        self.saved_marks: list[int] = []
        self.troubles: list[dict[str, Any]] = []
        self.carets: dict[int, bytes] = {}
        self.open = asyncio.Event()
        self.changed = asyncio.Condition()
        self.times_cut = 0
        self._unsent: list[bytes] = []
        self._flying: tuple[int, bytes] | None = None
        self._mark = 0
        self._mine = False
        self._socket: ClientConnection | None = None
        self._pieces: list[bytes] = []
        self._observing = self.doc.observe(lambda event: self._unsent.append(event.update) if self._mine else None)
        self._task: asyncio.Task[None] | None = None
        # What a fault does to a frame on its way out: how many times it is sent.
        self.luck: Callable[[], int] = lambda: 1

    # Life

    async def __aenter__(self) -> Writer:
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _live(self) -> None:
        while True:
            # While web is away no ticket can be had: Unavailable, or what a closing house raises.
            with contextlib.suppress(OSError, WebSocketException, EOFError, HubError, sa.exc.SQLAlchemyError):
                await self._connection()
            self.open.clear()
            self._socket = None
            await asyncio.sleep(random.uniform(0.02, 0.1))

    async def _connection(self) -> None:
        self._socket = await self.world.socket(self.actor, self.session, self.node)
        try:
            await self.sync()
            async for data in self._socket:
                assert isinstance(data, bytes)
                await self._hear(protocol.parse_server(data))
        finally:
            self._socket.transport.abort()

    def cut(self) -> None:
        """The cable is pulled."""
        if self._socket is not None:
            self.times_cut += 1
            self._socket.transport.abort()

    # Writing

    @property
    def text(self) -> str:
        return str(self.text_of_draft)

    @property
    def is_saved(self) -> bool:
        return self.open.is_set() and not self._unsent and self._flying is None

    async def replace(self, where: int, less: int, more: str) -> None:
        """Take characters away and put others in their place, as if typed."""
        before = self.text
        at, end = len(before[:where].encode()), len(before[: where + less].encode())
        self._mine = True
        with self.doc.transaction():
            if end > at:
                del self.text_of_draft[at:end]
            self.text_of_draft.insert(at, more)
        self._mine = False
        await self._send_next()

    async def point(self, data: bytes) -> None:
        await self._say(frames.AwareDraft(self.draft, data))

    async def stop(self) -> None:
        await self._say(frames.CloseDraft(self.draft))

    async def sync(self) -> None:
        """Say how far one has come."""
        self._pieces.clear()
        self.open.clear()
        await self._say(frames.OpenDraft(self.draft, self.epoch, self.doc.get_state()))

    async def _send_next(self) -> None:
        if self._flying is not None or not self._unsent or not self.open.is_set():
            return
        self._mark += 1
        self._flying = (self._mark, joined(self._unsent))
        self._unsent.clear()
        for _ in range(self.luck()):
            await self.send_update(*self._flying)

    async def send_update(self, mark: int, update: bytes, epoch: int | None = None) -> None:
        """An update as EDIT frames."""
        cuts = range(0, max(1, len(update)), PIECE_BYTES)
        for at in cuts:
            piece = update[at : at + PIECE_BYTES]
            edit = frames.EditDraft(self.draft, self.epoch if epoch is None else epoch, mark, at != cuts[-1], piece)
            await self._say(edit)

    async def _say(self, frame: Any) -> None:
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(protocol.encode(frame))

    # Hearing

    async def _hear(self, frame: Any) -> None:
        match frame:
            case DraftState(more=more, update=piece):
                self._pieces.append(piece)
                if not more:
                    await self._opened(frame, b"".join(self._pieces))
                    self._pieces.clear()
            case DraftUpdate(more=more, update=piece):
                self._pieces.append(piece)
                if not more:
                    self.doc.apply_update(b"".join(self._pieces))
                    self.sequence = max(self.sequence, frame.sequence)
                    self._pieces.clear()
            case DraftSaved(mark=mark):
                self.saved_marks.append(mark)
                if self._flying is not None and self._flying[0] == mark:
                    self._flying = None
                    await self._send_next()
            case DraftAware(slot=slot, data=data):
                if data:
                    self.carets[slot] = data
                else:
                    self.carets.pop(slot, None)
            case Told(kind=Kind.ERR, body=body):
                self.troubles.append(body)
                if body["code"] in {"missing_history", "not_recorded", "too_many", "unavailable", "not_open"}:
                    await asyncio.sleep(0.05)
                    await self.sync()
        async with self.changed:
            self.changed.notify_all()

    async def _opened(self, frame: DraftState, update: bytes) -> None:
        assert self.epoch in (0, frame.epoch), "histories differ; this writer keeps no copy"
        self.epoch, self.sequence = frame.epoch, frame.sequence
        if update:
            self.doc.apply_update(update)
        self.open.set()
        if self._flying is not None or self._unsent:
            self._flying = None
            self._unsent = [self.doc.get_update(frame.state or b"\x00")]
            await self._send_next()

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Wait until something holds; a writer that has died will see nothing come true."""

        def holds() -> bool:
            if self._task is not None and self._task.done():
                self._task.result()
            return wanted()

        async with self.changed:
            await self.changed.wait_for(holds)

    def __str__(self) -> str:
        died = self._task.exception() if self._task is not None and self._task.done() else None
        return (
            f"open {self.open.is_set()}, unsent {len(self._unsent)}, flying {self._flying is not None}, "
            f"sequence {self.sequence}, troubles {self.troubles[-3:]}, died of {died!r}"
        )
