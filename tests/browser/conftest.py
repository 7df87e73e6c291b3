"""A hub in this process, a real Chromium in front of it, and a small world to look at."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.database import metadata
from hub.core.house import House
from hub.core.settings import Settings
from hub.perform import perform as perform_action
from hub.web.application import create
from tests.browser.room_world import enter, hub, session, settings  # noqa: F401 - fixtures
from tests.conftest import NOW, make_person
from tests.web import page_world
from tests.web.page_world import World

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
Look = Callable[..., Page]
Launch = Callable[..., Browser]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def launch() -> Iterator[Launch]:
    """`launch("--flag", ...)`: the system's Chromium; in root's hands without its sandbox, on pages of our own only."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    assert found is not None, "no Chromium on this machine"
    sandboxless = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        yield lambda *flags: playwright.chromium.launch(executable_path=found, args=[*sandboxless, *flags])


@pytest.fixture(scope="session")
def chromium(launch: Launch) -> Iterator[Browser]:
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests that only look; a module whose tests change it overrides this with one of its own."""
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


@contextlib.contextmanager
def serving(data: Path, host: str = "127.0.0.1") -> Iterator[World]:
    """A fresh world, served on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        origin = f"http://{host}:{listening.getsockname()[1]}"
        settings = Settings(data=data, public_url=origin)
        clock = FrozenClock(NOW)
        house = app.build(settings, clock=clock, bus=MemoryBus())
        metadata.create_all(house.db.write_engine)

        def perform(actor: Actor, action: str, **params: Any) -> Any:
            envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
            return perform_action(house, envelope, actor).result

        made = page_world.make(house, clock, perform, make_person(house, "ana"), make_person(house, "ben"))
        server = uvicorn.Server(
            uvicorn.Config(create(house), log_level="error", ws="none", timeout_graceful_shutdown=1)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline, "the web process did not start"
            time.sleep(0.02)
        try:
            yield made
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def look(chromium: Browser, world: World) -> Iterator[Look]:
    """`look(path, width=..., theme=...)`: a page as Ana sees it, at the world's own time, watched for complaints."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []
    house: House = world.house

    def open_page(
        path: str, *, width: int = 1440, theme: Any = "light", person: Actor | None = world.ana, **options: Any
    ) -> Page:
        context = chromium.new_context(
            base_url=house.settings.origin,
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            timezone_id="UTC",
            locale="en-GB",
            **options,
        )
        contexts.append(context)
        context.set_default_timeout(15_000)
        if person is not None:
            cookie = page_world.sign_in(house, person)
            context.add_cookies([{"name": "collegium", "value": cookie, "url": house.settings.origin}])
        page = context.new_page()
        page.clock.set_fixed_time(NOW)
        page.on("pageerror", lambda error: complaints.append(f"{path}: {error}"))
        page.on("console", lambda said: _note(said, path, complaints))
        page.goto(path)
        if options.get("java_script_enabled", True):
            page.locator("html[data-alive]").wait_for(state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _note(said: Any, path: str, complaints: list[str]) -> None:
    # This process serves no sockets, so a room says that it cannot be reached; that a form came back with what is wrong
    # beside its fields is noted by the browser itself. Everything else is a fault.
    came_back = ("/jobs/submit", "/jobs/plan", "/jobs/preview")
    url = said.location["url"]
    if said.text.startswith("Failed to load resource") and ("/clusters" in url or url.endswith(came_back)):
        return
    # A form that is answered with a question is none either: Chromium tells its status all the same.
    if "status of 409" in said.text and url.endswith("/do"):
        return
    # This process serves no sockets, so a room says that it cannot be reached; everything else is a fault.
    if said.type in ("error", "warning") and "WebSocket" not in said.text and "/ws?" not in url:
        complaints.append(f"{path}: {said.text}")
