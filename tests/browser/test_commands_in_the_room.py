"""Commands in a room's chat: done as whoever is signed in, answered for them alone, by the bot of a whole hub."""

from __future__ import annotations

import httpx
from playwright.sync_api import Page, expect

from tests.browser.room_world import Enter, Hub


def write(page: Page, text: str) -> None:
    field = page.get_by_role("textbox", name="Message")
    field.fill(text)
    field.press("Enter")


def test_a_command_is_carried_out_as_its_writer_and_answered_for_them_alone(
    enter: Enter, hub: Hub, session: str
) -> None:
    owner, ben = enter(None), enter("ben")
    write(ben, "/room hand 'Which gap is it?'")
    expect(ben.locator(".command-told")).to_contain_text("Your hand is up", timeout=20_000)
    expect(owner.locator("#room-class")).to_contain_text("Which gap is it?")
    assert owner.locator(".command-told").count() == 0
    write(ben, "/room next")
    expect(ben.locator(".command-told").last).to_contain_text("room:moderate is not given")
    write(owner, "/room next")
    expect(owner.locator(".command-told")).to_contain_text("Ben was addressed")
    write(owner, "/whoami")
    expect(owner.locator(".command-told").last).to_contain_text("Root")
    write(owner, "/room hnad")
    expect(owner.locator(".command-told").last).to_contain_text("Did you mean")
    expect(owner.get_by_role("textbox", name="Message")).to_have_value("/room hnad")
    said = hub.ask("GET", f"/api/sessions/{session}/messages").json()["messages"]
    assert not any(message["text"].startswith("/") for message in said)


def test_a_draft_is_begun_kept_and_deleted_by_commands_in_its_room(enter: Enter, hub: Hub, session: str) -> None:
    owner, ben = enter(None), enter("ben")
    write(ben, "/draft create 'Plan of it' --text 'Measure again.'")
    expect(ben.locator(".command-told")).to_contain_text("draft 1 “Plan of it” is begun", timeout=20_000)
    expect(owner.locator("#room-shelf")).to_contain_text("Plan of it")
    write(ben, "/draft version 1 'as sent'")
    expect(ben.locator(".command-told").last).to_contain_text("It is kept as version 1 “as sent”.")
    write(owner, "/draft show 'plan of it'")
    expect(owner.locator(".command-told").last).to_contain_text("Measure again.")
    write(owner, "/draft remove 1")
    expect(owner.locator(".command-told").last).to_contain_text("/draft remove 1 --yes")
    write(owner, "/draft remove 1 --yes")
    expect(owner.locator(".command-told").last).to_contain_text("is deleted with 1 version")
    expect(ben.locator("#room-shelf")).not_to_contain_text("Plan of it")
    assert hub.ask("GET", f"/api/sessions/{session}/drafts").json() == []


def test_a_command_without_a_ticket_of_the_room_is_refused(hub: Hub) -> None:
    def send(body: object) -> httpx.Response:
        return httpx.post(f"{hub.origin}/bot/room", json=body, timeout=20)

    for _ in range(100):  # The bot starts after the hub is ready.
        if send({}).status_code != 503:
            break
    assert send({}).status_code == 400
    assert send({"ticket": "clgt_wrong", "text": "whoami", "key": "12345678"}).status_code == 404
    assert send({"ticket": "clgt_wrong", "text": "whoami", "key": "short"}).status_code == 400
    assert httpx.post(f"{hub.origin}/bot/room", content=b"x" * 70_000).status_code == 413


def test_a_private_key_is_sent_neither_as_a_message_nor_with_a_command_and_its_writer_is_told(
    enter: Enter, hub: Hub, session: str
) -> None:
    owner, ben = enter(None), enter("ben")
    key = "-----BEGIN OPENSSH PRIVATE KEY----- b3BlbnNzaC1rZXktdjEAAAAABG5vbmU -----END OPENSSH PRIVATE KEY-----"
    write(ben, f"/note post Key --text '{key}'")
    expect(ben.locator(".command-told")).to_contain_text("Nothing of it was kept", timeout=20_000)
    expect(ben.locator(".command-told")).to_contain_text("make a new key in its place")
    write(ben, key)
    refused = ben.locator("li.unsure", has_text="not sent")
    expect(refused).to_contain_text("looks like a private key; nothing of it was kept")
    expect(refused).to_contain_text("make a new key in its place")
    write(ben, "my code is 493817")
    expect(ben.locator("li.unsure", has_text="a one-time code")).to_contain_text("not sent")
    write(ben, "never mind")
    expect(owner.get_by_text("never mind")).to_be_visible()
    said = hub.ask("GET", f"/api/sessions/{session}/messages").json()["messages"]
    assert [message["text"] for message in said] == ["never mind"]
    assert hub.ask("GET", f"/api/sessions/{session}/entries").json()["entries"] == []


def test_a_question_about_a_changed_script_is_answered_with_a_press(enter: Enter, hub: Hub, session: str) -> None:
    ben = enter("ben")
    hub.add(session, "run.sh", b"#!/bin/sh\necho 1\n")
    write(ben, "/job submit run.sh --name first")
    expect(ben.locator(".command-told").last).to_contain_text("job 1", timeout=20_000)
    hub.add(session, "run.sh", b"#!/bin/sh\necho 2\n")
    write(ben, "/job submit run.sh --name second")
    asked = ben.locator(".command-told", has_text="changed run.sh")
    expect(asked).to_contain_text("+echo 2", timeout=20_000)
    press = asked.get_by_role("button", name="run it as it is now")
    press.click()
    expect(ben.locator(".command-told").last).to_contain_text("job 2", timeout=20_000)
    expect(press).to_be_disabled()
    names = {job["name"] for job in hub.ask("GET", f"/api/sessions/{session}/jobs").json()["jobs"]}
    assert names == {"first", "second"}
