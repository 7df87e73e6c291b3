"""Two people in one room of a whole hub: they see each other, each other's cursors, what is said and what is made."""

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

from tests.web import page_world

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
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """`collegium up`, with all its processes."""
    data = tmp_path_factory.mktemp("up")
    said = data.with_suffix(".log")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("COLLEGIUM_")}
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
    return str(made["name"])


@pytest.fixture(scope="module")
def picture(hub: Hub, session: str) -> str:
    return hub.add(session, "figures/band.svg", page_world.svg())


Enter = Callable[..., Page]


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


def test_two_people_see_each_others_cursors_on_the_same_spot(enter: Enter, hub: Hub, picture: str) -> None:
    look = f"?look=artifact:{picture}"
    owner, ben = enter(None, look), enter("ben", look)
    expect(owner.locator(".room-head")).to_contain_text("Two people here")
    expect(ben.locator(".room-head")).to_contain_text("Two people here")
    for mover, watcher in ((owner, ben), (ben, owner)):
        box = mover.locator(".preview img").bounding_box()
        assert box is not None
        cursor = watcher.locator(".cursor")
        for step in range(1, 20):
            mover.mouse.move(box["x"] + box["width"] * step / 40, box["y"] + box["height"] / 4)
            if cursor.count():
                break
        mover.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.25)
        expect(cursor).to_have_count(1)
        theirs = watcher.locator(".preview img").bounding_box()
        assert theirs is not None
        wanted = (theirs["x"] + theirs["width"] * 0.5, theirs["y"] + theirs["height"] * 0.25)
        watcher.wait_for_function(
            """([x, y]) => { const box = document.querySelector(".cursor").getBoundingClientRect();
                return Math.abs(box.left - x) < 4 && Math.abs(box.top - y) < 4; }""",
            arg=list(wanted),
        )
        watcher.get_by_text("Who points where, as a list").click()
        expect(watcher.locator("[data-slot=pointing]")).to_contain_text("points at the upper part")
        watcher.get_by_text("Who points where, as a list").click()
        mover.mouse.move(2, 2)
        expect(cursor).to_have_count(0)


def test_what_one_says_the_other_reads_and_finds_again(enter: Enter) -> None:
    owner, ben = enter(None), enter("ben")
    field = owner.get_by_role("textbox", name="Message")
    field.fill(f"Look at the gap {page_world.HOSTILE}")
    field.press("Enter")
    heard = ben.locator(".said li").filter(has_text=f"Look at the gap {page_world.HOSTILE}")
    expect(heard).to_have_count(1)
    expect(owner.locator(".said li.unsure")).to_have_count(0)
    expect(owner.locator(".said li").filter(has_text="Look at the gap")).to_have_count(1)
    assert ben.locator(".said img").count() == 0
    ben.reload()
    expect(heard).to_have_count(1)


def test_what_is_made_appears_on_the_shelf_by_itself(enter: Enter, hub: Hub, session: str) -> None:
    owner = enter(None)
    name = f"made/{time.monotonic_ns()}.csv"
    hub.add(session, name, b"a,b\n1,2\n")
    expect(owner.locator("#room-shelf")).to_contain_text(name, timeout=20_000)


def test_the_log_of_a_running_job_is_read_in_the_room_as_it_is_written(enter: Enter, hub: Hub, session: str) -> None:
    script = "#!/bin/sh\nfor n in 1 2 3 4 5 6; do echo line $n; sleep 0.3; done\n"
    job = hub.act("job_submit", session_id=session, name="counting", script=script)["id"]
    owner = enter(None, f"?look=job:{job}")
    expect(owner.locator(".log-text")).to_contain_text("line 6", timeout=60_000)
    expect(owner.locator("#room-job")).to_contain_text("Succeeded", timeout=60_000)


def test_who_wants_no_motion_is_told_in_words_where_others_point(enter: Enter, picture: str) -> None:
    look = f"?look=artifact:{picture}"
    still, ben = enter(None, look, reduced_motion="reduce"), enter("ben", look)
    box = ben.locator(".preview img").bounding_box()
    assert box is not None
    sentence = still.locator("[data-say=pointing]")
    deadline = time.monotonic() + 20
    while not sentence.inner_text() and time.monotonic() < deadline:
        for step in range(5):
            ben.mouse.move(box["x"] + box["width"] * (0.9 + step / 100), box["y"] + box["height"] * 0.9)
        still.wait_for_timeout(200)
    expect(sentence).to_have_text("Ben points at the lower right part.")
    expect(still.locator(".cursors")).to_be_hidden()


def test_whose_link_is_taken_back_is_put_out_of_the_room(
    chromium: Browser, hub: Hub, session: str, picture: str
) -> None:
    shared = hub.act("link_create", session_id=session, role="read")
    context = chromium.new_context(base_url=hub.origin)
    guest = context.new_page()
    guest.goto(f"/l/{shared['secret']}")
    guest.get_by_role("button", name="Open it").click()
    expect(guest.locator("live-room[data-state=open]")).to_be_attached(timeout=20_000)
    hub.act("link_revoke", link=shared["link"])
    expect(guest.locator("live-room[data-state=closed]")).to_be_attached(timeout=20_000)
    expect(guest.get_by_role("status")).to_contain_text("closed to you")
    guest.reload()
    expect(guest.get_by_role("heading", level=1)).to_have_text(re.compile("Sign in|There is nothing here"))
    context.close()
