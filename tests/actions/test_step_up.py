"""Proving anew that it is you: what counts, for how long, and that the cookie changes."""

from __future__ import annotations

import msgspec
import pytest

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import HubError, InvalidInput, NotAllowed, TooMany
from hub.core.house import House
from hub.people import accounts
from hub.people.tables import sign_ins
from tests.actions.people_fixtures import PASSWORD, act, code_of, in_browser, rows, with_app, with_password

pytestmark = pytest.mark.usefixtures("quick_hashes")


@pytest.fixture
def stale(house: House, ana: Actor, clock: FrozenClock) -> Actor:
    """Ana, with a password, in a browser where she signed in a while ago."""
    browser = with_password(house, ana)
    clock.advance(limits.STEP_UP_SECONDS + 1)
    return browser


def test_a_password_makes_a_stale_sign_in_fresh_and_changes_its_cookie(house: House, stale: Actor) -> None:
    act(house, stale, "key_create", name="lab")
    with pytest.raises(NotAllowed) as refused:
        act(house, stale, "signing_window")
    assert refused.value.code == "step_up_required"
    proved = act(house, stale, "step_up", password=PASSWORD)
    fresh = in_browser(house, stale, proved["cookie"])
    assert fresh.sign_in_id == stale.sign_in_id
    assert act(house, fresh, "signing_window")["name"] == "lab"


def test_of_two_cookies_of_one_sign_in_only_the_newest_is_alive(house: House, stale: Actor) -> None:
    first = act(house, stale, "step_up", password=PASSWORD)["cookie"]
    second = act(house, stale, "step_up", password=PASSWORD)["cookie"]
    with house.db.read() as conn:
        assert accounts.live_sign_in(conn, first, house.clock.now()) is None
        assert accounts.live_sign_in(conn, second, house.clock.now()) is not None


def test_everything_that_is_set_up_is_asked(house: House, ana: Actor, clock: FrozenClock) -> None:
    browser = with_password(house, ana)
    app = with_app(house, browser)
    clock.advance(limits.STEP_UP_SECONDS + 1)
    code = code_of(app, house)
    for given in ({}, {"password": PASSWORD}, {"totp": code}, {"password": "wrong", "totp": code}):
        with pytest.raises(NotAllowed) as refused:
            act(house, browser, "step_up", **given)
        assert refused.value.code == "step_up_refused", given
    act(house, browser, "step_up", password=PASSWORD, totp=code)
    (row,) = [row for row in rows(house, sign_ins) if row.id == browser.sign_in_id]
    assert row.proved_at == clock.now()
    with pytest.raises(NotAllowed):
        act(house, browser, "step_up", password=PASSWORD, totp=code)


def test_a_proof_lasts_five_minutes(house: House, stale: Actor, clock: FrozenClock) -> None:
    proved = act(house, stale, "step_up", password=PASSWORD)
    clock.advance(limits.STEP_UP_SECONDS)
    act(house, in_browser(house, stale, proved["cookie"]), "account_authenticator_begin")
    clock.advance(1)
    with pytest.raises(NotAllowed):
        act(house, in_browser(house, stale, proved["cookie"]), "account_authenticator_begin")


def test_guesses_are_counted_here_as_at_the_front_door(house: House, stale: Actor) -> None:
    outcomes: list[type[HubError]] = []
    for number in range(limits.GUESSES_PER_ACCOUNT + 3):
        with pytest.raises(HubError) as refused:
            act(house, stale, "step_up", password=f"guess number {number}")
        outcomes.append(type(refused.value))
    assert outcomes.count(NotAllowed) == limits.GUESSES_PER_ACCOUNT and outcomes.count(TooMany) == 3


def test_who_has_nothing_to_prove_with_is_told_the_way(house: House, ana: Actor) -> None:
    with pytest.raises(NotAllowed) as refused:
        act(house, in_browser(house, ana), "step_up", password="anything at all")
    assert refused.value.code == "nothing_to_prove_with" and "sign out" in refused.value.hint


def test_a_token_and_a_service_cannot_prove_anew(house: House, stale: Actor) -> None:
    with pytest.raises(InvalidInput):
        act(house, msgspec.structs.replace(stale, sign_in_id=None, token_id="tok_1"), "step_up", password=PASSWORD)
    with pytest.raises(NotAllowed):
        act(house, msgspec.structs.replace(stale, by_service="tok_bot"), "step_up", password=PASSWORD)


def test_sign_ins_are_ended_one_by_one_and_all_others_at_once(house: House, ana: Actor, ben: Actor) -> None:
    here, there, elsewhere = (in_browser(house, ana) for _ in range(3))
    bens = in_browser(house, ben)
    act(house, here, "sign_out_other", sign_in=there.sign_in_id)
    for unknown in (there.sign_in_id, bens.sign_in_id, "sin_1"):
        with pytest.raises(HubError) as refused:
            act(house, here, "sign_out_other", sign_in=unknown)
        assert refused.value.code == "sign_in_not_found"
    assert act(house, here, "sign_out_others")["ended"] == 1
    lasting = {row.id for row in rows(house, sign_ins) if row.ended_at is None}
    assert lasting == {here.sign_in_id, bens.sign_in_id} and elsewhere.sign_in_id not in lasting


def test_a_fresh_browser_makes_a_code_that_proves_a_shell_once_and_no_code_makes_another(
    house: House, ana: Actor, ben: Actor, clock: FrozenClock
) -> None:
    act(house, ana, "key_create", name="lab")
    browser = in_browser(house, ana)
    code = act(house, browser, "step_up_code")["secret"]
    assert len(code) == 19
    for other in (ana, ben):
        with pytest.raises(NotAllowed):
            act(house, other, "step_up_code")
    shell = msgspec.structs.replace(ana, token_id="tok_1")
    act(house, ben, "key_create", name="bens")
    with pytest.raises(HubError) as refused:
        act(house, ben, "signing_window", code=code)
    assert refused.value.code == "secret_not_valid", "it is Ana's alone"
    assert act(house, shell, "signing_window", code=code)["name"] == "lab"
    with pytest.raises(HubError):
        act(house, shell, "signing_window", code=code)
    late = act(house, browser, "step_up_code")["secret"]
    clock.advance(limits.STEP_UP_SECONDS)
    with pytest.raises(HubError):
        act(house, shell, "signing_window", code=late)


def test_a_passkey_step_up_is_not_held_up_by_somebody_who_guesses(house: House, stale: Actor) -> None:
    """The answer below is nonsense; that it is looked at, and not refused as one guess too many, is the point."""
    for number in range(limits.GUESSES_PER_ACCOUNT + 1):
        with pytest.raises(HubError):
            act(house, stale, "step_up", password=f"guess number {number}")
    with pytest.raises(InvalidInput) as refused:
        act(house, stale, "step_up", passkey="{}")
    assert refused.value.code == "passkey_not_valid"
