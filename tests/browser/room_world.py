"""A whole hub with a session in it, and people who come into its room in browsers of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

STARTS_WITHIN_SECONDS = 90


class Hub(msgspec.Struct):
    """A running hub and its operator's token."""

    origin: str
    token: str

    def ask(self, method: str, path: str, **options: Any) -> Any:
        headers = {"authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        answer = httpx.request(method, f"{self.origin}{path}", headers=headers, timeout=30, **options)
        assert answer.status_code < 300, answer.text
        return answer

    def act(self, action: str, **params: Any) -> Any:
        envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        return self.ask("POST", "/api/actions", json=envelope).json()["result"]

    def add(self, session: str, path: str, content: bytes) -> str:
        """Upload a file in one piece and name it."""
        tus = {"tus-resumable": "1.0.0"}
        place = self.ask(
            "POST", f"/api/uploads?session={session}", headers={**tus, "upload-length": str(len(content))}
        ).headers["location"]
        sent = self.ask(
            "PATCH",
            httpx.URL(self.origin).join(place).raw_path.decode(),
            headers={**tus, "upload-offset": "0", "content-type": "application/offset+octet-stream"},
            content=content,
        )
        digest = sent.headers["collegium-digest"]
        return str(self.act("artifact_versioning", session_id=session, artifact_path=path, digest=digest)["artifact"])


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """What a module's hub is told besides; a module overrides this."""
    return {}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, settings: dict[str, str]) -> Iterator[Hub]:
    """`collegium up`, with all its processes."""
    data = tmp_path_factory.mktemp("up")
    said = data.with_suffix(".log")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COLLEGIUM_")} | settings
    command = [sys.executable, "-m", "hub.cli", "up", "--data", str(data), "--port", "0", "--plain"]
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        yield Hub(_origin(process, said), (data / "operator.token").read_text().strip())
    finally:
        process.terminate()
        process.wait(30)


def _origin(process: subprocess.Popen[bytes], said: Path) -> str:
    deadline = time.monotonic() + STARTS_WITHIN_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, said.read_text()
        found = re.search(r"http://127\.0\.0\.1:\d+", said.read_text())
        if found is not None:
            try:
                if httpx.get(f"{found[0]}/readyz").status_code == 200:
                    return found[0]
            except httpx.TransportError:
                pass
        time.sleep(0.1)
    raise AssertionError(said.read_text())


@pytest.fixture(scope="module")
def session(hub: Hub) -> str:
    """A session with a picture to look at, shared with Ben."""
    made = hub.act("session_create", name="room-test", title="The room")
    hub.act("account_create", name="Ben", handle="ben")
    hub.act("account_create", name="Cem", handle="cem")
    return str(made["name"])


Enter = Callable[..., Page]


def pointing(page: Page) -> dict[str, tuple[float, float] | None]:
    """Whose cursors a page shows, by name, and where on its screen (None: out of sight)."""
    seen = page.evaluate("document.querySelector('live-room').stage.cursors?.seen() ?? []")
    return {each["name"]: each["spot"] and (each["spot"]["left"], each["spot"]["top"]) for each in seen}


def until(page: Page, holds: Callable[[], bool], seconds: float = 60) -> None:
    """Look again until something holds, as `expect` does for what is in the document."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        page.wait_for_timeout(50)


@pytest.fixture
def enter(chromium: Browser, hub: Hub, session: str) -> Iterator[Enter]:
    """`enter("ben", look)` brings somebody into the room in a browser of their own."""
    contexts: list[BrowserContext] = []

    def come_in(person: str | None, look: str = "", **options: Any) -> Page:
        context = chromium.new_context(base_url=hub.origin, viewport={"width": 1280, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        if person is None:
            link = hub.act("signin_link")
            page.goto(f"/signin/{link['secret']}")
            page.get_by_role("button", name="Sign in").click()
        else:
            link = hub.act("signin_link", person=person)
            page.goto(f"/signin/{link['secret']}")
            page.get_by_role("button", name="Sign in").click()
            shared = hub.act("link_create", session_id=session, role="read_write")
            page.goto(f"/l/{shared['secret']}")
            page.get_by_role("button", name="Open it").click()
        page.goto(f"/s/{session}{look}")
        expect(page.locator("live-room[data-state=open]")).to_be_attached(timeout=20_000)
        return page

    yield come_in
    for context in contexts:
        context.close()
