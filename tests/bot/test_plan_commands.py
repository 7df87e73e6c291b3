"""Where a job would go, in the shell: the table, the question before a submission, and what is submitted then."""

from __future__ import annotations

import io
from typing import Any

import httpx
import pytest

from bot import terminal
from tests.bot.conftest import Collegium
from tests.bot.fake_hub import FakeHub, job

SCRIPT = "#!/bin/sh\ntrue\n"


def place(backend: str, **more: Any) -> dict[str, Any]:
    return {"backend": backend, "starts_in": 0.0, "ends_in": 3600.0, "cost": 0.2, "most": 0.2, "why": "", **more}


PLAN = {
    "chosen": "raven",
    "candidates": [
        place("raven", chosen=True, why="the cheapest"),
        place("swift", starts_in=None, ends_in=None, cost=None, most=None, why="nobody has said what it costs"),
    ],
    "cores": 2,
    "wall_seconds": 3600,
    "currency": "EUR",
}


class PlanningHub(FakeHub):
    """It also answers where a job would go."""

    def _view(self, request: httpx.Request) -> httpx.Response:
        if (request.method, request.url.path) == ("POST", "/api/jobs/plan"):
            return httpx.Response(200, json=PLAN)
        return super()._view(request)


@pytest.fixture
def hub() -> FakeHub:
    one = PlanningHub()
    one.results["job_submit"] = job(12, "QUEUED")
    return one


def sits_there(monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    monkeypatch.setattr(terminal, "_somebody_sits_there", lambda screen: True)
    monkeypatch.setattr("sys.stdin", io.StringIO(says))


def test_the_plan_is_a_table_with_its_reasons(shell: Collegium, hub: FakeHub) -> None:
    ran = shell("job", "plan", SCRIPT, "--nodes", "2", "--within", "120", transport=hub)
    assert ran.code == 0
    assert "It would go to raven, starting now." in ran.out
    for said in ("the cheapest", "0.20 EUR", "swift", "unknown", "2 cores for 1 h at most"):
        assert said in ran.out
    assert hub.acted == []


def test_who_sits_at_a_terminal_is_asked_and_what_was_agreed_is_sent_along(
    shell: Collegium, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    sits_there(monkeypatch, "\n")
    ran = shell("job", "submit", SCRIPT, transport=hub)
    assert ran.code == 0 and "Submit it to raven? [Y/n]" in ran.err
    assert [(name, params["agreed"]) for name, params in hub.acted] == [("job_submit", "raven")]


def test_who_says_no_has_submitted_nothing(shell: Collegium, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    sits_there(monkeypatch, "n\n")
    ran = shell("job", "submit", SCRIPT, transport=hub)
    assert ran.code != 0 and "Nothing was submitted." in ran.err
    assert hub.acted == []


@pytest.mark.parametrize("words", [("--yes",), ("--type", "local"), ("--cluster", "raven")])
def test_nobody_is_asked_who_said_where_or_not_to_ask(
    shell: Collegium, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    sits_there(monkeypatch, "n\n")
    assert shell("job", "submit", SCRIPT, *words, transport=hub).code == 0
    assert "agreed" not in hub.acted[0][1]


def test_off_a_terminal_nobody_is_asked(shell: Collegium, hub: FakeHub) -> None:
    assert shell("job", "submit", SCRIPT, transport=hub).code == 0
    assert "agreed" not in hub.acted[0][1]
