"""What tests about signing in begin with: a person with a password, an app, and the browsers they use."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pyotp
import sqlalchemy as sa

from hub.core.context import ANYONE, Actor
from hub.core.house import House
from hub.core.ids import new_secret
from hub.people import accounts, authenticators, once
from hub.perform import perform as perform_action

PASSWORD = "four words in a row"
STRANGER = msgspec.structs.replace(ANYONE, address="203.0.113.7", agent="Firefox on Linux")


def act(house: House, actor: Actor, action: str, **params: Any) -> Any:
    """Carry out an action; returns its result."""
    envelope = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
    return perform_action(house, envelope, actor).result


def in_browser(house: House, person: Actor, cookie: str | None = None) -> Actor:
    """The person as they are in a browser with this cookie, or in a fresh one."""
    if cookie is None:
        cookie = new_secret("clgc")
        secret = cookie
        house.db.write(lambda tx: accounts.sign_in(tx, secret, house.clock.now(), person=person.id))
    with house.db.read() as conn:
        row = accounts.live_sign_in(conn, cookie, house.clock.now())
        assert row is not None, "this cookie is dead"
        actor = accounts.actor_of(conn, row.person)
    assert actor is not None
    return msgspec.structs.replace(actor, sign_in_id=row.id, signed_in_at=row.proved_at or row.at)


def with_password(house: House, person: Actor, password: str = PASSWORD) -> Actor:
    """Gives the person a password; returns them in the browser where they set it."""
    browser = in_browser(house, person)
    act(house, browser, "account_password", password=password)
    return browser


def with_app(house: House, browser: Actor) -> pyotp.TOTP:
    """Gives the person an authenticator app; one of its codes is used up by that."""
    act(house, browser, "account_authenticator_begin")
    app = app_of(house, browser)
    act(house, browser, "account_authenticator_confirm", totp=code_of(app, house))
    return app


def app_of(house: House, browser: Actor) -> pyotp.TOTP:
    """The app, set up from what the page shows."""
    with house.scope(browser) as scope:
        setup = authenticators.setup(scope)
    assert setup is not None
    return pyotp.TOTP(setup.seed)


def code_of(app: pyotp.TOTP, house: House, *, steps: int = 0) -> str:
    """What the app shows now, or so many half minutes later."""
    return app.at(int(house.clock.now().timestamp()) + 30 * steps)


def rows(house: House, table: sa.Table) -> list[Any]:
    with house.db.read() as conn:
        return list(conn.execute(sa.select(table)))


def step_up_code(house: House, person: Actor) -> str:
    """What `collegium step-up` prints."""
    secret = new_secret("code")
    expires = house.clock.now() + dt.timedelta(minutes=5)
    house.db.write(lambda tx: once.issue(tx, secret, "step_up", person=person.id, expires_at=expires))
    return secret
