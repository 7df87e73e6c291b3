"""The chat of a room between real pages: threads, edits, reactions, private messages, reports, and looking back."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.room_world import Enter, Hub


def say(page: Page, text: str) -> Locator:
    """Say something and wait until it is kept."""
    field = page.get_by_role("textbox", name="Message")
    field.fill(text)
    field.press("Enter")
    line = said(page, text)
    expect(line).to_have_count(1)
    expect(line).not_to_have_class("unsure")
    return line


def said(page: Page, text: str) -> Locator:
    return page.locator("[data-slot=said] > li").filter(has_text=text)


def opened(page: Page, text: str) -> Locator:
    """The thread of a message, beside the room."""
    said(page, text).locator("a[data-thread]").click()
    thread = page.locator("#thread")
    expect(thread).to_be_visible()
    return thread


def test_an_answer_a_reaction_and_an_edit_reach_the_other_page_by_themselves(enter: Enter) -> None:
    owner, ben = enter(None), enter("ben")
    say(owner, "Which gap is it?")
    thread = opened(ben, "Which gap is it?")
    field = thread.get_by_role("textbox", name="Answer")
    field.fill("The one at 2868")
    thread.get_by_role("button", name="Send the answer").click()
    expect(thread.locator(".said")).to_contain_text("The one at 2868")
    expect(field).to_have_value("")
    expect(said(owner, "Which gap is it?").locator("a[data-thread]")).to_have_text("one answer")
    assert said(owner, "The one at 2868").count() == 0

    seen = opened(owner, "Which gap is it?")
    expect(seen).to_contain_text("The one at 2868")
    thread.get_by_text("Edit", exact=True).click()
    thread.get_by_label("Your message").fill("The one at 2886")
    thread.get_by_role("button", name="Save").click()
    expect(seen).to_contain_text("The one at 2886")
    expect(seen).to_contain_text("edited")
    seen.get_by_text("React", exact=True).first.click()
    seen.get_by_role("button", name="React with 🎉").first.click()
    expect(said(ben, "Which gap is it?").locator(".sign")).to_have_text("🎉 1")
    ben.keyboard.press("Escape")
    expect(ben.locator("#thread")).to_have_count(0)
    expect(ben.locator("a[data-thread]:focus")).to_have_count(1)


def test_a_private_message_is_seen_by_its_two_people_only(enter: Enter) -> None:
    owner, ben, cem = enter(None), enter("ben"), enter("cem")
    owner.reload()
    expect(owner.locator("live-room[data-state=open]")).to_be_attached()
    owner.get_by_label("To", exact=True).select_option("ben")
    line = say(owner, "Between the two of us")
    expect(line).to_contain_text("to Ben alone")
    expect(said(ben, "Between the two of us")).to_contain_text("to you alone")
    owner.get_by_label("To", exact=True).select_option("")
    say(owner, "And this for all")
    expect(said(cem, "And this for all")).to_have_count(1)
    assert said(cem, "Between the two of us").count() == 0
    cem.reload()
    expect(said(cem, "And this for all")).to_have_count(1)
    assert "Between the two of us" not in cem.content()


def test_a_report_reaches_the_page_of_who_moderates_and_removing_it_every_page(enter: Enter) -> None:
    owner, ben, cem = enter(None), enter("ben"), enter("cem")
    say(ben, "Something rude")
    thread = opened(cem, "Something rude")
    thread.get_by_text("Report", exact=True).click()
    thread.get_by_label("Why, in a word").fill("rude")
    thread.get_by_role("button", name="Report it").click()
    link = owner.get_by_role("link", name="1 reported")
    expect(link).to_be_visible(timeout=15_000)
    assert ben.get_by_text("1 reported").count() == 0
    link.click()
    expect(owner.locator("#reports")).to_contain_text("Cem reported what Ben wrote")
    owner.get_by_role("button", name="Remove the message").click()
    expect(owner.locator("#reports")).to_contain_text("Removed by")
    expect(ben.locator("[data-slot=said]")).to_contain_text("Removed by a moderator.")
    assert said(ben, "Something rude").count() == 0


def test_earlier_messages_come_when_one_scrolls_up_and_the_view_stays(enter: Enter, hub: Hub) -> None:
    made = hub.act("session_create", name="long-talk", title="Long talk")["name"]
    for number in range(130):
        hub.act("room_message", session_id=made, text=f"line number {number:03}")
    page = enter(None)
    page.goto(f"/s/{made}")
    expect(page.locator("live-room[data-state=open]")).to_be_attached()
    shown = page.locator("[data-slot=said] > li")
    assert said(page, "line number 000").count() == 0
    for _ in range(10):
        before = shown.count()
        page.locator("[data-slot=scroll]").evaluate("e => { e.scrollTop = 0; }")
        if before == 130:
            break
        page.wait_for_function("n => document.querySelectorAll('[data-slot=said] > li').length > n", arg=before)
        assert page.locator("[data-slot=scroll]").evaluate("e => e.scrollTop") > 100
    texts = [text.split("line number ")[1][:3] for text in shown.all_text_contents()]
    assert texts == [f"{number:03}" for number in range(130)]


def test_an_open_room_obeys_what_its_session_switches(enter: Enter, hub: Hub, session: str) -> None:
    ben = enter("ben")
    bar = ben.locator("[data-slot=media-bar]")
    expect(bar).to_be_hidden()
    owner = enter(None)
    owner.goto(f"/s/{session}/people")
    owner.get_by_label("Voice and camera").select_option("yes")
    owner.locator("#h-settings").locator("xpath=../..").get_by_role("button", name="Save").click()
    expect(bar).to_be_visible()
    hub.act("session_change", session_id=session, features={"voice_chat": False})
    expect(bar).to_be_hidden()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_thread_is_a_page_of_its_own_that_works_without_scripts(
    enter: Enter, hub: Hub, session: str, scripts: bool
) -> None:
    first = hub.act("room_message", session_id=session, text=f"plain page {scripts}")
    reader = enter("ben")
    context = reader.context.browser.new_context(  # type: ignore[union-attr]
        base_url=hub.origin, java_script_enabled=scripts, storage_state=reader.context.storage_state()
    )
    page = context.new_page()
    page.goto(f"/s/{session}/messages/{first['id']}")
    page.get_by_role("textbox", name="Answer").fill("answered on the page")
    page.get_by_role("button", name="Send the answer").click()
    expect(page.locator("#thread")).to_contain_text("answered on the page")
    page.get_by_text("React", exact=True).first.click()
    page.get_by_role("button", name="React with 👍").first.click()
    page.get_by_role("button", name="Take back 👍, 1 so far").click()
    expect(page.get_by_role("button", name="Take back")).to_have_count(0)
    context.close()
