"""Several people look at one thing: a place in a text means the same on every screen, and one may follow another."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.room_world import Enter, Hub, pointing, until
from tests.web import page_world

WORD = "absorption"
TEXT = "\n\n".join(
    [
        "# Bands",
        "The spectrum was taken twice, at room temperature and at seventy seven kelvin, with the same grating. " * 3,
        f"Only in the second one the {WORD} at 2886 stands alone; everything else is water.",
        "* first\n* second",
    ]
)


@pytest.fixture(scope="module")
def entry(hub: Hub, session: str) -> str:
    return str(hub.act("lab_notebook", session_id=session, entry={"title": "Bands", "content": TEXT})["entry"])


@pytest.fixture(scope="module")
def picture(hub: Hub, session: str) -> str:
    return hub.add(session, "figures/looked.svg", page_world.svg())


def place_of(page: Page, within: str, word: str) -> tuple[float, float]:
    """The middle of a word on a page's screen."""
    found = page.evaluate(
        """([within, word]) => {
            const texts = document.createTreeWalker(document.querySelector(within), NodeFilter.SHOW_TEXT);
            for (let node = texts.nextNode(); node; node = texts.nextNode()) {
                const at = node.data.indexOf(word);
                if (at < 0) continue;
                const range = document.createRange();
                range.setStart(node, at); range.setEnd(node, at + word.length);
                const box = range.getBoundingClientRect();
                return [box.left + 1, box.top + box.height / 2, box.width, box.height];
            } }""",
        [within, word],
    )
    assert found is not None, f"“{word}” is not in {within}"
    return found[0], found[1]


def points_at(mover: Page, watcher: Page, name: str, within: str, word: str) -> None:
    """Whoever points at a word is seen at that word, wherever it stands on the other's screen."""

    def seen() -> bool:
        # Both pages may still be laid out anew, and a pointer that rests is hidden after some seconds: it keeps moving.
        x, y = place_of(mover, within, word)
        mover.mouse.move(x + 4, y + 2)
        mover.mouse.move(x, y)
        wanted, spot = place_of(watcher, within, word), pointing(watcher).get(name)
        return spot is not None and abs(spot[0] - wanted[0]) < 9 and abs(spot[1] - wanted[1]) < 9

    until(watcher, seen)


def test_a_word_of_an_entry_is_pointed_at_on_screens_of_different_widths(enter: Enter, entry: str) -> None:
    wide, narrow = enter(None, f"?look=entry:{entry}"), enter("ben", f"?look=entry:{entry}")
    narrow.set_viewport_size({"width": 900, "height": 700})
    points_at(wide, narrow, "Root", ".prose", WORD)
    assert place_of(wide, ".prose", WORD) != place_of(narrow, ".prose", WORD)
    narrow.get_by_text("Who points where, as a list").click()
    expect(narrow.locator("[data-slot=pointing]")).to_contain_text(f"Root points at “{WORD}"[:18])
    points_at(narrow, wide, "Ben", ".prose", "seventy")


def test_a_line_of_a_log_is_pointed_at_by_its_number(enter: Enter, hub: Hub, session: str) -> None:
    job = hub.act(
        "job_submit",
        session_id=session,
        name="lines",
        script="#!/bin/sh\nfor n in 1 2 3 4 5 6; do echo step-$n; done\n",
    )["id"]
    owner, ben = enter(None, f"?look=job:{job}"), enter("ben", f"?look=job:{job}")
    for page in (owner, ben):
        expect(page.locator(".log-text")).to_contain_text("step-6", timeout=60_000)
    points_at(owner, ben, "Root", ".log-text", "step-4")
    ben.get_by_text("Who points where, as a list").click()
    expect(ben.locator("[data-slot=pointing]")).to_contain_text("Root points at line 4")


def test_a_word_of_a_draft_is_pointed_at_in_the_editor_and_before_it_is_open(
    enter: Enter, hub: Hub, session: str
) -> None:
    draft = hub.act("draft_create", session_id=session, name="Together", text=f"One line\nand the {WORD} here\n")["id"]
    owner, ben = enter(None, f"?look=draft:{draft}"), enter("ben", f"?look=draft:{draft}")
    for page in (owner, ben):
        expect(page.get_by_role("textbox", name="Together")).to_be_visible()
        expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    line = owner.get_by_role("textbox", name="Together").get_by_text("and the")
    box = line.bounding_box()
    assert box is not None
    owner.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2 + 1)
    owner.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2)
    theirs = ben.get_by_role("textbox", name="Together").get_by_text("and the").bounding_box()
    assert theirs is not None
    until(
        ben,
        lambda: (
            (spot := pointing(ben).get("Root")) is not None and abs(spot[1] - theirs["y"] - theirs["height"] / 2) < 9
        ),
    )
    ben.get_by_text("Who points where, as a list").click()
    expect(ben.locator("[data-slot=pointing]")).to_contain_text("Root points at line 2 of the draft")


def test_a_part_that_was_asked_for_before_another_thing_was_looked_at_does_not_bring_the_first_one_back(
    enter: Enter, picture: str, entry: str
) -> None:
    page = enter(None, f"?look=artifact:{picture}")
    held: list[Route] = []
    page.route(re.compile(f"look=artifact:{picture}"), lambda route: held.append(route))  # noqa: PLW0108  (it needs a function)
    page.evaluate("document.querySelector('live-room').freshen(false)")
    until(page, lambda: bool(held))
    page.locator("#room-shelf a", has_text="Bands").click()
    expect(page.locator("#room-shelf [aria-current=true]")).to_contain_text("Bands")
    with page.expect_response(re.compile(f"look=entry:{entry}")):  # it is asked anew, for what is looked at now
        for route in held:
            route.continue_()
    page.unroute_all(behavior="wait")
    expect(page.locator("#room-shelf [aria-current=true]")).to_contain_text("Bands")


def test_another_thing_is_put_on_the_stage_without_leaving_the_page(enter: Enter, picture: str, entry: str) -> None:
    page = enter(None, f"?look=artifact:{picture}")
    page.evaluate("window.sameDocument = true")
    field = page.get_by_role("textbox", name="Message")
    field.fill("half a sentence")
    page.locator("#room-shelf a", has_text="Bands").click()
    expect(page.locator("#stage .prose")).to_contain_text(WORD)
    expect(page).to_have_url(re.compile(f"look=entry:{entry}"))
    expect(field).to_have_value("half a sentence")
    expect(page.locator("#room-shelf [aria-current=true]")).to_contain_text("Bands")
    assert page.locator("[name=about]").get_attribute("value") == f"entry:{entry}"
    page.go_back()
    expect(page.locator("#stage img")).to_be_visible()
    assert page.evaluate("window.sameDocument") is True


def test_who_follows_somebody_sees_what_they_turn_to_until_escape(enter: Enter, picture: str, entry: str) -> None:
    owner, ben = enter(None, f"?look=artifact:{picture}"), enter("ben", f"?look=artifact:{picture}")
    ben.get_by_role("button", name="Follow Root").click()
    expect(ben.get_by_role("button", name="Follow Root")).to_have_attribute("aria-pressed", "true")
    owner.locator("#room-shelf a", has_text="Bands").click()
    expect(ben.locator("#stage .prose")).to_contain_text(WORD)
    points_at(owner, ben, "Root", ".prose", WORD)
    ben.keyboard.press("Escape")
    expect(ben.get_by_role("button", name="Follow Root")).to_have_attribute("aria-pressed", "false")
    owner.locator("#room-shelf a", has_text="looked.svg").click()
    expect(owner.locator("#stage img")).to_be_visible()
    until(ben, lambda: pointing(ben) == {})
    expect(ben.locator("#stage .prose")).to_be_visible()


def test_a_room_is_used_by_keys_which_are_listed_and_can_be_switched_off(enter: Enter, picture: str) -> None:
    page = enter(None, f"?look=artifact:{picture}")
    page.keyboard.press("m")
    expect(page.get_by_role("textbox", name="Message")).to_be_focused()
    page.keyboard.type("hm?")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("hm?")
    page.locator("#stage").focus()
    page.keyboard.press("h")
    expect(page.locator("#room-class")).to_contain_text("Your hand is up")
    page.locator("#stage").focus()
    page.keyboard.press("h")
    expect(page.locator("#room-class")).not_to_contain_text("Your hand is up")
    page.keyboard.press("w")
    expect(page.locator("#status")).to_contain_text("Root is here. Nobody else points at anything.")
    page.locator("#stage").focus()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys of this room")
    expect(dialog).to_contain_text("Raise or lower your hand")
    dialog.get_by_label("Use keys of one letter").uncheck()
    dialog.get_by_role("button", name="Close").click()
    page.locator("#stage").focus()
    page.keyboard.press("h")
    page.keyboard.press("m")
    expect(page.locator("#stage")).to_be_focused()
