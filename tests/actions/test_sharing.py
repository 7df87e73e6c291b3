"""Sessions, roles, invitations and links, through the door; every refusal beside its success."""

from __future__ import annotations

import pytest

from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.people import accounts
from hub.people.tables import emails
from hub.sessions import links, views
from tests.conftest import Perform, make_person


@pytest.fixture
def lab(ana: Actor, perform: Perform) -> str:
    """A session of Ana's."""
    session: str = perform(ana, "session_create", name="lab")["session"]
    return session


def join(house: House, perform: Perform, owner: Actor, session: str, guest: Actor, role: str) -> None:
    """Let somebody in by an invitation, as it happens."""
    shared = perform(owner, "session_share", session_id=session, participants=[{"email": "x@y.z", "role": role}])
    perform(guest, "invitation_accept", secret=shared["invitations"][0]["secret"])


def role_of(house: House, actor: Actor, session: str) -> str | None:
    with house.scope(actor) as scope:
        return scope.access.role(session)


def test_sharing_a_new_name_makes_the_session_and_invites(house: House, ana: Actor, perform: Perform) -> None:
    shared = perform(
        ana,
        "session_share",
        session_id="physics_lab_2024",
        participants=[
            {"email": "student@university.edu", "role": "read_write"},
            {"email": "professor@university.edu", "role": "admin"},
        ],
        expires="2024-12-31T23:59:59Z",
    )
    assert shared["made"] and shared["name"] == "ana/physics_lab_2024"
    assert [i["role"] for i in shared["invitations"]] == ["read_write", "admin"]
    again = perform(ana, "session_share", session_id="physics_lab_2024")
    assert (again["made"], again["session"]) == (False, shared["session"])


def test_an_expiry_that_has_passed_is_refused_with_the_reason(ana: Actor, perform: Perform, clock: FrozenClock) -> None:
    clock.advance(3e8)
    with pytest.raises(InvalidInput, match="has passed") as caught:
        perform(ana, "session_share", session_id="lab", expires="2024-12-31T23:59:59Z")
    assert caught.value.code == "expires_in_past"
    with pytest.raises(NotFound):
        perform(ana, "link_create", session_id="lab")


def test_a_verified_address_is_granted_at_once_and_a_typed_one_is_only_invited(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    share = {"session_id": lab, "participants": [{"email": "Ben@University.edu", "role": "read_write"}]}
    assert perform(ana, "session_share", **share)["granted"] == []
    now = house.clock.now()
    house.db.write(lambda tx: tx.execute(emails.update().values(verified_at=now)) and None)
    assert perform(ana, "session_share", **share)["granted"] == [ben.id]
    assert role_of(house, ben, lab) == "read_write"


def test_an_invitation_works_once_and_for_whoever_holds_it(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    shared = perform(ana, "session_share", session_id=lab, participants=[{"email": "x@y.z"}])
    secret = shared["invitations"][0]["secret"]
    perform(ben, "invitation_accept", secret=secret)
    assert role_of(house, ben, lab) == "read"
    with pytest.raises(NotFound):
        perform(make_person(house, "eve"), "invitation_accept", secret=secret)


def test_a_withdrawn_invitation_lets_nobody_in(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    shared = perform(ana, "session_share", session_id=lab, participants=[{"email": "x@y.z"}])
    invitation = shared["invitations"][0]
    perform(ana, "grant_revoke", session_id=lab, participant=invitation["invitation"])
    with pytest.raises(NotFound):
        perform(ben, "invitation_accept", secret=invitation["secret"])


def test_roles_change_and_end_at_once(house: House, ana: Actor, ben: Actor, lab: str, perform: Perform) -> None:
    join(house, perform, ana, lab, ben, "read")
    perform(ana, "grant_change", session_id=lab, participant="ben", role="read_write")
    assert role_of(house, ben, lab) == "read_write"
    perform(ana, "grant_revoke", session_id=lab, participant="ben")
    assert role_of(house, ben, lab) is None
    with house.scope(ben) as scope, pytest.raises(NotFound):
        views.session(scope, lab)


def test_a_reader_may_not_share_and_a_stranger_does_not_learn_that_the_session_exists(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    with pytest.raises(NotFound) as unknown:
        perform(ben, "link_create", session_id=lab)
    with pytest.raises(NotFound) as absent:
        perform(ben, "link_create", session_id="ses_" + "0" * 26)
    assert unknown.value.code == absent.value.code
    join(house, perform, ana, lab, ben, "read")
    with pytest.raises(NotAllowed):
        perform(ben, "link_create", session_id=lab)


def test_nobody_gives_a_role_above_their_own_nor_touches_the_owner(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    join(house, perform, ana, lab, ben, "admin")
    with pytest.raises(NotAllowed) as caught:
        perform(ben, "grant_revoke", session_id=lab, participant="ana")
    assert caught.value.code == "owner_stays"


def test_a_name_two_sessions_bear_is_answered_with_both(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    eve = make_person(house, "eve")
    for owner in (ana, ben):
        session = perform(owner, "session_create", name="same")["session"]
        join(house, perform, owner, session, eve, "admin")
    with pytest.raises(Conflict) as caught:
        perform(eve, "link_create", session_id="same")
    assert caught.value.errors == ("ana/same", "ben/same")
    assert perform(eve, "link_create", session_id="ben/same")["role"] == "read"


def test_a_link_lets_a_guest_look_until_it_is_revoked(house: House, ana: Actor, lab: str, perform: Perform) -> None:
    link = perform(ana, "link_create", session_id=lab, expires="2024-06-08T12:00:00Z")
    opened = perform(ANYONE, "link_open", secret=link["secret"])
    assert opened["path"] == "/s/ana/lab" and opened["cookie"]

    def guest() -> Actor | None:
        with house.db.read() as conn:
            row = accounts.live_sign_in(conn, opened["cookie"], house.clock.now())
            assert row is not None
            return links.guest(conn, row.link, row.id, house.clock.now())

    actor = guest()
    assert actor is not None and role_of(house, actor, lab) == "read"
    perform(ana, "link_revoke", link=link["link"])
    assert guest() is None
    assert role_of(house, actor, lab) is None
    with pytest.raises(NotFound):
        perform(ANYONE, "link_open", secret=link["secret"])


def test_a_link_with_two_uses_opens_twice(ana: Actor, lab: str, perform: Perform) -> None:
    link = perform(ana, "link_create", session_id=lab, uses=2)
    for _ in range(2):
        perform(ANYONE, "link_open", secret=link["secret"])
    with pytest.raises(NotFound):
        perform(ANYONE, "link_open", secret=link["secret"])


def test_a_link_ends_at_its_hour(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform, clock: FrozenClock
) -> None:
    link = perform(ana, "link_create", session_id=lab, role="read_write", expires="2024-06-01T13:00:00Z")
    perform(ben, "link_open", secret=link["secret"])
    assert role_of(house, ben, lab) == "read_write"
    clock.advance(3601)
    assert role_of(house, ben, lab) is None
    with pytest.raises(NotFound):
        perform(ANYONE, "link_open", secret=link["secret"])


def test_a_sign_in_link_works_once(house: House, operator: Actor, ana: Actor, perform: Perform) -> None:
    link = perform(operator, "signin_link", person="ana")
    signed_in = perform(ANYONE, "sign_in", secret=link["secret"])
    assert signed_in["person"] == ana.id
    with pytest.raises(NotFound):
        perform(ANYONE, "sign_in", secret=link["secret"])
    with pytest.raises(NotAllowed):
        perform(ana, "signin_link", person="olga")


def test_a_revoked_token_speaks_for_nobody(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    token = perform(ana, "token_create", name="laptop", scopes=["job:read"])

    def bearer() -> Actor | None:
        with house.db.read() as conn:
            return accounts.actor_by_token(conn, token["secret"], house.clock.now())

    actor = bearer()
    assert actor is not None and actor.scopes == frozenset({"job:read"})
    with pytest.raises(NotFound):
        perform(ben, "token_revoke", token=token["token"])
    perform(ana, "token_revoke", token=token["token"])
    assert bearer() is None


@pytest.mark.parametrize("name", ["", "a/b", "-x", "x" * 65, "a b", "../x", "é", "<b>"])
def test_a_session_with_a_name_nobody_could_say_is_refused(ana: Actor, perform: Perform, name: str) -> None:
    with pytest.raises(InvalidInput):
        perform(ana, "session_create", name=name)
