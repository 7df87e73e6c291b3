"""Passkeys: made, used, counted, removed; and every answer that is not one of ours."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import HubError, NotAllowed, NotSignedIn, TooMany, Unavailable
from hub.core.house import House
from hub.core.settings import Settings
from hub.ledger.tables import ledger
from hub.people import challenges, passkeys
from hub.people.tables import passkeys as stored
from hub.people.tables import sign_ins
from tests.actions.people_fixtures import STRANGER, act, in_browser, rows, with_app, with_password
from tests.soft_authenticator import PRESENT, SoftAuthenticator

pytestmark = pytest.mark.slow

Changed = Callable[[dict[str, Any]], None]


@pytest.fixture(autouse=True)
def on_localhost(house: House) -> None:
    house.settings = Settings(data=house.settings.data, public_url="http://localhost:8400")


def add(house: House, browser: Actor, device: SoftAuthenticator, **more: Any) -> Any:
    return act(
        house, browser, "account_passkey_add", passkey=device.make(challenges.options_to_add(house, browser)), **more
    )


def sign_in(house: House, device: SoftAuthenticator) -> Any:
    return act(house, STRANGER, "sign_in_passkey", passkey=device.use(challenges.options_to_use(house, STRANGER)))


def refusal(do: Callable[[], Any]) -> HubError:
    with pytest.raises(HubError) as refused:
        do()
    return refused.value


@pytest.fixture
def device(house: House, ana: Actor) -> SoftAuthenticator:
    """Ana's, registered."""
    made = SoftAuthenticator()
    add(house, in_browser(house, ana), made, name="Telephone")
    return made


def test_a_passkey_signs_its_person_in_without_any_name(house: House, ana: Actor, device: SoftAuthenticator) -> None:
    found = sign_in(house, device)
    browser = in_browser(house, ana, found["cookie"])
    assert browser.id == ana.id
    assert next(row.how for row in rows(house, sign_ins) if row.id == browser.sign_in_id) == "passkey"
    (row,) = rows(house, stored)
    assert (row.name, row.sign_count, row.warned_at) == ("Telephone", 1, None)


def test_a_passkey_needs_no_second_page(house: House, ana: Actor, device: SoftAuthenticator) -> None:
    with_app(house, with_password(house, ana))
    assert "cookie" in sign_in(house, device)


def test_a_passkey_proves_anew_and_only_its_own_person(
    house: House, ana: Actor, ben: Actor, device: SoftAuthenticator, clock: FrozenClock
) -> None:
    anas, bens = in_browser(house, ana), in_browser(house, ben)
    clock.advance(limits.STEP_UP_SECONDS + 1)

    def prove(browser: Actor) -> Any:
        return act(house, browser, "step_up", passkey=device.use(challenges.options_to_use(house, browser)))

    assert refusal(lambda: prove(bens)).code == "step_up_refused"
    fresh = in_browser(house, ana, prove(anas)["cookie"])
    assert fresh.signed_in_at == clock.now()
    add(house, fresh, SoftAuthenticator())


def test_adding_one_needs_a_fresh_proof_and_ends_other_sign_ins(house: House, ana: Actor, clock: FrozenClock) -> None:
    browser, elsewhere = in_browser(house, ana), in_browser(house, ana)
    clock.advance(limits.STEP_UP_SECONDS + 1)
    assert refusal(lambda: add(house, browser, SoftAuthenticator())).code == "step_up_required"
    assert refusal(lambda: add(house, ana, SoftAuthenticator())).code == "step_up_required"
    fresh = in_browser(house, ana)
    changed = add(house, fresh, SoftAuthenticator())
    assert in_browser(house, ana, changed["cookie"]).sign_in_id == fresh.sign_in_id
    assert next(row.ended_at for row in rows(house, sign_ins) if row.id == elsewhere.sign_in_id) is not None


def test_an_answer_is_good_once(house: House, device: SoftAuthenticator) -> None:
    answer = device.use(challenges.options_to_use(house, STRANGER))
    act(house, STRANGER, "sign_in_passkey", passkey=answer)
    again = refusal(lambda: act(house, STRANGER, "sign_in_passkey", passkey=answer))
    assert again.code == "secret_not_valid"


def test_a_challenge_lasts_five_minutes(house: House, device: SoftAuthenticator, clock: FrozenClock) -> None:
    options = challenges.options_to_use(house, STRANGER)
    clock.advance(limits.PASSKEY_CHALLENGE_SECONDS)
    late = refusal(lambda: act(house, STRANGER, "sign_in_passkey", passkey=device.use(options)))
    assert late.code == "secret_not_valid"


def test_a_challenge_for_one_thing_is_none_for_another(
    house: House, ana: Actor, ben: Actor, device: SoftAuthenticator
) -> None:
    """One for adding does not sign in, and one made for Ben adds nothing to Ana."""
    anas, bens = in_browser(house, ana), in_browser(house, ben)
    to_add = challenges.options_to_add(house, bens)
    assert (
        refusal(lambda: act(house, STRANGER, "sign_in_passkey", passkey=device.use(to_add))).code == "secret_not_valid"
    )
    other = SoftAuthenticator()
    assert (
        refusal(lambda: act(house, anas, "account_passkey_add", passkey=other.make(to_add))).code == "secret_not_valid"
    )
    act(house, bens, "account_passkey_add", passkey=other.make(to_add))


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another site's origin", lambda d: setattr(d, "origin", "http://evil.example")),
        ("another port", lambda d: setattr(d, "origin", "http://localhost:9999")),
        ("another host's passkey", lambda d: setattr(d, "host", "evil.example")),
        ("a device that did not check its user", lambda d: setattr(d, "flags", PRESENT)),
        ("nobody there", lambda d: setattr(d, "flags", 0)),
        ("another key", lambda d: setattr(d, "_key", SoftAuthenticator()._key)),
    ],
)
def test_an_answer_that_is_wrong_in_one_thing_is_refused(
    house: House, device: SoftAuthenticator, what: str, change: Callable[[SoftAuthenticator], None]
) -> None:
    change(device)
    assert refusal(lambda: sign_in(house, device)).code == "passkey_not_valid", what


def test_an_unknown_passkey_is_refused_like_an_unknown_person(house: House, ana: Actor) -> None:
    stranger = SoftAuthenticator()
    error = refusal(lambda: sign_in(house, stranger))
    assert isinstance(error, NotSignedIn) and error.code == "sign_in_refused"


NONSENSE = [
    "",
    "null",
    "[]",
    "{",
    '"text"',
    "{}",
    '{"response": 7}',
    '{"response": {}}',
    '{"response": {"clientDataJSON": 7}}',
    '{"response": {"clientDataJSON": "!!!"}}',
    '{"response": {"clientDataJSON": "AAAA"}}',
    '{"response": {"clientDataJSON": "W10"}}',
    '{"response": {"clientDataJSON": "eyJjaGFsbGVuZ2UiOiA3fQ"}}',
    '{"response": {"clientDataJSON": "é"}}',
    "[" * 5000,
]


def test_nonsense_is_refused_in_words(house: House, ana: Actor) -> None:
    browser = in_browser(house, ana)
    for text in NONSENSE:
        for actor, action in ((STRANGER, "sign_in_passkey"), (browser, "account_passkey_add")):
            error = refusal(lambda: act(house, actor, action, passkey=text))  # noqa: B023 - called at once
            assert error.status == 400, (text[:60], error)


def test_an_answer_with_one_field_spoiled_is_refused_in_words(house: House, device: SoftAuthenticator) -> None:
    for field, value in itertools.product(
        ("id", "rawId", "type", "response"), (None, 7, "", "AAAA", "é", [], {}, {"clientDataJSON": None})
    ):
        spoiled = json.loads(device.use(challenges.options_to_use(house, STRANGER)))
        spoiled[field] = value
        error = refusal(lambda: act(house, STRANGER, "sign_in_passkey", passkey=json.dumps(spoiled)))  # noqa: B023
        assert error.status in (400, 401), (field, value, error)


def test_an_answer_with_bytes_missing_is_refused_in_words(house: House, ana: Actor, device: SoftAuthenticator) -> None:
    browser = in_browser(house, ana)
    for part, cut in itertools.product(
        ("attestationObject", "authenticatorData", "signature", "clientDataJSON"), (0, 1, 7, 36, 48)
    ):
        if part == "attestationObject":
            text, actor, action = (
                SoftAuthenticator().make(challenges.options_to_add(house, browser)),
                browser,
                "account_passkey_add",
            )
        else:
            text, actor, action = device.use(challenges.options_to_use(house, STRANGER)), STRANGER, "sign_in_passkey"
        spoiled = json.loads(text)
        spoiled["response"][part] = spoiled["response"][part][:cut]
        error = refusal(lambda: act(house, actor, action, passkey=json.dumps(spoiled)))  # noqa: B023
        assert error.status in (400, 401, 404), (part, cut, error)


def test_a_count_that_goes_backwards_is_warned_of_in_the_ledger_and_to_its_owner(
    house: House, ana: Actor, device: SoftAuthenticator
) -> None:
    device.count = 40
    sign_in(house, device)
    device.count = 3
    found = sign_in(house, device)
    actions = [row.action for row in rows(house, ledger)]
    assert actions.count("account_passkey_warning") == 1
    with house.scope(in_browser(house, ana, found["cookie"])) as scope:
        (mine,) = passkeys.mine(scope)
    assert mine.warned is not None


def test_a_device_that_does_not_count_is_not_warned_of(house: House, device: SoftAuthenticator) -> None:
    for _ in range(3):
        device.count = -1
        sign_in(house, device)
    assert rows(house, stored)[0].warned_at is None


def test_a_removed_passkey_opens_nothing(house: House, ana: Actor, ben: Actor, device: SoftAuthenticator) -> None:
    (row,) = rows(house, stored)
    bens = in_browser(house, ben)
    assert refusal(lambda: act(house, bens, "account_passkey_remove", passkey=row.id)).code == "passkey_not_found"
    act(house, in_browser(house, ana), "account_passkey_remove", passkey=row.id)
    assert refusal(lambda: sign_in(house, device)).code == "sign_in_refused"


def test_a_disabled_persons_passkey_opens_nothing(house: House, operator: Actor, device: SoftAuthenticator) -> None:
    act(house, in_browser(house, operator), "account_disable", person="ana")
    assert refusal(lambda: sign_in(house, device)).code == "sign_in_refused"


def test_one_device_is_registered_once_and_a_person_has_at_most_so_many(
    house: House, ana: Actor, device: SoftAuthenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = in_browser(house, ana)
    options = challenges.options_to_add(house, browser)
    assert len(options["excludeCredentials"]) == 1
    same = refusal(lambda: act(house, browser, "account_passkey_add", passkey=device.make(options)))
    assert same.code == "passkey_known"
    monkeypatch.setattr(limits, "PASSKEYS_PER_PERSON", 1)
    assert isinstance(refusal(lambda: add(house, browser, SoftAuthenticator())), TooMany)


def test_strangers_cannot_fill_the_hub_with_challenges(house: House) -> None:
    for _ in range(limits.PASSKEY_CHALLENGES_PER_ADDRESS):
        challenges.options_to_use(house, STRANGER)
    assert isinstance(refusal(lambda: challenges.options_to_use(house, STRANGER)), TooMany)
    challenges.options_to_use(house, msgspec.structs.replace(STRANGER, address="203.0.113.8"))


@pytest.mark.parametrize(
    ("public_url", "host", "origins"),
    [
        ("https://hub.example.org", "hub.example.org", ["https://hub.example.org"]),
        ("http://localhost:8400", "localhost", ["http://localhost:8400"]),
        ("", "localhost", ["http://localhost:8400"]),
    ],
)
def test_passkeys_are_bound_to_the_name_people_use(public_url: str, host: str, origins: list[str]) -> None:
    assert challenges.place(Settings(public_url=public_url)) == challenges.Place(host, origins)


@pytest.mark.parametrize(
    "public_url", ["http://127.0.0.1:8400", "http://hub.lab", "https://192.0.2.7", "http://[::1]:8400"]
)
def test_where_browsers_make_no_passkeys_the_hub_says_so(public_url: str) -> None:
    with pytest.raises(Unavailable) as refused:
        challenges.place(Settings(public_url=public_url))
    assert "localhost" in refused.value.hint


def test_a_guest_by_link_has_no_passkeys(house: House, ana: Actor) -> None:
    guest = msgspec.structs.replace(ana, kind="link", hub_role="guest")
    with pytest.raises(NotAllowed):
        act(house, guest, "account_passkey_remove", passkey="pky_1")
