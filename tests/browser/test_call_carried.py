"""A call of seven: above six a real LiveKit server carries it, with the hub's tokens and under the hub's rights."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.room_world import Enter, Hub, until
from tests.browser.test_call import join, offered, press, with_devices  # noqa: F401 - fixtures

KEY, SECRET = "APItest", secrets.token_hex(32)
PEOPLE = ("ben", "cem", "dee", "eli", "fay")
# What arrives from the media server: bytes by kind.
RECEIVED = """async (kind) => {
  const { carried } = document.querySelector("live-room").media;
  let bytes = 0;
  for (const member of carried?.call?.remoteParticipants.values() ?? []) {
    for (const { track } of member.trackPublications.values()) {
      if (!track?.receiver || track.kind !== kind) continue;
      for (const one of (await track.receiver.getStats()).values()) {
        if (one.type === "inbound-rtp") bytes += one.bytesReceived;
      }
    }
  }
  return bytes;
}"""


@pytest.fixture(scope="module")
def media_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """LiveKit on loopback and nothing else; its address."""
    program = os.environ.get("LIVEKIT_SERVER") or shutil.which("livekit-server")
    if not program:
        pytest.skip("LiveKit's server is not on this machine and could not be built (see .ci/run)")
    folder = tmp_path_factory.mktemp("livekit")
    with socket.create_server(("127.0.0.1", 0)) as probe, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media:
        media.bind(("127.0.0.1", 0))
        port, udp = probe.getsockname()[1], media.getsockname()[1]
    config = {
        "port": port,
        "bind_addresses": ["127.0.0.1"],
        "keys": {KEY: SECRET},
        "logging": {"level": "info"},
        # Its TCP port for media would be bound on every interface, whatever is said above.
        "rtc": {
            "tcp_port": 0,
            "udp_port": udp,
            "node_ip": "127.0.0.1",
            "use_external_ip": False,
            "enable_loopback_candidate": True,
            "interfaces": {"includes": ["lo"]},
            "ips": {"includes": ["127.0.0.1/32"]},
        },
    }
    (folder / "livekit.yaml").write_text(json.dumps(config))
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program, "--config", str(folder / "livekit.yaml")], stdout=output, stderr=output, cwd=folder
        )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def settings(media_server: str) -> dict[str, str]:
    return {
        "COLLEGIUM_LIVEKIT_URL": media_server,
        "COLLEGIUM_LIVEKIT_KEY": KEY,
        "COLLEGIUM_LIVEKIT_SECRET": SECRET,
    }


def is_carried(page: Page) -> bool:
    return bool(page.evaluate("Boolean(document.querySelector('live-room').media.carried?.connected)"))


def arrives(page: Page, kind: str) -> None:
    """More of this comes from the media server while one looks."""
    before = page.evaluate(RECEIVED, kind)
    until(page, lambda: page.evaluate(RECEIVED, kind) > before + 500, 20)


def identities(media_server: str, room: str) -> set[str]:
    """Whom the media server has in a room, by its own account."""
    import jwt

    now = int(time.time())
    claims = {"iss": KEY, "nbf": now - 10, "exp": now + 60, "video": {"roomAdmin": True, "room": room}}
    request = urllib.request.Request(
        f"{media_server}/twirp/livekit.RoomService/ListParticipants",
        data=json.dumps({"room": room}).encode(),
        headers={"authorization": f"Bearer {jwt.encode(claims, SECRET, 'HS256')}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return {each["identity"] for each in json.loads(answer.read()).get("participants", [])}


@pytest.mark.may_skip
@pytest.mark.usefixtures("offered")
def test_the_seventh_takes_the_call_to_the_media_server_and_rights_hold_there(
    enter: Enter,
    chromium: Browser,
    hub: Hub,
    session: str,
    media_server: str,
) -> None:
    for handle in PEOPLE[2:]:
        hub.act("account_create", name=handle.title(), handle=handle)
    pages = [enter(None), *(enter(handle) for handle in PEOPLE)]
    for page in pages:
        join(page)
    owner, ben = pages[0], pages[1]
    press(ben, "Microphone")
    expect(owner.locator(".tile.voice")).to_have_count(1)
    assert not any(is_carried(page) for page in pages), "six still reach each other"
    shared = hub.act("link_create", session_id=session, role="read_write")
    seventh = chromium.new_context(base_url=hub.origin).new_page()
    seventh.goto(f"/l/{shared['secret']}")
    seventh.get_by_role("button", name="Open it").click()
    expect(seventh.locator("live-room[data-state=open]")).to_be_attached(timeout=20_000)
    join(seventh)
    pages.append(seventh)
    for page in pages:
        until(page, lambda p=page: is_carried(p))  # type: ignore[misc]
        assert page.evaluate("document.querySelector('live-room').media.mesh.peers.size") == 0
    press(seventh, "Show a screen")
    press(owner, "Microphone")
    for page in (owner, seventh):
        arrives(page, "audio")
    for page in (owner, ben):
        expect(page.locator(".tile.screen video")).to_have_count(1)
        arrives(page, "video")
    room = ben.locator("live-room").get_attribute("data-session")
    assert room is not None
    assert len(identities(media_server, room)) == 7
    # One page crashes and comes back.
    seventh.goto("about:blank")
    until(owner, lambda: len(identities(media_server, room)) == 6)
    expect(owner.locator(".tile.screen")).to_have_count(0)
    seventh.goto(f"/s/{session}")
    join(seventh)
    until(seventh, lambda: is_carried(seventh))
    arrives(seventh, "audio")
    # A right that ends, ends on the media server too.
    hub.act("link_revoke", link=shared["link"])
    until(owner, lambda: len(identities(media_server, room)) == 6)
    expect(seventh.locator("live-room[data-state=closed]")).to_be_attached()
    seventh.context.close()
