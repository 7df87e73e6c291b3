"""What becomes of a page when one of its parts cannot be fetched."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.web import page_world
from tests.web.page_world import World


def test_a_part_that_does_not_come_is_told_and_the_rest_of_the_page_lives(chromium: Browser, world: World) -> None:
    origin = world.house.settings.origin
    context = chromium.new_context(base_url=origin)
    context.add_cookies([{"name": "collegium", "value": page_world.sign_in(world.house, world.ana), "url": origin}])
    try:
        page = context.new_page()
        page.route("**/live-room.js", lambda route: route.abort("internetdisconnected"))
        page.goto(f"/s/{world.name}")
        expect(page.locator("#status")).to_contain_text("Part of this page could not be loaded.")
        expect(page.get_by_role("button", name="Use the dark theme")).to_be_visible()
        page.unroute_all()
        page.reload()
        expect(page.locator("#status")).not_to_contain_text("Part of this page could not be loaded.")
        expect(page.locator("live-room[data-state]")).to_be_attached()
    finally:
        context.close()
