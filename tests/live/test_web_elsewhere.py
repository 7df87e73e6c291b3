"""Live and web on two machines: by an address instead of a socket, with a token set from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from hub import app
from hub.core.bus import MemoryBus
from hub.core.errors import InvalidInput
from hub.core.settings import Settings
from hub.live import app as live
from hub.live.record import Record
from hub.people import accounts, embedded


def test_with_web_elsewhere_live_is_no_front_door() -> None:
    made = live.create(Settings(web_url="http://web:8401", live_token="t" * 32))
    paths = [route.path for route in made.routes if isinstance(route, Route | Mount)]
    assert paths == ["/live/metrics", "/slack", "/bot", "/healthz"]
    found = TestClient(made).get("/healthz")
    assert (found.status_code, found.text) == (200, "ok\n")
    assert TestClient(made).get("/api/me").status_code == 404


def test_web_is_asked_at_its_address_under_the_name_it_answers_to() -> None:
    record = Record.over_http("http://web:8401", "t", "https://hub.example.edu")
    request = record._client.build_request("GET", "/api/events")
    assert str(request.url) == "http://web:8401/api/events"
    assert request.headers["Host"] == "hub.example.edu"


def test_a_service_token_set_from_outside_is_known_and_replaced_by_the_next(tmp_path: Path) -> None:
    def start(token: str) -> None:
        settings = Settings(data=tmp_path, live_token=token, owner="ana")
        app.prepare(settings).close()

    def knows(token: str) -> bool:
        house = app.build(Settings(data=tmp_path), bus=MemoryBus())
        try:
            with house.db.read() as conn:
                actor = accounts.actor_by_token(conn, token, house.clock.now())
            return actor is not None and actor.kind == "service"
        finally:
            house.close()

    first, second = "a" * 64, "b" * 64
    start(first)
    start(first)
    assert knows(first) and not (tmp_path / embedded.LIVE_TOKEN).exists()
    start(second)
    assert knows(second) and not knows(first)
    with pytest.raises(InvalidInput, match="was in use before"):
        start(first)
    with pytest.raises(InvalidInput, match="fewer than 32"):
        start("short")
