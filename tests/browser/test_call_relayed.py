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

from tests.browser.room_world import Enter
from tests.browser.test_call import chromium, grows, join, offered, press  # noqa: F401 - fixtures

SECRET = "shared-by-hub-and-relay-" + "s" * 16
PAIRS = """async () => {
  const kinds = new Set();
  for (const { peer } of document.querySelector("live-room").media.peers.values()) {
    const stats = await peer.connection.getStats();
    for (const one of stats.values()) {
      if (one.type !== "candidate-pair" || one.state !== "succeeded" || !one.nominated) continue;
      kinds.add(stats.get(one.localCandidateId).candidateType);
    }
  }
  return [...kinds];
}"""


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """coturn on loopback with the REST credentials of `use-auth-secret`: its port and its log."""
    program = shutil.which("turnserver")
    assert program is not None, "no coturn on this machine"
    folder = tmp_path_factory.mktemp("coturn")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (folder / "turnserver.conf").write_text(
        f"listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nmin-port=49160\nmax-port=49260\n"
        f"realm=collegium\nlt-cred-mech\nuse-auth-secret\nstatic-auth-secret={SECRET}\nno-tls\nno-dtls\nno-cli\n"
        f"allow-loopback-peers\nuserdb={folder}/turndb\npidfile={folder}/pid\nlog-file=stdout\nsimple-log\nverbose\n"
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
