"""A call between browsers that do not reach each other: all goes through a real coturn, by the hub's credentials."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.room_world import Enter, until
from tests.browser.test_call import grows, join, offered, press, with_devices  # noqa: F401 - fixtures

SECRET = "shared-by-hub-and-relay-" + "s" * 16
EXAMPLE = Path(__file__).parents[2] / "deploy" / "coturn" / "turnserver.conf"
PAIRS = """async () => {
  const kinds = new Set();
  for (const { peer } of document.querySelector("live-room").media.mesh.peers.values()) {
    const stats = await peer.connection.getStats();
    for (const one of stats.values()) {
      if (one.type !== "candidate-pair" || one.state !== "succeeded" || !one.nominated) continue;
      kinds.add(stats.get(one.localCandidateId).candidateType);
    }
  }
  return [...kinds];
}"""


def _on_loopback(example: str, port: int) -> str:
    """The example configuration with the addresses of this machine, where its own peers are on loopback too."""
    own = {"listening-ip": "127.0.0.1", "relay-ip": "127.0.0.1", "listening-port": port, "static-auth-secret": SECRET}
    lines = [line for line in example.splitlines() if line and not line.startswith("#")]
    kept = [
        line
        for line in lines
        if not line.startswith(("denied-peer-ip=127.", "denied-peer-ip=::1", "tls-", "cert=", "pkey="))
    ]
    found = [f"{name}={own[name]}" if (name := line.partition("=")[0]) in own else line for line in kept]
    assert all(f"{name}={value}" in found for name, value in own.items())
    return "\n".join(found) + "\n"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """coturn on loopback with the REST credentials of `use-auth-secret`: its port and its log."""
    program = shutil.which("turnserver")
    assert program is not None, "no coturn on this machine"
    folder = tmp_path_factory.mktemp("coturn")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "turnserver.conf").write_text(
        _on_loopback(EXAMPLE.read_text(), port)
        + f"no-tls\nno-dtls\nallow-loopback-peers\nuserdb={folder}/turndb\npidfile={folder}/pid\n"
        "log-file=stdout\nsimple-log\nverbose\n"
    )
    log = folder / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [program, "-c", str(folder / "turnserver.conf")], stdout=output, stderr=output, cwd=folder
        )
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield port, log
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


@pytest.fixture(scope="module")
def settings(relay: tuple[int, Path]) -> dict[str, str]:
    port, _ = relay
    urls = f"turn:127.0.0.1:{port}?transport=udp,turn:127.0.0.1:{port}?transport=tcp"
    return {"COLLEGIUM_TURN_URLS": urls, "COLLEGIUM_TURN_SECRET": SECRET}


@pytest.mark.usefixtures("offered")
def test_voice_and_screen_pass_through_the_relay(enter: Enter, relay: tuple[int, Path]) -> None:
    owner, ben = enter(None, "?relay-only"), enter("ben", "?relay-only")
    for page in (owner, ben):
        join(page)
        press(page, "Microphone")
    press(ben, "Show a screen")
    for page in (owner, ben):
        assert grows(page, "audio")
        assert page.evaluate(PAIRS) == ["relay"]
    expect(owner.locator(".tile.screen")).to_have_count(1)
    assert grows(owner, "video")
    assert "ALLOCATE processed, success" in relay[1].read_text()


@pytest.mark.usefixtures("offered")
def test_credentials_that_are_renewed_carry_a_running_call_on(enter: Enter, relay: tuple[int, Path]) -> None:
    owner, ben = enter(None, "?relay-only"), enter("ben", "?relay-only")
    for page in (owner, ben):
        join(page)
    press(ben, "Microphone")
    assert grows(owner, "audio")
    path = """() => [...document.querySelector("live-room").media.mesh.peers.values()].map(({ peer }) =>
        /a=ice-ufrag:(.*)/.exec(peer.connection.localDescription.sdp)[1]).join()"""
    before = owner.evaluate(path)
    for page in (owner, ben):  # As the hub tells them when three quarters of their time are over.
        page.evaluate("((room) => room.onICE(room.relays))(document.querySelector('live-room').room)")
    until(owner, lambda: owner.evaluate(path) != before)
    assert grows(owner, "audio")
    assert owner.evaluate(PAIRS) == ["relay"]
