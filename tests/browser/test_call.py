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
  const { peers } = document.querySelector("live-room").media.mesh;
  let bytes = 0;
  for (const { peer } of peers.values()) {
    for (const one of (await peer.connection.getStats()).values()) {
      if (one.type === "inbound-rtp" && one.kind === kind) bytes += one.bytesReceived;
    }
  }
  return bytes;
}"""


@pytest.fixture(scope="module", name="chromium")
def with_devices(launch: Launch) -> Iterator[Browser]:
    """With a microphone that beeps, a camera and a screen of test pictures, and leave to use them."""
    browser = launch(
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
    )
    # To find a way to each other and agree on keys takes two browsers seconds where both share a busy core.
    expect.set_options(timeout=20_000)
    yield browser
    expect.set_options(timeout=5_000)
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
        expect(page.get_by_role("button", name="Stop screen 1")).to_be_visible()
    for page in (owner, ben):
        expect(page.locator(".tile.screen video")).to_have_count(1, timeout=20_000)
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


def test_what_the_hub_does_not_say_is_sent_is_not_played(enter: Enter, offered: None) -> None:
    """A changed page could send what its person may not; the others go by the hub's word."""
    owner, ben = enter(None), enter("ben")
    join(owner)
    join(ben)
    press(ben, "Microphone")
    expect(owner.locator(".tile.voice")).to_have_count(1)
    ben.evaluate("document.querySelector('live-room').room.tell({ mic: false })")
    expect(owner.locator(".tile.voice")).to_have_count(0)
    assert grows(owner, "audio"), "it is still sent"


def test_a_moderator_mutes_a_running_call_where_the_sound_is_made(
    enter: Enter, hub: Hub, session: str, offered: None
) -> None:
    owner, ben = enter(None), enter("ben")
    for page in (owner, ben):
        join(page)
        press(page, "Microphone")
    expect(owner.locator(".tile.voice")).to_have_count(1)
    hub.act("room_mute", session_id=session)
    microphone = ben.get_by_role("group", name="Call").get_by_role("button", name="Microphone")
    expect(microphone).to_have_attribute("aria-pressed", "false")
    expect(owner.locator(".tile.voice")).to_have_count(0)
    enabled = "document.querySelector('live-room').media.sharing.voice.getTracks().some((track) => track.enabled)"
    assert ben.evaluate(enabled) is False and owner.evaluate(enabled) is True, "who moderates is not muted by it"
    press(ben, "Microphone")
    expect(owner.locator(".tile.voice")).to_have_count(1)


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
    assert owner.evaluate("document.querySelector('live-room').media.mesh.peers.size") == 0


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
          const arrives = { a: 0, b: 0 };
          const onstate = (state, error) => error && failures++;
          const made = (polite, to, me) => new Peer({
            polite, config: {}, send: later(to), onstate, onstreams: (streams) => (arrives[me] = streams.length),
          });
          sides.a = made(true, "b", "a");
          sides.b = made(false, "a", "b");
          const sound = () => new AudioContext().createMediaStreamDestination().stream;
          const connected = ({ connection: { connectionState, signalingState } }) =>
            connectionState === "connected" && signalingState === "stable";
          for (let round = 0; round < 100; round++) {
            sides.a.share([{ stream: sound(), what: "voice" }]);
            sides.b.share([{ stream: sound(), what: "voice" }]);
            const until = performance.now() + 30_000; // an end of waiting, no measure
            // What arrives is told, too: a track that plays may be called muted for good after a rollback.
            const whole = () => connected(sides.a) && connected(sides.b) && arrives.a && arrives.b;
            do await new Promise((then) => setTimeout(then, 5));
            while (!whole() && performance.now() < until);
            if (!whole()) return { round, failures, ...arrives };
          }
          return { round: 100, failures };
        }"""
    )
    assert outcome == {"round": 100, "failures": 0}


def test_who_is_polite_lets_the_other_begin_and_begins_where_the_other_has_nothing_to_offer(
    enter: Enter, offered: None
) -> None:
    """Where the very first offers cross, a Chromium that has just started may never connect."""
    outcome = enter(None).evaluate(
        """async () => {
          const { Peer } = await import("/static/js/peer.js");
          const meet = async (...offering) => {
            const said = [], sides = {};
            for (const [me, to, polite] of [["a", "b", true], ["b", "a", false]]) {
              sides[me] = new Peer({ polite, config: {}, send: (signal) => {
                if (signal.desc) said.push(`${me}: ${signal.desc.type}`);
                setTimeout(() => sides[to].hear(signal), 1);
              } });
            }
            for (const me of offering) {
              const stream = new AudioContext().createMediaStreamDestination().stream;
              sides[me].share([{ stream, what: "voice" }]);
            }
            const states = () => [sides.a, sides.b].map(({ connection }) => connection.connectionState);
            while (!states().every((state) => state === "connected")) await new Promise((then) => setTimeout(then, 5));
            for (const side of Object.values(sides)) side.close();
            return said;
          };
          return { both: await meet("a", "b"), polite: await meet("a") };
        }"""
    )
    assert outcome == {"both": ["b: offer", "a: answer"], "polite": ["a: offer", "b: answer"]}


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
