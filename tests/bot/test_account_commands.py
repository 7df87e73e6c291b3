"""`account`, by an operator with a one-time code, against the real web application."""

from __future__ import annotations

import pytest

from bot.commands import run
from bot.door import Door
from bot.hub_client import HubClient
from bot.problems import CONFLICT, NOT_ALLOWED, NOT_FOUND, Problem
from hub.core.context import Actor
from hub.core.house import House
from tests.actions.people_fixtures import step_up_code
from tests.bot.conftest import Collegium


def test_an_operator_makes_changes_disables_and_resets_accounts(
    collegium: Collegium,
    house: House,
    operator: Actor,
) -> None:
    assert collegium("account", "create", "Carla Neri", by=operator).lines[0] == "carla-neri has an account."
    refused = collegium("account", "role", "carla-neri", "operator", by=operator, code=NOT_ALLOWED).err
    assert "/me/signing" in refused
    code = step_up_code(house, operator)
    changed = collegium("account", "role", "@carla-neri", "operator", "--code", code, by=operator)
    assert changed.lines[0] == "carla-neri is operator of this hub now."
    code = step_up_code(house, operator)
    disabled = collegium("account", "disable", "carla-neri", "--code", code, by=operator)
    assert disabled.lines[0] == "carla-neri's account is disabled."
    code = step_up_code(house, operator)
    assert "last operator" in collegium("account", "disable", "olga", "-c", code, by=operator, code=CONFLICT).err
    assert collegium("account", "enable", "carla-neri", by=operator).lines[0] == "carla-neri's account works again."
    code = step_up_code(house, operator)
    assert collegium("account", "reset", "carla-neri", "-c", code, by=operator).code == 0
    code = step_up_code(house, operator)
    collegium("account", "reset", "nobody", "-c", code, by=operator, code=NOT_FOUND)


def test_nobody_else_does(collegium: Collegium, ben: Actor) -> None:
    collegium("account", "create", "X", code=NOT_ALLOWED)
    for words in (("disable", "ben"), ("enable", "ben"), ("reset", "ben"), ("role", "ben", "guest")):
        collegium("account", *words, code=NOT_ALLOWED)


@pytest.mark.parametrize("words", ["role ben guest", "disable ben", "reset ben"])
def test_what_needs_a_code_is_not_done_in_a_chat_and_says_where(words: str) -> None:
    """There is no hub to be asked: a question would fail."""

    def nobody() -> HubClient:
        raise AssertionError("asked the hub")

    verb = words.partition(" ")[0]
    with pytest.raises(Problem, match=f"“account {verb}” is a command of the shell") as refused:
        run(f"account {words} --code abc", Door(nobody, call="!"))
    assert f"On your own machine: collegium account {verb}." in refused.value.hint
