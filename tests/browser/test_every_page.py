"""Every page in Chromium: nothing axe objects to, nothing sticks out sideways, and the tree that ears hear is kept."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import AXE, Look
from tests.web.page_world import World

SNAPSHOTS = Path(__file__).parent / "snapshots"
WIDTHS = (1920, 1180, 900, 768, 640, 390, 360)
PAGES = {
    "home": "/",
    "me": "/me",
    "security": "/me/security",
    "all-jobs": "/jobs",
    "room": "/s/{name}",
    "room-artifact": "/s/{name}?look=artifact:{figure}",
    "room-entry": "/s/{name}?look=entry:{signed}",
    "room-job": "/s/{name}?look=job:{failed}",
    "notebook": "/s/{name}/notebook",
    "jobs": "/s/{name}/jobs",
    "files": "/s/{name}/files",
    "people": "/s/{name}/people",
    "usage": "/s/{name}/usage",
    "resources": "/resources",
    "clusters": "/clusters",
    "clusters-operator": "/clusters",
    "cluster": "/clusters/raven",
    "cluster-operator": "/clusters/raven",
    "who": "/who?object={running}",
    "job-running": "/jobs/{running}",
    "job-failed": "/jobs/{failed}",
    "job-succeeded": "/jobs/{succeeded}",
    "entry-signed": "/entries/{signed}",
    "entry-unsigned": "/entries/{unsigned}",
    "artifact-svg": "/artifacts/{figure}",
    "artifact-png": "/artifacts/{photo}",
    "artifact-table": "/artifacts/{table}",
    "artifact-text": "/artifacts/{text}",
    "artifact-bytes": "/artifacts/{blob}",
    "empty-jobs": "/s/ana/personal/jobs",
    "empty-notebook": "/s/ana/personal/notebook",
    "empty-files": "/s/ana/personal/files",
    "empty-room": "/s/ana/personal",
    "setup": "/setup",
    "setup-link": "/setup/clgs_x",
    "sign-in": "/signin/clgs_x",
    "sign-in-password": "/signin",
    "sign-in-second": "/signin/second",
    "link": "/l/clgl_x",
    "thread": "/s/{name}/messages/{thread}",
    "reports": "/s/{name}/reports",
    "my-chats": "/me/chats",
    "my-email": "/me/email",
    "device": "/device",
    "invitation": "/invitation/{invitation}",
    "invitation-new": "/invitation/{invitation}",
    "chat-link": "/chat-link/{chat_link}",
    "address-link": "/email/{address_link}",
    "link-passphrase": "/l/{guarded}",
}


# Who looks at a page, where it is not Ana.
READERS: dict[str, str | None] = {
    "setup": "olga", "clusters-operator": "olga", "cluster-operator": "olga", "invitation-new": None,
}  # fmt: skip


def seen(look: Look, world: World, page: str, **options: Any) -> Page:
    reader = READERS.get(page, "ana")
    return look(path_of(world, page), person=None if reader is None else getattr(world, reader), **options)


def path_of(world: World, page: str) -> str:
    return PAGES[page].format(**{name: getattr(world, name) for name in world.__struct_fields__})


def faults(page: Page) -> list[str]:
    """What axe finds, one line for each element."""
    page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate(
        "axe.run(document, {resultTypes: ['violations'], rules: {'target-size': {enabled: true}}})"
        ".then(({violations}) => violations.map(({id, help, nodes}) => ({id, help, nodes: nodes.map((n) => n.html)})))"
    )
    return [f"{each['id']}: {each['help']}: {node[:200]}" for each in found for node in each["nodes"]]


def sideways(page: Page) -> list[tuple[int, int]]:
    """Widths at which the page is wider than the screen, with by how much."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            found.append((width, over))
    return found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_used_by_everybody_at_every_width_in_both_themes(look: Look, world: World, name: str) -> None:
    wide = seen(look, world, name)
    assert faults(wide) == []
    assert sideways(wide) == []
    narrow = seen(look, world, name, width=360, theme="dark")
    assert faults(narrow) == []


# The page of sign-ins lists every browser that an earlier test opened; that of resources tells what this machine does.
@pytest.mark.parametrize("name", [name for name in PAGES if name not in ("security", "resources")])
def test_what_ears_hear_of_a_page_is_as_it_was(look: Look, world: World, name: str) -> None:
    """Set COLLEGIUM_TEST_WRITE_SNAPSHOTS=1 to keep what is heard now, and read the difference before committing it."""
    page = seen(look, world, name)
    if name.startswith(("room", "empty-room")):
        page.locator("live-room[data-state=waiting], live-room[data-state=connecting]").wait_for(state="attached")
    heard = _without_chance(page.locator("body").aria_snapshot(), world)
    kept = SNAPSHOTS / f"{name}.yaml"
    if os.environ.get("COLLEGIUM_TEST_WRITE_SNAPSHOTS") == "1":
        kept.write_text(heard)
    assert heard == kept.read_text()


def _without_chance(heard: str, world: World) -> str:
    """The tree without what differs from run to run: ids, the port, the fingerprint of a fresh key."""
    heard = heard.replace(world.house.settings.origin.partition("//")[2], "HOST")
    heard = re.sub(r"\b([a-z]{2,6}_)[0-9a-hjkmnp-tv-z]{26}\b", r"\1ID", heard)
    heard = re.sub(r"(clg[a-z]?_)[\w-]{40,}", r"\1SECRET", heard)
    heard = re.sub(r"SHA256:[\w+/]{43}", "SHA256:FINGERPRINT", heard)
    # Digests of entries cover the ids of sessions and people, so they differ as well.
    heard = re.sub(r"\b[0-9a-f]{8}(?: [0-9a-f]{8}){7}\b", "DIGEST", heard)
    heard = re.sub(r"^(\s*- (?:button|status).*)Copy [0-9a-f]{20,}", r"\1Copy DIGEST", heard, flags=re.MULTILINE)
    heard = re.sub(r"- status: .*", "- status", heard)
    return heard + "\n"


def test_the_first_key_press_offers_to_skip_to_the_content(look: Look, world: World) -> None:
    page = look(path_of(world, "job-succeeded"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.getElementById('main').contains(document.activeElement)")


@pytest.mark.parametrize("name", ["home", "room", "job-running", "entry-unsigned", "people", "cluster"])
def test_everything_that_can_be_pressed_is_reached_by_keys_and_seen(look: Look, world: World, name: str) -> None:
    page = look(path_of(world, name))
    reached: list[str] = json.loads(
        page.evaluate(
            """() => JSON.stringify([...document.querySelectorAll(
                'a[href], button, input:not([type=hidden]), select, textarea, summary')]
                .filter((e) => e.checkVisibility() && e.tabIndex < 0).map((e) => e.outerHTML.slice(0, 120)))"""
        )
    )
    assert reached == []
    unseen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        told = page.evaluate(
            """() => { const e = document.activeElement; if (e === document.body) return null;
                const plain = getComputedStyle(e), after = getComputedStyle(e, '::after');
                const shown = (s) => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1;
                return {html: e.outerHTML.slice(0, 120), seen: shown(plain) || shown(after)}; }"""
        )
        if told is None:
            break
        if not told["seen"]:
            unseen.append(told["html"])
    assert unseen == []


def test_the_theme_is_the_systems_until_somebody_chooses(look: Look, world: World) -> None:
    page = look("/", theme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(ground)
    page.get_by_role("button", name="Use the light theme").click()
    light = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == light


def test_on_paper_only_what_was_written_remains(look: Look, world: World) -> None:
    page = look(path_of(world, "entry-signed"))
    page.emulate_media(media="print")
    assert not page.locator("header.top").is_visible()
    assert not page.locator("button").first.is_visible()
    assert page.get_by_role("heading", level=1).is_visible()
