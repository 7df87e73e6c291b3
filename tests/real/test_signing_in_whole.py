"""Signing in through the front door of a whole hub: who is where, and what a restart does not forget."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.actions.people_fixtures import PASSWORD
from tests.embedded import Hub

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def browser(hub: Hub) -> httpx.Client:
    return httpx.Client(base_url=hub.url, headers={"Origin": hub.url, "Accept": "text/html"}, timeout=30)


def guess(hub: Hub, number: int) -> int:
    """A guess at Ana's password that claims to come from somewhere else each time."""
    elsewhere = {"X-Forwarded-For": f"198.51.100.{number}", "Forwarded": f"for=198.51.100.{number}"}
    with browser(hub) as guessing:
        answer = guessing.post("/signin", data={"who": "ana", "password": f"guess number {number}"}, headers=elsewhere)
    return answer.status_code


def test_a_password_set_by_a_link_signs_in_and_guesses_outlive_a_restart(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    try:
        link = hub.json("link")
        with browser(hub) as anas:
            assert anas.post(f"/signin/{link['secret']}").status_code == 303
            before = anas.cookies["collegium"]
            assert anas.post("/do", data={"action": "account_password", "password": PASSWORD}).status_code == 303
            assert anas.cookies["collegium"] != before and anas.get("/api/me").json()["handle"] == "ana"
        with browser(hub) as fresh:
            signed_in = fresh.post("/signin", data={"who": "ana", "password": PASSWORD, "next": "/me/security"})
            assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/me/security")
            assert fresh.post("/do", data={"action": "step_up_code"}).status_code == 200
        assert [guess(hub, number) for number in range(8)] == [401] * 8
        hub.close()
        hub.up = hub.start()
        assert [guess(hub, number) for number in range(8, 12)] == [401, 401, 429, 429]
        with browser(hub) as late:
            refused = late.post("/signin", data={"who": "ana", "password": PASSWORD})
            assert refused.status_code == 429 and 0 < int(refused.headers["retry-after"]) <= 900
    finally:
        if hub.up.poll() is None:
            hub.close()
