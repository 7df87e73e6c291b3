"""`collegium login` on another machine: the whole hub behind its front door, a browser, mail, and two shells."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.actions.mail_server import Mailbox, running
from tests.embedded import COLLEGIUM, Hub

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, mailbox: Mailbox) -> Iterator[Hub]:
    with running(mailbox) as port:
        made = Hub(tmp_path_factory.mktemp("hub"), COLLEGIUM_SMTP_URL=f"smtp://127.0.0.1:{port}")
        yield made
        made.close()


def browser(hub: Hub) -> httpx.Client:
    """Ana's browser, signed in by a one-time link."""
    link = re.search(r"http\S+/signin/\S+", hub("link", "--plain"))
    assert link is not None
    client = httpx.Client(base_url=hub.url, headers={"Origin": hub.url, "Accept": "text/html"})
    assert client.post(link[0].rstrip(".")).status_code == 303
    return client


def test_a_shell_elsewhere_is_signed_in_uses_a_session_and_signs_out(hub: Hub, tmp_path: Path) -> None:
    hub("session", "create", "hcl")
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "HOSTNAME": "laptop", "PYTHONPATH": str(Path.cwd())}

    def away(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COLLEGIUM, *words], env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )

    with subprocess.Popen(
        [*COLLEGIUM, "login", hub.url], env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as login, closing(browser(hub)) as hers:  # fmt: skip
        assert login.stdout is not None and login.stderr is not None
        code = re.search(r"[A-Z]{4}-[A-Z]{4}", login.stderr.readline())
        assert code is not None
        page = hers.post("/device", data={"code": code[0]}).text
        assert "laptop" in page and "127.0.0.1, the same as yours" in page
        fields = {"action": "device_approve", "user_code": code[0], "next": "/device?said=approved"}
        assert hers.post("/do", data=fields).status_code == 303
        assert login.wait(60) == 0
        assert "signed in to" in login.stdout.read()
    assert "You are Ana" in away("whoami").stdout
    assert away("use", "ana/hcl").returncode == 0
    assert "ana/hcl" in away("whoami").stdout
    assert away("logout").returncode == 0 and away("whoami").returncode != 0


def test_somebody_invited_by_mail_makes_an_account_and_is_in(hub: Hub, mailbox: Mailbox) -> None:
    said = hub("share", "create", "lab", "-p", "lee@university.edu:read_write")
    assert "invited by mail" in said
    deadline = time.monotonic() + 60
    while not mailbox.arrived:
        assert time.monotonic() < deadline, hub("share", "list", "lab")
        time.sleep(0.1)
    link = re.search(r"http\S+/invitation/(\S+)", mailbox.message().get_content())
    assert link is not None
    with httpx.Client(base_url=hub.url, headers={"Origin": hub.url, "Accept": "text/html"}) as fresh:
        assert "invites you to" in fresh.get(link[0]).text
        joined = fresh.post("/do", data={"action": "invitation_join", "secret": link[1], "name": "Lee Park"})
        assert (joined.status_code, joined.headers["location"]) == (303, "/s/ana/lab")
        assert fresh.get("/s/ana/lab").status_code == 200
