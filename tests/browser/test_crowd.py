"""Three real pages among thirty programs that speak the room's protocol: everybody's cursor arrives, and goes again."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from websockets.asyncio.client import connect

from hub.live import frames, protocol
from tests.browser.room_world import Enter, Hub, until
from tests.web import page_world

PROGRAMS = 30


@pytest.fixture(scope="module")
def picture(hub: Hub, session: str) -> str:
    return hub.add(session, "figures/crowd.svg", page_world.svg())


class Crowd:
    """Programs that come into a room, look at one thing and point at it until they are sent home."""

    def __init__(self, hub: Hub, session: str, thing: str) -> None:
        self._thing = thing
        self._urls = [hub.ask("POST", "/api/tickets", json={"session": session}).json()["url"] for _ in range(PROGRAMS)]
        self._home = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        self.heard = 0
        self.failures: list[BaseException] = []
        self._thread.start()

    def go_home(self) -> None:
        self._home.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        assert self.failures == []

    async def _all(self) -> None:
        found = await asyncio.gather(
            *(self._one(number, url) for number, url in enumerate(self._urls)), return_exceptions=True
        )
        self.failures = [each for each in found if isinstance(each, BaseException)]

    async def _one(self, number: int, url: str) -> None:
        async with connect(url, ping_interval=None, compression=None) as socket:
            await socket.send(protocol.encode(frames.Hello(1)))
            await socket.send(protocol.encode(frames.View((self._thing,))))
            listening = asyncio.create_task(self._listen(socket))
            try:
                view = None
                for step in range(100_000):
                    if self._home.is_set():
                        return
                    view = view or self._views.get(self._thing)
                    if view is not None:
                        angle = step / 20 + number
                        x, y = (int(32_000 + 30_000 * turn(angle)) for turn in (math.cos, math.sin))
                        await socket.send(protocol.encode(frames.Cursor(view, x, y, 0, step & 0xFF)))
                    await asyncio.sleep(0.1)
            finally:
                listening.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listening

    async def _listen(self, socket: object) -> None:
        async for data in socket:  # type: ignore[attr-defined]
            match protocol.parse_server(data):
                case frames.Views(names):
                    self._views = {name: number for number, name in names}
                case frames.Tick(_, cursors):
                    self.heard += len(cursors)
                case frames.Ping(mark):
                    await socket.send(protocol.encode(frames.Pong(mark, 0)))  # type: ignore[attr-defined]
                case _:
                    pass

    _views: dict[str, int] = {}  # noqa: RUF012 - set as a whole by whoever hears it


@pytest.fixture
def crowd(hub: Hub, session: str, picture: str) -> Iterator[Crowd]:
    found = Crowd(hub, session, f"artifact:{picture}")
    yield found
    found.go_home()


def test_three_pages_live_among_thirty_programs(enter: Enter, hub: Hub, picture: str, crowd: Crowd) -> None:
    look = f"?look=artifact:{picture}"
    pages = [enter(None, look), enter("ben", look), enter("ben", look)]
    for page in pages:
        until(page, lambda p=page: _shown(p, "Root") == PROGRAMS)  # type: ignore[misc]
    box = pages[1].locator("[data-point] img").bounding_box()
    assert box is not None
    pages[1].mouse.move(box["x"] + 20, box["y"] + 20, steps=5)
    until(pages[0], lambda: _shown(pages[0], "Ben") == 1)
    pages[1].get_by_role("textbox", name="Message").fill("thirty of you")
    pages[1].keyboard.press("Enter")
    for page in pages:
        expect(page.locator(".said")).to_contain_text("thirty of you")
    assert crowd.heard > PROGRAMS
    crowd.go_home()
    for page in pages:
        until(page, lambda p=page: _shown(p, "Root") == 0, 10)  # type: ignore[misc]


def _shown(page: Page, name: str) -> int:
    seen = page.evaluate("document.querySelector('live-room').stage.cursors.seen()")
    return sum(each["name"] == name for each in seen)
