"""What operators do to accounts, who can do it, and the last one, who stays."""

from __future__ import annotations

import concurrent.futures
import threading

import msgspec
import pytest

from hub import app
from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, NotAllowed, NotFound
from hub.core.house import House
from hub.core.settings import Settings
from hub.people import accounts, factors
from hub.people.tables import persons, sign_ins
from tests.actions.people_fixtures import (
    PASSWORD,
    STRANGER,
    act,
    in_browser,
    rows,
    step_up_code,
    with_app,
    with_password,
)
from tests.conftest import NOW, make_person
from tests.databases import OpenDatabase

pytestmark = pytest.mark.usefixtures("quick_hashes")


def role_of(house: House, person: Actor) -> str:
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, person.id)
    return "disabled" if actor is None else actor.hub_role


def test_a_role_is_changed_at_once_and_ends_the_persons_sign_ins(house: House, operator: Actor, ana: Actor) -> None:
    in_browser(house, ana)
    act(house, in_browser(house, operator), "account_role", person="ana", hub_role="operator")
    assert role_of(house, ana) == "operator"
    assert all(row.ended_at is not None for row in rows(house, sign_ins) if row.person == ana.id)


def test_only_an_operator_who_proves_it_changes_accounts(house: House, operator: Actor, ana: Actor, ben: Actor) -> None:
    for action, more in (
        ("account_role", {"hub_role": "guest"}),
        ("account_disable", {}),
        ("account_reset", {}),
        ("account_enable", {}),
    ):
        with pytest.raises(NotAllowed):
            act(house, in_browser(house, ana), action, person="ben", **more)
        if action != "account_enable":
            with pytest.raises(NotAllowed) as refused:
                act(house, operator, action, person="ben", **more)
            assert refused.value.code == "step_up_required"
    assert role_of(house, ben) == "member"
    act(house, operator, "account_disable", person="ben", code=step_up_code(house, operator))
    assert role_of(house, ben) == "disabled"


def test_who_is_disabled_comes_back_as_they_were_when_enabled(house: House, operator: Actor, ana: Actor) -> None:
    browser = in_browser(house, operator)
    with_password(house, ana)
    token = act(house, ana, "token_create", name="script")["secret"]
    act(house, browser, "account_disable", person="@ana")
    with house.db.read() as conn:
        assert accounts.actor_by_token(conn, token, NOW) is None
    act(house, browser, "account_enable", person=ana.id)
    with house.db.read() as conn:
        assert accounts.actor_by_token(conn, token, NOW) is not None
    assert "cookie" in act(house, STRANGER, "sign_in_password", who="ana", password=PASSWORD)


def test_the_last_operator_stays(house: House, operator: Actor, ana: Actor) -> None:
    browser = in_browser(house, operator)
    for action, more in (("account_disable", {}), ("account_role", {"hub_role": "member"})):
        with pytest.raises(Conflict) as refused:
            act(house, browser, action, person="olga", **more)
        assert refused.value.code == "last_operator"
    act(house, browser, "account_role", person="ana", hub_role="operator")
    stepped_down = act(house, browser, "account_role", person="olga", hub_role="member")
    assert role_of(house, operator) == "member"
    assert in_browser(house, operator, stepped_down["cookie"]).hub_role == "member"
    disabled = in_browser(house, ana)
    with pytest.raises(Conflict):
        act(house, disabled, "account_disable", person="ana")


def test_two_operators_who_remove_each_other_at_once_leave_one(tmp_path, databases: OpenDatabase) -> None:  # type: ignore[no-untyped-def]
    """On PostgreSQL the two run side by side."""
    settings = Settings(data=tmp_path / "data", public_url="http://hub.test")
    settings.data.mkdir()
    houses = [app.build(settings, clock=FrozenClock(NOW), bus=MemoryBus(), db=databases()) for _ in range(2)]
    one, two = (make_person(houses[0], handle, hub_role="operator") for handle in ("one", "two"))
    browsers = [in_browser(houses[0], one), in_browser(houses[0], two)]
    start = threading.Barrier(2)

    def remove(who: int) -> bool:
        start.wait()
        try:
            act(houses[who], browsers[who], "account_disable", person=("two", "one")[who])
        except HubError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(2) as pair:
        assert sorted(pair.map(remove, range(2))) == [False, True]
    left = [row for row in rows(houses[0], persons) if row.disabled_at is None]
    assert len(left) == 1


def test_what_somebody_lost_is_taken_away(house: House, operator: Actor, ana: Actor) -> None:
    with_app(house, with_password(house, ana))
    act(house, in_browser(house, operator), "account_reset", person="ana")
    with house.db.read() as conn:
        have = factors.of(conn, ana.id)
    assert not have.password and not have.has_second and have.recovery_codes == 0
    link = act(house, operator, "signin_link", person="ana")
    assert "cookie" in act(house, STRANGER, "sign_in", secret=link["secret"])


def test_there_is_no_such_person_says_so(house: House, operator: Actor) -> None:
    for who in ("nobody", "per_01jd9x00000000000000000000", "ses_01jd9x00000000000000000000"):
        with pytest.raises(NotFound):
            act(house, in_browser(house, operator), "account_enable", person=who)


@pytest.mark.parametrize(
    ("policy", "roles"), [("nobody", ""), ("operator", "operator"), ("everybody", "operator member")]
)
def test_the_policy_names_whose_role_needs_a_second_factor(
    house: House, operator: Actor, ana: Actor, policy: str, roles: str
) -> None:
    settings = msgspec.structs.replace(house.settings, second_factor_for=policy)
    for person in (operator, ana):
        with house.db.read() as conn:
            assert factors.must_enrol(conn, settings, person.id, person.hub_role) == (person.hub_role in roles.split())
    with_app(house, with_password(house, operator))
    with house.db.read() as conn:
        assert not factors.must_enrol(conn, settings, operator.id, "operator")
