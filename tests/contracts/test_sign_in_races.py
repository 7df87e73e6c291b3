"""What may happen once happens once, however many ask at the same moment and from however many processes."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub import app
from hub.core import limits
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import HubError, TooMany
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import guesses
from tests.actions.people_fixtures import PASSWORD, STRANGER, act, code_of, in_browser, with_app, with_password
from tests.conftest import NOW, make_person
from tests.databases import OpenDatabase

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_hashes")]

MANY = 50


@pytest.fixture
def houses(tmp_path: Path, databases: OpenDatabase) -> Iterator[list[House]]:
    """One hub in two processes, as far as its database can tell."""
    settings = Settings(data=tmp_path / "data", public_url="http://hub.test")
    settings.data.mkdir()
    clock = FrozenClock(NOW)
    yield [app.build(settings, clock=clock, bus=MemoryBus(), db=databases()) for _ in range(2)]


@pytest.fixture
def person(houses: list[House]) -> Actor:
    return make_person(houses[0], "ana")


def at_once(houses: list[House], ask: Callable[[House, int], object]) -> list[object]:
    """Everybody asks at the same moment, half of them in each process; refusals are answers as well."""
    start = threading.Barrier(MANY)

    def one(number: int) -> object:
        start.wait()
        try:
            return ask(houses[number % 2], number)
        except HubError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(MANY) as crowd:
        return list(crowd.map(one, range(MANY)))


def wins(outcomes: list[object]) -> list[object]:
    return [each for each in outcomes if not isinstance(each, HubError)]


def test_one_code_of_an_app_lets_one_of_fifty_in(
    houses: list[House], person: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GUESSES_PER_ACCOUNT", 2 * MANY)
    monkeypatch.setattr(limits, "GUESSES_PER_ADDRESS", 5 * MANY)
    authenticator = with_app(houses[0], with_password(houses[0], person))
    code = code_of(authenticator, houses[0], steps=1)
    halves = [act(houses[0], STRANGER, "sign_in_password", who="ana", password=PASSWORD)["second"] for _ in range(MANY)]
    outcomes = at_once(houses, lambda house, n: act(house, STRANGER, "sign_in_code", second=halves[n], code=code))
    assert len(wins(outcomes)) == 1
    assert {each.code for each in outcomes if isinstance(each, HubError)} == {"sign_in_refused"}


def test_one_recovery_code_lets_one_of_fifty_in(
    houses: list[House], person: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GUESSES_PER_ACCOUNT", 2 * MANY)
    monkeypatch.setattr(limits, "GUESSES_PER_ADDRESS", 5 * MANY)
    browser = with_password(houses[0], person)
    with_app(houses[0], browser)
    code = act(houses[0], in_browser(houses[0], person), "account_recovery_codes")["codes"][4]
    halves = [act(houses[0], STRANGER, "sign_in_password", who="ana", password=PASSWORD)["second"] for _ in range(MANY)]
    outcomes = at_once(houses, lambda house, n: act(house, STRANGER, "sign_in_code", second=halves[n], code=code))
    assert len(wins(outcomes)) == 1


def test_one_second_page_is_finished_once(houses: list[House], person: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty who hold the same half of a sign-in, with a code and ten recovery codes between them."""
    monkeypatch.setattr(limits, "GUESSES_PER_ACCOUNT", 2 * MANY)
    with_app(houses[0], with_password(houses[0], person))
    codes = act(houses[0], in_browser(houses[0], person), "account_recovery_codes")["codes"]
    half = act(houses[0], STRANGER, "sign_in_password", who="ana", password=PASSWORD)["second"]
    outcomes = at_once(
        houses, lambda house, n: act(house, STRANGER, "sign_in_code", second=half, code=codes[n % len(codes)])
    )
    assert len(wins(outcomes)) == 1


def test_of_fifty_guesses_at_once_ten_are_counted_and_the_rest_refused(houses: list[House]) -> None:
    outcomes = at_once(houses, lambda house, n: guesses.take(house, {"account:per_1": 10, f"address:{n}": 100}))
    assert len(wins(outcomes)) == 10
    assert {type(each) for each in outcomes if each is not None} == {TooMany}
