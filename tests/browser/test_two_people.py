"""Two people, two real browsers, one whole hub: they see each other point, speak and work."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.embedded import Hub

SLOW_JOB = "#!/bin/bash\nfor each in 1 2 3 4 5 6; do echo counted $each of 6; sleep 0.5; done\necho 1,2 > table.csv\n"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with a session, a file to look at, and Ben beside its owner Ana."""
    hub = Hub(tmp_path_factory.mktemp("two"))
    try:
        hub("session", "create", "lab")
        hub.write("lines.csv", "line,wavenumber\nP1,2865.1\nP2,2843.6\n")
        hub("artifact", "add", "lines.csv", "--session", "ana/lab")
        yield hub
    finally:
        hub.close()


def page_for(hub: Hub, chromium: Browser, link: dict[str, str]) -> Page:
    """A browser of its own that came in by a link."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto(f"{link['url']}/{link['secret']}")
    page.locator("main form button").first.click()
    page.wait_for_url(lambda url: "/signin" not in url and "/l/" not in url)
    return page


def room(page: Page, hub: Hub) -> Page:
    page.goto(f"{hub.url}/s/ana/lab")
    return page


@pytest.fixture
def two(hub: Hub, chromium: Browser) -> Iterator[tuple[Page, Page]]:
    """Ana by her sign-in link, and a guest who may write by an expiring link, in the same room."""
    ana = room(page_for(hub, chromium, hub.json("link")), hub)
    guest = room(page_for(hub, chromium, hub.json("share", "create", "ana/lab", "--link", "--role", "read_write")), hub)
    expect(ana.locator("[data-slot=here] li")).to_have_count(2)
    expect(guest.locator("[data-slot=here] li")).to_have_count(2)
    yield ana, guest
    ana.context.close()
    guest.context.close()


def test_each_sees_where_the_other_points(two: tuple[Page, Page]) -> None:
    ana, guest = two
    for mover, watcher in ((ana, guest), (guest, ana)):
        box = mover.locator("[data-canvas] [data-point]").bounding_box()
        assert box is not None
        for share in (0.2, 0.4, 0.6):
            mover.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        cursor = watcher.locator("[data-slot=cursors] .cursor")
        expect(cursor).to_have_count(1)
        expect(cursor).to_be_visible()
        there = watcher.locator("[data-canvas] [data-point]").bounding_box()
        assert there is not None
        # Positions are shares of the thing pointed at: the last one lies at six tenths of it, on any screen.
        watcher.wait_for_function(
            """([left, width]) => {
                const cursor = document.querySelector("[data-slot=cursors] .cursor");
                const share = (cursor.getBoundingClientRect().left - left) / width;
                return Math.abs(share - 0.6) < 0.03;
            }""",
            arg=[there["x"], there["width"]],
        )


def test_what_one_says_the_other_reads_and_it_is_kept(two: tuple[Page, Page], hub: Hub) -> None:
    ana, guest = two
    hostile = "<img src=x onerror=alert(1)> & hello"
    ana.locator("textarea[name=text]").fill(hostile)
    ana.keyboard.press("Enter")
    expect(guest.locator("[data-slot=said]")).to_contain_text(hostile)
    guest.reload()
    expect(guest.locator("[data-slot=said]")).to_contain_text(hostile)
    assert guest.locator("[data-slot=said] img[src=x]").count() == 0


def test_a_jobs_log_and_its_new_files_appear_in_the_room(two: tuple[Page, Page], hub: Hub) -> None:
    _, guest = two
    hub.write("count.sh", SLOW_JOB)
    job = json.loads(hub("job", "submit", "count.sh", "--session", "ana/lab", "--json"))
    expect(guest.locator("#room-shelf")).to_contain_text("count", timeout=20_000)
    guest.goto(f"{hub.url}/jobs/{job['id']}")
    expect(guest.locator("job-log")).to_contain_text("counted 6 of 6", timeout=30_000)
    room(guest, hub)
    expect(guest.locator("#room-shelf")).to_contain_text("table.csv", timeout=30_000)


def test_a_guest_whose_link_is_revoked_is_out_within_a_second(two: tuple[Page, Page], hub: Hub) -> None:
    ana, guest = two
    for link in hub.json("share", "list", "ana/lab")["links"]:
        if link["state"] == "open":
            hub("share", "revoke", link["id"])
    expect(ana.locator("[data-slot=here] li")).to_have_count(1, timeout=3_000)
    response = guest.goto(f"{hub.url}/s/ana/lab")
    assert response is not None and response.status in {401, 404}
