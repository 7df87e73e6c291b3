"""A draft that several pages write at once: what each types is everybody's, and outlives the page it was typed in."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.room_world import Enter, Hub
from tests.browser.test_every_page import faults, sideways


@pytest.fixture
def draft(hub: Hub, session: str) -> Any:
    return hub.act("draft_create", session_id=session, name="The HCl band", text="Twelve lines.\n")


def look(draft: Any) -> str:
    return f"?look=draft:{draft['id']}"


def text_of(page: Page) -> Any:
    return page.locator("shared-draft .cm-content")


def test_what_two_people_type_at_once_is_everybodys_and_kept(enter: Enter, hub: Hub, draft: Any) -> None:
    owner, ben = enter(None, look(draft)), enter("ben", look(draft))
    for page in (owner, ben):
        expect(text_of(page)).to_contain_text("Twelve lines.")
        expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    text_of(owner).click()
    owner.keyboard.press("ControlOrMeta+End")
    text_of(ben).click()
    ben.keyboard.press("ControlOrMeta+Home")
    for letter in "R branch ":
        ben.keyboard.type(letter)
        owner.keyboard.type(letter.upper())
    for page in (owner, ben):
        expect(text_of(page)).to_contain_text("R branch Twelve lines.")
        expect(text_of(page)).to_contain_text("R BRANCH")
        expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    expect(owner.locator("shared-draft .caret")).to_have_count(1)
    expect(owner.locator("shared-draft .caret")).to_have_attribute("data-name", "Ben")
    kept = hub.ask("GET", f"/api/drafts/{draft['id']}").json()["text"]
    assert kept == "R branch Twelve lines.\nR BRANCH "
    owner.keyboard.press("ControlOrMeta+z")
    expect(text_of(ben)).not_to_contain_text("BRANCH")
    assert "R branch Twelve" in text_of(owner).inner_text(), "undo takes back one's own words only"


def test_a_page_that_ends_in_mid_word_takes_its_caret_with_it_and_leaves_what_it_said(enter: Enter, draft: Any) -> None:
    owner, ben = enter(None, look(draft)), enter("ben", look(draft))
    expect(text_of(owner)).to_contain_text("Twelve lines.")
    text_of(ben).click()
    ben.keyboard.type("half a wo")
    expect(owner.locator("shared-draft .caret")).to_have_count(1)
    expect(text_of(owner)).to_contain_text("half a wo")
    ben.close()
    expect(owner.locator("shared-draft .caret")).to_have_count(0)
    expect(text_of(owner)).to_contain_text("half a wo")


def test_what_is_typed_without_a_connection_is_sent_when_it_is_back(enter: Enter, hub: Hub, draft: Any) -> None:
    page = enter(None, look(draft))
    expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    page.evaluate("document.querySelector('live-room').room.close()")
    text_of(page).click()
    page.keyboard.type("offline ")
    expect(page.locator("[data-say=saved]")).to_contain_text("Not connected")
    assert "offline" not in hub.ask("GET", f"/api/drafts/{draft['id']}").json()["text"]
    page.evaluate("document.querySelector('live-room').room.open()")
    expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    assert "offline " in hub.ask("GET", f"/api/drafts/{draft['id']}").json()["text"]


def test_a_draft_becomes_an_entry_that_names_its_version(enter: Enter, hub: Hub, draft: Any) -> None:
    page = enter(None, look(draft))
    expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    page.get_by_role("button", name="Make an entry of it").click()
    page.wait_for_url("**/entries/*")
    entry = hub.ask("GET", f"/api/entries/{page.url.rpartition('/')[2]}").json()
    [version] = hub.ask("GET", f"/api/drafts/{draft['id']}").json()["versions"]
    assert entry["title"] == "The HCl band"
    assert version["name"] == "for the notebook"


def test_who_may_only_read_follows_and_cannot_type(chromium: Any, hub: Hub, session: str, draft: Any) -> None:
    shared = hub.act("link_create", session_id=session, role="read")
    context = chromium.new_context(base_url=hub.origin)
    page = context.new_page()
    page.goto(f"/l/{shared['secret']}")
    page.get_by_role("button", name="Open it").click()
    page.goto(f"/s/{session}{look(draft)}")
    expect(page.locator("[data-say=saved]")).to_have_text("You may read this draft, not write in it.")
    expect(text_of(page)).to_have_attribute("contenteditable", "false")
    expect(page.get_by_role("button", name="Make an entry of it")).to_have_count(0)
    context.close()


def test_without_scripts_the_text_is_there(chromium: Any, hub: Hub, session: str, draft: Any) -> None:
    context = chromium.new_context(base_url=hub.origin, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"/signin/{hub.act('signin_link')['secret']}")
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"/s/{session}{look(draft)}")
    expect(page.locator("shared-draft pre")).to_contain_text("Twelve lines.")
    context.close()


def test_a_draft_is_kept_and_renamed_without_leaving_the_page_and_others_see_it(
    enter: Enter, hub: Hub, draft: Any
) -> None:
    owner, ben = enter(None, look(draft)), enter("ben", look(draft))
    for page in (owner, ben):
        expect(page.locator("[data-say=saved]")).to_have_text("Saved")
        page.evaluate("window.isTheSame = true")
    # Ben is in the middle of naming a version while the owner keeps one and renames the draft.
    ben.get_by_text("Versions", exact=True).click()
    ben.get_by_label("Name of this version").fill("half a na")
    owner.get_by_text("Versions", exact=True).click()
    owner.get_by_label("Name of this version").fill("as sent")
    owner.get_by_role("button", name="Keep a version").click()
    expect(owner.locator("#status")).to_have_text("The version is kept.")
    expect(ben.get_by_text("Version 1, as sent")).to_be_visible()
    expect(owner.get_by_label("Name of this version")).to_have_value("")
    owner.get_by_text("Rename this draft").click()
    owner.get_by_label("New name").fill("Both bands")
    owner.keyboard.press("Enter")
    for page in (owner, ben):
        expect(page.locator("#draft-looked h2")).to_have_text("Both bands")
        expect(page.get_by_role("region", name="Both bands").first).to_be_attached()
        expect(page.get_by_role("textbox", name="Both bands")).to_be_visible()
        expect(page.locator("#room-shelf [aria-current]")).to_have_text("Both bands")
        assert page.evaluate("window.isTheSame"), "the page was loaded anew"
    expect(owner.get_by_text("Rename this draft")).to_be_focused()
    expect(ben.get_by_label("Name of this version")).to_have_value("half a na")
    expect(ben.get_by_label("Name of this version")).to_be_focused()
    ben.keyboard.type("me")
    expect(ben.get_by_label("Name of this version")).to_have_value("half a name")
    text_of(ben).click()
    ben.keyboard.press("ControlOrMeta+a")
    ben.keyboard.type("All gone. ")
    owner.get_by_role("button", name="Go back to version 1").click()
    expect(text_of(ben)).to_contain_text("Twelve lines.")
    expect(text_of(ben)).not_to_contain_text("All gone")


def test_a_draft_is_deleted_only_when_it_is_meant_and_who_has_it_open_is_told(
    enter: Enter, hub: Hub, session: str, draft: Any
) -> None:
    owner, ben = enter(None, look(draft)), enter("ben", look(draft))
    for page in (owner, ben):
        expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    owner.evaluate("window.isTheSame = true")
    owner.get_by_text("Delete this draft").click()
    delete = owner.get_by_role("button", name="Delete for everybody")
    delete.click()
    assert len(hub.ask("GET", f"/api/sessions/{session}/drafts").json()) > 0
    expect(owner.get_by_role("checkbox", name="I mean “The HCl band”")).to_be_focused()
    owner.keyboard.press("Space")
    delete.click()
    expect(owner.locator("#status")).to_have_text("The draft is deleted.")
    expect(owner.locator("#stage")).to_be_focused()
    assert draft["id"] not in owner.url and owner.evaluate("window.isTheSame"), "the page was loaded anew"
    expect(ben.locator("[data-say=saved]")).to_contain_text("Closed")
    assert draft["id"] not in {each["id"] for each in hub.ask("GET", f"/api/sessions/{session}/drafts").json()}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_open_editor_can_be_used_by_everybody(enter: Enter, hub: Hub, draft: Any, theme: Any) -> None:
    page, ben = enter(None, look(draft), color_scheme=theme), enter("ben", look(draft))
    text_of(ben).click()
    expect(page.locator("shared-draft .caret")).to_have_count(1)
    expect(page.locator("[data-say=saved]")).to_have_text("Saved")
    hub.act("draft_version", draft=draft["id"], name="as sent")
    expect(page.get_by_text("Version 1, as sent")).to_be_attached()
    for fold in ("Versions", "Rename this draft", "Delete this draft"):
        page.get_by_text(fold, exact=True).click()
    assert faults(page) == []
    assert sideways(page) == []
