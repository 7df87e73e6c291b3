"""The call of a room in real browsers with made-up devices: what one says and shows arrives at the others as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Launch
from tests.browser.room_world import Enter, Hub
from tests.browser.test_every_page import faults, sideways

FEATURES = {"voice_chat": True, "screen_sharing": True, "live_cursor": True}
RECEIVED = """async (kind) => {
  const { peers } = document.querySelector("live-room").media;
  let bytes = 0;
  for (const { peer } of peers.values()) {
    for (const one of (await peer.connection.getStats()).values()) {
      if (one.type === "inbound-rtp" && one.kind === kind) bytes += one.bytesReceived;
    }
  }
  return bytes;
}"""


@pytest.fixture(scope="module")
def chromium(launch: Launch) -> Iterator[Browser]:
    """With a microphone that beeps, a camera and a screen of test pictures, and leave to use them."""
    browser = launch(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
    )
    yield browser
    browser.close()


@pytest.fixture
def offered(hub: Hub, session: str) -> Iterator[None]:
    hub.act("session_share", session_id=session, participants=[], features=FEATURES)
    yield
    hub.act("session_share", session_id=session, participants=[], features={"live_cursor": True})


def join(page: Page) -> None:
    page.get_by_role("button", name="Join the call").click()
    expect(page.get_by_role("button", name="Leave the call")).to_be_visible()


def press(page: Page, name: str) -> None:
    page.get_by_role("group", name="Call").get_by_role("button", name=name).click()


def grows(page: Page, kind: str) -> bool:
    """Whether more of this arrives while one looks."""
    before = page.evaluate(RECEIVED, kind)
    for _ in range(100):
        page.wait_for_timeout(100)
        if page.evaluate(RECEIVED, kind) > before + 500:
            return True
    return False


def test_two_hear_each_other_and_see_each_others_screens(enter: Enter, offered: None) -> None:
    owner, ben = enter(None), enter("ben")
    for page in (owner, ben):
        join(page)
        press(page, "Microphone")
        expect(page.get_by_role("button", name="Microphone")).to_have_attribute("aria-pressed", "true")
    assert grows(owner, "audio")
    assert grows(ben, "audio")
    for page in (owner, ben):
        press(page, "Show a screen")
    for page in (owner, ben):
        expect(page.locator(".tile.screen video")).to_have_count(1)
        assert grows(page, "video")
    press(owner, "Stop screen 1")
    expect(ben.locator(".tile.screen")).to_have_count(0)
    expect(owner.locator(".tile.screen")).to_have_count(1)
    press(ben, "Leave the call")
    expect(owner.locator(".tile")).to_have_count(0)
    expect(owner.locator(".call")).to_contain_text("Nobody else is in the call yet.")


def test_several_screens_and_a_camera_go_at_once(enter: Enter, offered: None) -> None:
    owner, ben = enter(None), enter("ben")
    join(owner)
    join(ben)
    press(owner, "Show a screen")
    press(owner, "Show a screen")
    press(owner, "Camera")
    expect(ben.locator(".tile.screen")).to_have_count(2)
    expect(ben.locator(".tile.camera")).to_have_count(1)
    expect(ben.locator(".tile.camera figcaption")).to_have_text("Root")


def test_a_page_that_is_gone_and_comes_back_is_heard_again(enter: Enter, offered: None) -> None:
    owner, ben = enter(None), enter("ben")
    join(owner)
    join(ben)
    press(ben, "Microphone")
    assert grows(owner, "audio")
    ben.reload()
    expect(owner.locator(".tile")).to_have_count(0)
    join(ben)
    press(ben, "Microphone")
    assert grows(owner, "audio")


def test_who_has_no_microphone_or_no_leave_to_use_it_listens(
    launch: Launch, enter: Enter, hub: Hub, session: str, offered: None
) -> None:
    owner = enter(None)
    join(owner)
    press(owner, "Microphone")
    plain = launch("--deny-permission-prompts", "--autoplay-policy=no-user-gesture-required")
    page = plain.new_context(base_url=hub.origin).new_page()
    shared = hub.act("link_create", session_id=session, role="read_write")
    page.goto(f"/l/{shared['secret']}")
    page.get_by_role("button", name="Open it").click()
    page.goto(f"/s/{session}")
    join(page)
    assert grows(page, "audio")
    press(page, "Microphone")
    expect(page.locator("#status")).to_contain_text("You can listen all the same.")
    expect(page.get_by_role("button", name="Microphone")).to_have_attribute("aria-pressed", "false")
    plain.close()


def test_a_feature_that_is_switched_off_ends_the_call_for_everybody(
    enter: Enter, hub: Hub, session: str, offered: None
) -> None:
    owner, ben = enter(None), enter("ben")
    join(owner)
    join(ben)
    press(ben, "Microphone")
    assert grows(owner, "audio")
    hub.act("session_share", session_id=session, participants=[], features={"live_cursor": True})
    expect(owner.locator(".call")).to_be_hidden()
    expect(ben.locator(".call")).to_be_hidden()
    assert owner.evaluate("document.querySelector('live-room').media.peers.size") == 0


def test_a_room_that_offers_no_voice_loads_nothing_of_it(enter: Enter) -> None:
    page = enter(None)
    assert page.locator(".call").is_hidden()
    assert page.evaluate("document.querySelector('live-room').media === undefined")


def test_two_offers_that_cross_a_hundred_times_end_in_a_connection(enter: Enter, offered: None) -> None:
    """Both sides offer at once, again and again, over a channel that keeps order and takes its time."""
    outcome = enter(None).evaluate(
        """async () => {
          const { Peer } = await import("/static/js/peer.js");
          const sides = {};
          const later = (to) => (signal) => setTimeout(() => sides[to].hear(signal), 1);
          let failures = 0;
          const onstate = (state, error) => error && failures++;
          const made = (polite, to) => new Peer({ polite, config: {}, send: later(to), onstate });
          sides.a = made(true, "b");
          sides.b = made(false, "a");
          const sound = () => new AudioContext().createMediaStreamDestination().stream;
          const connected = ({ connection: { connectionState, signalingState } }) =>
            connectionState === "connected" && signalingState === "stable";
          for (let round = 0; round < 100; round++) {
            sides.a.share([{ stream: sound(), what: "voice" }]);
            sides.b.share([{ stream: sound(), what: "voice" }]);
            const until = performance.now() + 5000;
            do await new Promise((then) => setTimeout(then, 5));
            while ((!connected(sides.a) || !connected(sides.b)) && performance.now() < until);
            if (!connected(sides.a) || !connected(sides.b)) return { round, failures };
          }
          return { round: 100, failures };
        }"""
    )
    assert outcome == {"round": 100, "failures": 0}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_call_can_be_used_by_everybody(enter: Enter, offered: None, theme: Any) -> None:
    page, ben = enter(None, color_scheme=theme), enter("ben")
    join(page)
    join(ben)
    press(page, "Microphone")
    press(ben, "Show a screen")
    expect(page.locator(".tile.screen")).to_have_count(1)
    page.get_by_text("Devices and keys").click()
    assert faults(page) == []
    assert sideways(page) == []
