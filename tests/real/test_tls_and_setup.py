"""A whole hub that serves https and wss by itself, and is set up to another address while it runs."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from hub.live import certificate, frames
from hub.live.frames import Kind
from tests.certificates import Authority
from tests.embedded import Hub
from tests.live.loopback import Client

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def test_a_hub_speaks_https_and_wss_and_moves_to_a_new_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
    chain, key = authority.issue("127.0.0.1", "localhost")
    hub = Hub(
        tmp_path, SSL_CERT_FILE=str(authority.root), COLLEGIUM_TLS_CERTIFICATE=str(chain), COLLEGIUM_TLS_KEY=str(key)
    )
    try:
        assert hub.url.startswith("https://127.0.0.1:")
        token = (hub.data / "operator.token").read_text().strip()
        trusting = authority.trusting()
        asked = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=hub.url, verify=trusting, headers=asked) as client:
            answer = client.get("/api/me")
            assert answer.json()["handle"] == "ana"
            assert answer.headers["strict-transport-security"].startswith("max-age=")
            page = client.get("/signin")
            assert "wss://127.0.0.1:" in page.headers["content-security-policy"]
        with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
            httpx.get(f"{hub.url}/healthz", verify=ssl.create_default_context(cafile=_other(tmp_path)))
        asyncio.run(_greeted(hub.url, token, trusting))
        printed = re.search(r"Set it up at (\S+)", hub.log.read_text())
        assert printed is not None
        _cookie_is_bound_to_its_host(printed[1], hub.url, trusting)
        port = hub.url.rpartition(":")[2]
        before = hub.processes()
        said = _set_up(hub, "--step", "public_url", "--set", f"url=https://localhost:{port}")
        assert said["state"] == "done", said
        assert [check["holds"] for check in said["checks"]] == [True, True, True]
        _wait(lambda: hub.url == f"https://localhost:{port}")
        _wait(lambda: _answers(f"https://localhost:{port}/api/me", asked, trusting) == 200)
        assert _answers(f"https://127.0.0.1:{port}/api/me", asked, trusting) == 400
        after = hub.processes()
        stayed = {words for pid, words in before.items() if after.get(pid) == words}
        assert any(" agent" in words for words in stayed) and any("valkey" in words for words in stayed)
        assert not any(words.rstrip().endswith((" live", " work")) for words in stayed)
        assert _set_up(hub, "--step", "backup", "--set", f"folder={tmp_path / 'backups'}")["state"] == "done"
    finally:
        hub.close()
    assert hub.processes() == {}


def _set_up(hub: Hub, *words: str) -> Any:
    """What `collegium setup` answers, as a process of its own: an operator's verb reads its own environment."""
    asked = hub.begin("setup", *words, "--json", stdout=subprocess.PIPE)
    answer, _ = asked.communicate(timeout=120)
    return json.loads(answer)


def _answers(url: str, headers: dict[str, str], trusting: ssl.SSLContext) -> int:
    """The status there; 0 while the door is on its way."""
    try:
        return httpx.get(url, headers=headers, verify=trusting).status_code
    except httpx.TransportError:
        return 0


def _wait(holds: object) -> None:
    deadline = time.monotonic() + 90
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _other(folder: Path) -> str:
    (folder / "other").mkdir()
    return str(Authority(folder / "other").root)


async def _greeted(url: str, token: str, trusting: ssl.SSLContext) -> None:
    """A room's socket opens over TLS, at the very origin."""
    async with httpx.AsyncClient(base_url=url, verify=trusting, headers={"Authorization": f"Bearer {token}"}) as client:
        made = (await client.post("/api/tickets", json={"session": "ana/personal"})).json()
    at = f"{url.replace('https', 'wss', 1)}/ws?ticket={made['ticket']}"
    async with connect(at, ssl=trusting, origin=url, compression=None, proxy=None) as link:  # type: ignore[arg-type]
        room = Client(link)
        await room.say(frames.Hello(1))
        await room.told(Kind.PSNAP)


def _cookie_is_bound_to_its_host(link: str, url: str, trusting: ssl.SSLContext) -> None:
    """The link that `up` printed signs its opener in, once, with a cookie that no other host can set."""
    with httpx.Client(base_url=url, verify=trusting, headers={"Origin": url}) as browser:
        used = browser.post(link)
        assert (used.status_code, used.headers["location"]) == (303, "/setup")
        assert used.headers["set-cookie"].startswith("__Host-collegium=")
        assert "; Secure" in used.headers["set-cookie"]
        assert browser.get("/setup").status_code == 200
        assert browser.post(link).status_code == 404


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    chain, key = authority.issue("hub.lab.org")
    served = certificate.ServedCertificate(chain, key)
    assert not served.look()
    first = chain.read_bytes()
    chain.write_text("-----BEGIN CERTIFICATE-----\n")  # a renewal in the middle of being written
    assert not served.look()
    authority.issue("hub.lab.org")  # into the same files
    assert chain.read_bytes() != first
    assert served.look()
    assert not served.look()
