"""A hub that was told nothing from outside, its operator, and a Slack it can be connected to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.people import accounts
from hub.setup.rules import Check
from hub.setup.views import SetupView, StepView, setup
from hub.work.entry import carry_out
from tests.actions.notebook_fixtures import signed_in
from tests.bot.fake_slack import FakeSlack
from tests.conftest import NOW


@pytest.fixture(name="house")
def bare_house(house: House) -> House:
    """A hub that was told nothing from outside."""
    house.given_settings = house.settings = msgspec.structs.replace(house.settings, public_url="")
    return house


@pytest.fixture(name="olga")
def fresh_operator(operator: Actor) -> Actor:
    """An operator who signed in a moment ago."""
    return signed_in(operator, NOW)


def look(house: House, who: Actor) -> SetupView:
    with house.scope(who) as scope:
        return setup(scope)


def step(house: House, who: Actor, name: str) -> StepView:
    return next(each for each in look(house, who).steps if each.name == name)


def outcome(house: House, made: Any) -> dict[str, Check]:
    """Run the test an action began; what it found, by name."""
    assert carry_out(house, made["test"])
    with house.db.read() as conn:
        olga = conn.execute(sa.text("SELECT id FROM persons WHERE hub_role = 'operator'")).scalar_one()
        actor = accounts.actor_of(conn, olga)
    assert actor is not None
    return {check.name: check for check in step(house, actor, made["step"]).checks}


@pytest.fixture(name="slack")
def fake_slack(house: House) -> Iterator[FakeSlack]:
    with FakeSlack() as fake:
        house.given_settings = msgspec.structs.replace(house.given_settings, slack_api_url=fake.url)
        house.settings = house.given_settings
        yield fake


def tokens(slack: FakeSlack, **more: str) -> dict[str, str]:
    return {"bot_token": slack.bot_token, "signing_secret": slack.signing_secret, "app_token": slack.app_token, **more}
