"""Signing in by password and code: who is let in, what is refused, and how often one may try."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

import argon2
import msgspec
import pytest
import sqlalchemy as sa

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import HubError, NotAllowed, NotFound, NotSignedIn, TooMany
from hub.core.house import House
from hub.ledger.tables import ledger, ledger_bodies
from hub.people import passwords
from hub.people.tables import emails, persons, recovery_codes, sign_ins
from hub.people.tables import passwords as stored_passwords
from tests.actions.people_fixtures import (
    PASSWORD,
    STRANGER,
    act,
    code_of,
    in_browser,
    rows,
    step_up_code,
    with_app,
    with_password,
)

pytestmark = pytest.mark.usefixtures("quick_hashes")


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every password that was held against a hash."""
    evaluated: list[str] = []
    really = passwords.matches

    def matches(stored: str, password: str) -> bool:
        evaluated.append(password)
        return really(stored, password)

    monkeypatch.setattr(passwords, "matches", matches)
    return evaluated


def refusal(house: House, actor: Actor, action: str, **params: Any) -> HubError:
    with pytest.raises(HubError) as refused:
        act(house, actor, action, **params)
    return refused.value


@pytest.mark.parametrize("who", ["ana", "@ana", " Ana ", "ana@university.edu", "ANA@University.EDU "])
def test_a_password_signs_in_by_handle_and_by_verified_e_mail(house: House, ana: Actor, who: str) -> None:
    with_password(house, ana)
    house.db.write(lambda tx: tx.execute(sa.update(emails).values(verified_at=house.clock.now())) and None)
    found = act(house, STRANGER, "sign_in_password", who=who, password=PASSWORD)
    browser = in_browser(house, ana, found["cookie"])
    assert browser.id == ana.id
    row = next(row for row in rows(house, sign_ins) if row.id == browser.sign_in_id)
    assert (row.how, row.agent) == ("password", "Firefox on Linux")


def test_an_address_that_was_only_typed_signs_nobody_in(house: House, ana: Actor) -> None:
    with_password(house, ana)
    error = refusal(house, STRANGER, "sign_in_password", who="ana@university.edu", password=PASSWORD)
    assert error.code == "sign_in_refused"


def test_every_refusal_has_the_same_words_and_costs_one_hash(
    house: House, ana: Actor, ben: Actor, hashes: list[str]
) -> None:
    """Counted, not timed: who does not exist, has no password, is disabled, or is there and typed it wrong."""
    with_password(house, ana)
    carl = act(house, _operator(house), "account_create", name="Carl", handle="carl")["person"]
    house.db.write(
        lambda tx: (
            tx.execute(sa.update(persons).where(persons.c.id == carl).values(disabled_at=house.clock.now())) and None
        )
    )
    said = set()
    for who in ("ana", "nobody", "nobody@university.edu", "not an @ address@", "ben", "carl", "x" * 254):
        hashes.clear()
        error = refusal(house, STRANGER, "sign_in_password", who=who, password="some wrong password")
        assert isinstance(error, NotSignedIn)
        assert hashes == ["some wrong password"], who
        said.add((error.code, error.message, error.hint))
    assert len(said) == 1
    browser = with_password(house, ben)
    with_app(house, browser)
    half = act(house, STRANGER, "sign_in_password", who="ben", password=PASSWORD)
    error = refusal(house, STRANGER, "sign_in_code", second=half["second"], code="000000")
    assert (error.code, error.message, error.hint) in said


def _operator(house: House) -> Actor:
    from tests.conftest import make_person

    return make_person(house, "olga", hub_role="operator")


def test_with_an_app_a_password_is_half_of_the_way_in(house: House, ana: Actor, clock: FrozenClock) -> None:
    app = with_app(house, with_password(house, ana))
    half = act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
    assert "cookie" not in half
    clock.advance(30)
    wrong = refusal(house, STRANGER, "sign_in_code", second=half["second"], code="123456")
    assert wrong.code == "sign_in_refused"
    found = act(house, STRANGER, "sign_in_code", second=half["second"], code=code_of(app, house))
    assert in_browser(house, ana, found["cookie"]).id == ana.id
    clock.advance(30)
    over = refusal(house, STRANGER, "sign_in_code", second=half["second"], code=code_of(app, house))
    assert over.code == "second_page_over"


def test_the_second_page_lasts_ten_minutes(house: House, ana: Actor, clock: FrozenClock) -> None:
    app = with_app(house, with_password(house, ana))
    half = act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
    clock.advance(limits.SECOND_PAGE_SECONDS)
    late = refusal(house, STRANGER, "sign_in_code", second=half["second"], code=code_of(app, house))
    assert late.code == "second_page_over"


def test_a_code_is_good_for_its_half_minute_and_the_ones_beside_it_and_only_once(
    house: House, ana: Actor, clock: FrozenClock
) -> None:
    app = with_app(house, with_password(house, ana))
    clock.advance(600)

    def comes_in(code: str) -> bool:
        half = act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
        try:
            act(house, STRANGER, "sign_in_code", second=half["second"], code=code)
        except NotSignedIn:
            return False
        return True

    assert not comes_in(code_of(app, house, steps=-2))
    assert not comes_in(code_of(app, house, steps=2))
    assert comes_in(code_of(app, house, steps=-1))
    now = code_of(app, house)
    assert comes_in(f"{now[:3]} {now[3:]}")
    assert not comes_in(now), "the same code a second time"
    assert not comes_in(code_of(app, house, steps=-1)), "an older one after a newer"
    assert comes_in(code_of(app, house, steps=1))


def test_a_code_shown_fifty_times_at_once_lets_one_in(
    house: House, ana: Actor, clock: FrozenClock, monkeypatch: Any
) -> None:
    app = with_app(house, with_password(house, ana))
    monkeypatch.setattr(limits, "GUESSES_PER_ACCOUNT", 100)
    clock.advance(30)
    halves = [act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)["second"] for _ in range(50)]
    code, start = code_of(app, house), threading.Barrier(50)

    def show(half: str) -> str:
        start.wait()
        try:
            return str(act(house, STRANGER, "sign_in_code", second=half, code=code)["cookie"])
        except NotSignedIn:
            return ""

    with concurrent.futures.ThreadPoolExecutor(50) as crowd:
        cookies = [cookie for cookie in crowd.map(show, halves) if cookie]
    assert len(cookies) == 1
    assert in_browser(house, ana, cookies[0]).id == ana.id


def test_each_recovery_code_stands_in_for_the_app_once(house: House, ana: Actor, clock: FrozenClock) -> None:
    browser = with_password(house, ana)
    act(house, browser, "account_authenticator_begin")
    from tests.actions.people_fixtures import app_of

    app = app_of(house, browser)
    codes = act(house, browser, "account_authenticator_confirm", totp=code_of(app, house))["codes"]
    assert len(set(codes)) == limits.RECOVERY_CODES
    stored = {bytes(row.digest) for row in rows(house, recovery_codes)}
    assert not any(code.encode() in digest for code in codes for digest in stored)

    def comes_in(code: str) -> bool:
        half = act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
        try:
            act(house, STRANGER, "sign_in_code", second=half["second"], code=code)
        except NotSignedIn:
            return False
        return True

    assert comes_in(codes[0])
    assert not comes_in(codes[0])
    assert comes_in(codes[1].upper().replace("-", " "))
    fresh = act(house, in_browser(house, ana), "account_recovery_codes")["codes"]
    assert not comes_in(codes[2])
    assert comes_in(fresh[9])


def test_the_owner_who_lost_everything_comes_in_by_the_shell(house: House, ana: Actor) -> None:
    """A one-time link, and on the second page what `collegium step-up` printed."""
    with_app(house, with_password(house, ana))
    link = act(house, _operator(house), "signin_link", person="ana")
    half = act(house, STRANGER, "sign_in", secret=link["secret"])
    assert "cookie" not in half, "a link is no way around the app"
    found = act(house, STRANGER, "sign_in_code", second=half["second"], code=step_up_code(house, ana))
    assert in_browser(house, ana, found["cookie"]).id == ana.id


def test_ten_thousand_guesses_from_everywhere_evaluate_ten(
    house: House, ana: Actor, hashes: list[str], clock: FrozenClock
) -> None:
    """In miniature: one account, another client address and browser with each guess."""
    with_password(house, ana)
    hashes.clear()
    outcomes = []
    for number in range(400):
        stranger = msgspec.structs.replace(
            STRANGER, address=f"198.51.{number // 250}.{number % 250}", agent=f"browser {number}"
        )
        who = ("ana", "@ANA", " ana")[number % 3]
        outcomes.append(refusal(house, stranger, "sign_in_password", who=who, password=f"guess number {number}"))
    assert len(hashes) == limits.GUESSES_PER_ACCOUNT
    assert {type(each) for each in outcomes[limits.GUESSES_PER_ACCOUNT :]} == {TooMany}
    assert outcomes[-1].retry_after_seconds == limits.GUESS_SECONDS
    owner = refusal(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
    assert isinstance(owner, TooMany), "while it lasts the right password is not looked at either"
    for _ in range(2):
        clock.advance(limits.GUESS_SECONDS)
        assert "cookie" in act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
        hashes.clear()
        for number in range(limits.GUESSES_PER_ACCOUNT + 2):
            refusal(house, STRANGER, "sign_in_password", who="ana", password=f"guess number {number}")
        assert len(hashes) == limits.GUESSES_PER_ACCOUNT


@pytest.mark.parametrize(
    "addresses",
    [["203.0.113.9"], [f"2001:db8:7:7::{n:x}" for n in range(1, 60)], ["::ffff:203.0.113.9", "203.0.113.9"]],
)
def test_one_address_that_guesses_at_everybody_evaluates_a_hundred(
    house: House, hashes: list[str], addresses: list[str]
) -> None:
    """An IPv6 network of 64 bits is one address: who has one has them all."""
    for number in range(limits.GUESSES_PER_ADDRESS + 30):
        stranger = msgspec.structs.replace(STRANGER, address=addresses[number % len(addresses)])
        refusal(house, stranger, "sign_in_password", who=f"person-{number}", password="a guess at many")
    assert len(hashes) == limits.GUESSES_PER_ADDRESS


def test_guesses_at_once_are_counted_one_by_one(house: House, ana: Actor, hashes: list[str]) -> None:
    with_password(house, ana)
    hashes.clear()
    start = threading.Barrier(40)

    def guess(number: int) -> type[HubError]:
        start.wait()
        return type(refusal(house, STRANGER, "sign_in_password", who="ana", password=f"guess number {number}"))

    with concurrent.futures.ThreadPoolExecutor(40) as crowd:
        outcomes = list(crowd.map(guess, range(40)))
    assert len(hashes) == limits.GUESSES_PER_ACCOUNT
    assert outcomes.count(TooMany) == 30


def test_who_knows_the_password_pays_for_no_guess(house: House, ana: Actor) -> None:
    with_password(house, ana)
    for _ in range(3 * limits.GUESSES_PER_ACCOUNT):
        act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)


def test_codes_have_guesses_of_their_own_and_no_more_than_ten(house: House, ana: Actor, clock: FrozenClock) -> None:
    """Who knows the password and guesses at the code, beginning again and again."""
    app = with_app(house, with_password(house, ana))
    clock.advance(30)
    for number in range(limits.GUESSES_PER_ACCOUNT + 5):
        half = act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
        error = refusal(house, STRANGER, "sign_in_code", second=half["second"], code=f"{number:06}")
        assert isinstance(error, NotSignedIn if number < limits.GUESSES_PER_ACCOUNT else TooMany)
    error = refusal(house, STRANGER, "sign_in_code", second=half["second"], code=code_of(app, house))
    assert isinstance(error, TooMany)


def test_a_guess_that_cannot_be_counted_is_not_looked_at(
    house: House, ana: Actor, hashes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hub.core.errors import Unavailable
    from hub.people import guesses

    with_password(house, ana)
    hashes.clear()

    def full(*_: object) -> None:
        raise Unavailable("the hub's disk is full; nothing was recorded", code="disk_full")

    monkeypatch.setattr(guesses, "_take", full)
    assert refusal(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD).code == "disk_full"
    assert hashes == []


def test_a_person_disabled_a_moment_ago_is_out_everywhere(house: House, ana: Actor, clock: FrozenClock) -> None:
    """Also with the password half done, and between the hash and the unit of work."""
    app = with_app(house, with_password(house, ana))
    clock.advance(30)
    half = act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
    operator = in_browser(house, _operator(house))
    act(house, operator, "account_disable", person="ana")
    error = refusal(house, STRANGER, "sign_in_code", second=half["second"], code=code_of(app, house))
    assert error.code == "sign_in_refused"
    assert refusal(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD).code == "sign_in_refused"
    assert all(row.ended_at is not None for row in rows(house, sign_ins) if row.person == ana.id)


def test_a_password_changed_while_the_old_one_was_hashed_lets_nobody_in(
    house: House, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = with_password(house, ana)
    really = passwords.matches

    def meanwhile(stored: str, password: str) -> bool:
        monkeypatch.setattr(passwords, "matches", really)
        act(house, browser, "account_password", password="another four words")
        return really(stored, password)

    monkeypatch.setattr(passwords, "matches", meanwhile)
    assert refusal(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD).code == "sign_in_refused"


def test_a_password_kept_under_old_parameters_is_kept_anew_at_the_next_sign_in(house: House, ana: Actor) -> None:
    with_password(house, ana)
    old = argon2.PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(PASSWORD)
    house.db.write(lambda tx: tx.execute(sa.update(stored_passwords).values(stored=old)) and None)
    act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
    (row,) = rows(house, stored_passwords)
    assert row.stored != old and not passwords.is_outdated(row.stored)
    act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)


def test_neither_password_nor_code_nor_address_stand_in_the_ledger(
    house: House, ana: Actor, clock: FrozenClock
) -> None:
    app = with_app(house, with_password(house, ana))
    clock.advance(30)
    half = act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
    code = code_of(app, house)
    act(house, STRANGER, "sign_in_code", second=half["second"], code=code)
    bodies = b" ".join(row.bytes for row in rows(house, ledger_bodies))
    for secret in (PASSWORD, code, half["second"], "university", "203.0.113.7", "Firefox"):
        assert secret.encode() not in bodies, secret
    taken = {row.action for row in rows(house, ledger)}
    assert taken == {
        "account_password",
        "account_authenticator_begin",
        "account_authenticator_confirm",
        "sign_in_password",
        "sign_in_code",
    }


def test_a_token_or_a_stale_sign_in_changes_nothing_that_signs_in(house: House, ana: Actor, clock: FrozenClock) -> None:
    browser = with_password(house, ana)
    clock.advance(limits.STEP_UP_SECONDS + 1)
    for actor in (ana, browser, msgspec.structs.replace(browser, signed_in_at=clock.now(), by_service="tok_bot")):
        for action, params in (
            ("account_password", {"password": "another four words"}),
            ("account_authenticator_begin", {}),
            ("account_authenticator_remove", {}),
            ("account_recovery_codes", {}),
            ("account_passkey_remove", {"passkey": "pky_1"}),
        ):
            error = refusal(house, actor, action, **params)
            assert isinstance(error, NotAllowed), action
    act(house, ana, "account_password", password="another four words", code=step_up_code(house, ana))


def test_a_new_password_ends_every_other_sign_in_and_kills_the_old_cookie(house: House, ana: Actor) -> None:
    elsewhere = in_browser(house, ana)
    browser = in_browser(house, ana)
    cookie = act(house, browser, "account_password", password=PASSWORD)["cookie"]
    assert in_browser(house, ana, cookie).sign_in_id == browser.sign_in_id
    lasting = [row.id for row in rows(house, sign_ins) if row.ended_at is None]
    assert lasting == [browser.sign_in_id] and elsewhere.sign_in_id not in lasting


def test_unconfirmed_the_app_counts_for_nothing(house: House, ana: Actor) -> None:
    browser = with_password(house, ana)
    act(house, browser, "account_authenticator_begin")
    assert "cookie" in act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
    wrong = refusal(house, browser, "account_authenticator_confirm", totp="000000")
    assert wrong.code == "code_not_valid"
    with pytest.raises(NotFound):
        act(house, in_browser(house, _operator(house)), "account_authenticator_confirm", totp="000000")


def test_without_the_app_a_password_is_enough_again(house: House, ana: Actor) -> None:
    browser = with_password(house, ana)
    with_app(house, browser)
    act(house, in_browser(house, ana), "account_authenticator_remove")
    assert rows(house, recovery_codes) == []
    assert "cookie" in act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)
