"""Changing a session, handing it over and leaving it: what each needs, and what nobody can do by accident."""

from __future__ import annotations

import pytest

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.sessions import views
from tests.actions.test_sharing import join, role_of
from tests.conftest import Perform, make_person


@pytest.fixture
def lab(ana: Actor, perform: Perform) -> str:
    """A session of Ana's."""
    session: str = perform(ana, "session_create", name="lab")["session"]
    return session


def test_what_is_named_is_changed_and_nothing_else(house: House, ana: Actor, lab: str, perform: Perform) -> None:
    with house.scope(ana) as scope:
        before = views.session(scope, lab)
    assert (before.visibility, before.chat_detail) == ("session", "full")
    changed = perform(ana, "session_change", session_id=lab, chat_detail="ids")
    assert (changed["title"], changed["visibility"], changed["chat_detail"]) == ("lab", "session", "ids")
    perform(ana, "session_change", session_id=lab, title="  The lab  ")
    with house.scope(ana) as scope:
        after = views.session(scope, lab)
    assert (after.title, after.chat_detail) == ("The lab", "ids")


def test_a_feature_that_is_switched_leaves_the_others_as_they_are(
    house: House, ana: Actor, lab: str, perform: Perform
) -> None:
    off = perform(ana, "session_change", session_id=lab, features={"private_messages": False, "voice_chat": True})
    assert off["features"] == {
        "live_cursor": True, "voice_chat": True, "screen_sharing": False, "private_messages": False
    }  # fmt: skip
    again = perform(ana, "session_change", session_id=lab, features={"voice_chat": False})
    assert (again["features"]["private_messages"], again["features"]["voice_chat"]) == (False, False)
    with house.scope(ana) as scope:
        assert views.session(scope, lab).not_served_yet == []
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "session_change", session_id=lab, features={"holograms": True})
    assert caught.value.path == "$.params.features"


def test_a_change_of_nothing_or_to_nonsense_is_refused(ana: Actor, lab: str, perform: Perform) -> None:
    for params in (
        {},
        {"title": " "},
        {"chat_detail": "all"},
        {"visibility": "private"},
        {"title": "a\nb"},
        {"features": {}},
    ):
        with pytest.raises(InvalidInput):
            perform(ana, "session_change", session_id=lab, **params)


@pytest.mark.parametrize("turned", ["a\u202egnp.exe", "\u2066x\u2069", "x\u200fy", "\u061cz", "\u202dl"])
def test_names_that_turn_the_direction_of_the_text_are_refused_everywhere(
    ana: Actor, lab: str, perform: Perform, turned: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "session_change", session_id=lab, title=turned)
    assert caught.value.code == "bad_title"
    with pytest.raises(InvalidInput):
        perform(ana, "session_create", name="other", title=turned)
    with pytest.raises(InvalidInput):
        perform(ana, "link_create", session_id=lab, label=turned)
    with pytest.raises(InvalidInput):
        perform(ana, "session_share", session_id=lab, participants=[{"email": f"{turned}@x.org"}])
    with pytest.raises(InvalidInput):
        perform(ana, "session_create", name=turned)


def test_an_open_session_shows_all_it_holds_to_members_and_nothing_to_guests_until_it_is_closed(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    entry = perform(ana, "lab_notebook", session_id=lab, entry={"title": "T", "content": "x"})["entry"]
    perform(ana, "session_change", session_id=lab, visibility="hub")
    with house.scope(ben) as scope:
        assert scope.access.find("entry", entry, "entry:read") == entry
        assert not scope.access.may(lab, "entry:write")
        with pytest.raises(NotAllowed):
            scope.access.find("entry", entry, "entry:write")
    perform(ana, "session_change", session_id=lab, visibility="session")
    with house.scope(ben) as scope, pytest.raises(NotFound):
        scope.access.find("entry", entry, "entry:read")
    with pytest.raises(NotAllowed):
        perform(ana, "session_change", session_id="personal", visibility="hub")


def test_only_who_may_change_a_session_changes_it(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    join(house, perform, ana, lab, ben, "read_write")
    with pytest.raises(NotAllowed):
        perform(ben, "session_change", session_id=lab, title="Mine")
    with pytest.raises(NotFound):
        perform(make_person(house, "eve"), "session_change", session_id=lab, title="Mine")


def test_a_session_changes_hands_to_an_admin_and_is_called_after_them(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    join(house, perform, ana, lab, ben, "read_write")
    with pytest.raises(NotAllowed) as caught:
        perform(ana, "session_hand_over", session_id=lab, to="ben")
    assert caught.value.code == "heir_not_admin"
    perform(ana, "grant_change", session_id=lab, participant="ben", role="admin")
    with pytest.raises(NotAllowed):
        perform(ben, "session_hand_over", session_id=lab, to="ben")
    handed = perform(ana, "session_hand_over", session_id=lab, to="ben")
    assert (handed["name"], handed["owner"], handed["before"]) == ("ben/lab", ben.id, ana.id)
    assert (role_of(house, ben, lab), role_of(house, ana, lab)) == ("owner", "admin")
    with pytest.raises(NotAllowed):
        perform(ana, "session_hand_over", session_id=lab, to="ana")


def test_a_session_is_not_handed_to_strangers_nor_onto_a_name_that_is_taken(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    for nobody in ("nobody", "ben", "per_" + "0" * 26):
        with pytest.raises(NotFound):
            perform(ana, "session_hand_over", session_id=lab, to=nobody)
    join(house, perform, ana, lab, ben, "admin")
    perform(ben, "session_create", name="lab")
    with pytest.raises(Conflict) as caught:
        perform(ana, "session_hand_over", session_id=lab, to="ben")
    assert caught.value.code == "name_taken"
    assert perform(ana, "session_hand_over", session_id=lab, to="ben", name="lab-of-ana")["name"] == "ben/lab-of-ana"
    with pytest.raises(NotAllowed):
        perform(ana, "session_hand_over", session_id="ana/personal", to="ben")


def test_who_leaves_is_out_with_the_links_they_made_and_the_owner_stays(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    join(house, perform, ana, lab, ben, "admin")
    link = perform(ben, "link_create", session_id=lab)
    left = perform(ben, "session_leave", session_id=lab)
    assert left["links_ended"] == [link["link"]] and role_of(house, ben, lab) is None
    with pytest.raises(NotFound):
        perform(ben, "link_open", secret=link["secret"])
    with pytest.raises(NotFound):
        perform(ben, "session_leave", session_id=lab)
    with pytest.raises(NotAllowed) as caught:
        perform(ana, "session_leave", session_id=lab)
    assert caught.value.code == "owner_stays"


def test_nobody_changes_their_own_role_nor_takes_it_by_another_action(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    join(house, perform, ana, lab, ben, "admin")
    house.db.write(lambda tx: tx.conn.exec_driver_sql("update emails set verified_at = 1") and None)
    own = [{"email": "ben@university.edu", "role": "read"}]
    for action, params in (
        ("grant_change", {"participant": "ben", "role": "read"}),
        ("grant_revoke", {"participant": ben.id}),
        ("session_share", {"participants": own}),
    ):
        with pytest.raises(NotAllowed) as caught:
            perform(ben, action, session_id=lab, **params)
        assert caught.value.code == "own_role", action
    with pytest.raises(NotAllowed) as caught:
        perform(ben, "session_share", session_id=lab, participants=[{"email": "ana@university.edu"}])
    assert caught.value.code == "owner_stays"
    assert role_of(house, ben, lab) == "admin"


def test_a_removed_admin_keeps_no_way_back(house: House, ana: Actor, ben: Actor, lab: str, perform: Perform) -> None:
    join(house, perform, ana, lab, ben, "admin")
    link = perform(ben, "link_create", session_id=lab)
    invited = perform(ben, "session_share", session_id=lab, participants=[{"email": "x@y.z", "role": "admin"}])
    gone = perform(ana, "grant_revoke", session_id=lab, participant="ben")
    assert gone["links_ended"] == [link["link"]]
    for action, secret in (
        ("link_open", link["secret"]),
        ("invitation_accept", invited["invitations"][0]["secret"]),
    ):
        with pytest.raises(NotFound):
            perform(ben, action, secret=secret)
    assert role_of(house, ben, lab) is None


def test_a_person_who_came_by_a_link_that_is_still_open_is_said_to_be_able_to_come_back(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    link = perform(ana, "link_create", session_id=lab)
    perform(ben, "link_open", secret=link["secret"])
    gone = perform(ana, "grant_revoke", session_id=lab, participant="ben")
    assert gone["still_open"] == [link["link"]] and role_of(house, ben, lab) is None


def test_a_role_that_was_given_for_a_while_still_ends_after_it_was_changed(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform, clock: FrozenClock
) -> None:
    link = perform(ana, "link_create", session_id=lab, expires="2024-06-02T12:00:00Z")
    perform(ben, "link_open", secret=link["secret"])
    perform(ana, "grant_change", session_id=lab, participant="ben", role="read_write")
    assert role_of(house, ben, lab) == "read_write"
    clock.advance(86401)
    assert role_of(house, ben, lab) is None
