"""Two people in one room of a whole hub: they see each other, each other's cursors, what is said and what is made."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.room_world import Enter, Hub, pointing, until
from tests.web import page_world


@pytest.fixture(scope="module")
def picture(hub: Hub, session: str) -> str:
    return hub.add(session, "figures/band.svg", page_world.svg())


def test_two_people_see_each_others_cursors_on_the_same_spot(enter: Enter, hub: Hub, picture: str) -> None:
    look = f"?look=artifact:{picture}"
    owner, ben = enter(None, look), enter("ben", look)
    expect(owner.locator(".room-head")).to_contain_text("Two people here")
    expect(ben.locator(".room-head")).to_contain_text("Two people here")
    for mover, watcher, name in ((owner, ben, "Root"), (ben, owner, "Ben")):
        at = _middle_top(mover)
        mover.mouse.move(at[0] - 30, at[1])
        mover.mouse.move(*at)
        until(watcher, lambda w=watcher, n=name: n in pointing(w))  # type: ignore[misc]
        until(watcher, lambda w=watcher, n=name: _near(pointing(w)[n], _middle_top(w)))  # type: ignore[misc]
        until(watcher, lambda w=watcher: _is_painted(w, _middle_top(w)))  # type: ignore[misc]
        watcher.get_by_text("Who points where, as a list").click()
        expect(watcher.locator("[data-slot=pointing]")).to_contain_text(f"{name} points at the upper part")
        watcher.get_by_text("Who points where, as a list").click()
        mover.mouse.move(2, 2)
        until(watcher, lambda w=watcher: pointing(w) == {})  # type: ignore[misc]
        until(watcher, lambda w=watcher: not _is_painted(w, _middle_top(w)))  # type: ignore[misc]


def _middle_top(page: Page) -> tuple[float, float]:
    box = page.locator(".preview img").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.25


def _near(spot: tuple[float, float] | None, wanted: tuple[float, float]) -> bool:
    return spot is not None and abs(spot[0] - wanted[0]) < 4 and abs(spot[1] - wanted[1]) < 4


def _is_painted(page: Page, at: tuple[float, float]) -> bool:
    """Whether the layer of cursors has ink where the arrow's body would be."""
    return bool(
        page.evaluate(
            """([x, y]) => { const sheet = document.querySelector(".cursors canvas");
                const box = sheet.getBoundingClientRect(), dots = sheet.width / box.width;
                const [across, down] = [(x - box.left + 2) * dots, (y - box.top + 5) * dots];
                return sheet.getContext("2d").getImageData(across, down, 1, 1).data[3] > 0; }""",
            list(at),
        )
    )


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
    ben.mouse.move(2, 2)
    expect(sentence).to_have_text("")


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


def test_a_page_that_comes_back_out_of_the_browsers_cache_is_in_the_room_again(enter: Enter) -> None:
    page = enter(None)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    expect(page.locator("live-room[data-state=closed]")).to_be_attached()
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(page.locator("live-room[data-state=open]")).to_be_attached()
