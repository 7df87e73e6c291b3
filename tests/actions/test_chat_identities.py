"""Chat accounts and whom they act as: linked by who is signed in, joined by a full member, ended by either."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.people import accounts, chat_identities
from hub.people.tables import emails, persons
from tests.conftest import Perform

BOT = Actor(id="tok_bot", name="bot", kind="service", hub_role="service")
U1: dict[str, Any] = {"platform": "slack", "workspace": "T1", "user": "U1"}
U2 = {**U1, "user": "U2"}


@pytest.fixture
def open_house(house: House) -> House:
    """A hub whose chat workspace may join."""
    house.settings = msgspec.structs.replace(house.settings, join="workspace")
    return house


def speaks_as(house: House, identity: dict[str, Any]) -> str | None:
    with house.db.read() as conn:
        actor = accounts.actor_by_chat(conn, ":".join(identity.values()))
    return None if actor is None else actor.id


def begin(perform: Perform, identity: dict[str, Any] = U1, name: str = "Ana") -> str:
    return str(perform(BOT, "chat_link_begin", **identity, name=name)["secret"])


def test_a_link_confirmed_by_who_is_signed_in_makes_the_chat_account_theirs(
    house: House, ana: Actor, perform: Perform
) -> None:
    secret = begin(perform)
    assert speaks_as(house, U1) is None
    perform(ana, "chat_link", secret=secret)
    assert speaks_as(house, U1) == ana.id
    with house.scope(ana) as scope:
        assert [each.user for each in chat_identities.mine(scope)] == ["U1"]
    with pytest.raises(NotFound):
        perform(ana, "chat_link", secret=secret)


def test_the_link_says_whether_an_account_can_be_made_instead(house: House, perform: Perform) -> None:
    assert perform(BOT, "chat_link_begin", **U1, name="x")["join"] is False
    house.settings = msgspec.structs.replace(house.settings, join="workspace")
    assert perform(BOT, "chat_link_begin", **U1, name="x")["join"] is True


def test_a_link_older_than_ten_minutes_links_nothing(ana: Actor, perform: Perform, clock: FrozenClock) -> None:
    secret = begin(perform)
    clock.advance(601)
    with pytest.raises(NotFound):
        perform(ana, "chat_link", secret=secret)


def test_only_the_service_asks_for_a_link_and_only_a_person_confirms_it(ana: Actor, perform: Perform) -> None:
    with pytest.raises(NotAllowed):
        perform(ana, "chat_link_begin", **U1, name="x")
    secret = begin(perform)
    for nobody in (BOT, ANYONE):
        with pytest.raises(NotAllowed):
            perform(nobody, "chat_link", secret=secret)


def test_a_link_that_was_refused_is_of_no_use_to_anybody(ana: Actor, ben: Actor, perform: Perform) -> None:
    secret = begin(perform)
    perform(ben, "chat_link_refuse", secret=secret)
    with pytest.raises(NotFound):
        perform(ana, "chat_link", secret=secret)


def test_a_chat_account_linked_to_somebody_else_is_refused_until_it_is_unlinked(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    first, second = begin(perform), begin(perform)
    perform(ana, "chat_link", secret=first)
    with pytest.raises(Conflict) as caught:
        perform(ben, "chat_link", secret=second)
    assert caught.value.code == "chat_linked_elsewhere"
    with pytest.raises(Conflict):
        begin(perform)
    perform(ana, "chat_unlink", **U1)
    perform(ben, "chat_link", secret=second)  # what was refused had spent nothing
    assert speaks_as(house, U1) == ben.id


def test_was_not_me_ends_it_at_once(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "chat_link", secret=begin(perform))
    assert perform(BOT, "chat_unlink", **U1)["person"] == ana.id
    assert speaks_as(house, U1) is None
    with pytest.raises(NotFound):
        perform(BOT, "chat_unlink", **U1)


def test_nobody_unlinks_what_is_anothers(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    perform(ana, "chat_link", secret=begin(perform))
    with pytest.raises(NotFound):
        perform(ben, "chat_unlink", **U1)
    assert speaks_as(house, U1) == ana.id


def test_a_full_member_of_the_workspace_joins_in_one_click(open_house: House, perform: Perform) -> None:
    said = {**U1, "name": "Lee Ångström", "email": "lee@university.edu", "standing": "full"}
    joined = perform(BOT, "chat_join", **said)
    assert joined["made"] and joined["handle"] == "lee-angstrom"
    assert speaks_as(open_house, U1) == joined["person"]
    assert perform(BOT, "chat_join", **said) == {**joined, "made": False}


def test_an_address_the_platform_told_is_not_verified(open_house: House, perform: Perform) -> None:
    perform(BOT, "chat_join", **U1, name="Lee", email="lee@university.edu", standing="full")
    with open_house.db.read() as conn:
        assert conn.execute(sa.select(emails.c.verified_at)).scalars().all() == [None]
        assert accounts.by_verified_email(conn, "lee@university.edu") is None


def test_two_people_claiming_one_display_name_get_two_accounts(open_house: House, perform: Perform) -> None:
    first = perform(BOT, "chat_join", **U1, name="Lee", email="lee@university.edu", standing="full")
    second = perform(BOT, "chat_join", **U2, name="Lee", email="lee@university.edu", standing="full")
    assert first["person"] != second["person"]
    assert [first["handle"], second["handle"]] == ["lee", "lee-2"]


def test_a_name_of_a_colleague_does_not_make_one_the_colleague(open_house: House, ana: Actor, perform: Perform) -> None:
    joined = perform(BOT, "chat_join", **U1, name="Ana", email="ana@university.edu", standing="full")
    assert joined["person"] != ana.id and joined["handle"] == "ana-2"


@pytest.mark.parametrize("standing", ["stranger", "guest"])
def test_a_stranger_of_a_shared_channel_and_a_guest_are_refused_in_words(
    open_house: House, perform: Perform, standing: str
) -> None:
    with pytest.raises(NotAllowed) as caught:
        perform(BOT, "chat_join", **U1, name="Mallory", standing=standing)
    assert caught.value.code == f"chat_{standing}" and "invitation" in caught.value.hint
    assert speaks_as(open_house, U1) is None


def test_where_people_come_by_invitation_nobody_joins_from_chat(house: House, perform: Perform) -> None:
    with pytest.raises(NotAllowed, match="by invitation"):
        perform(BOT, "chat_join", **U1, name="Lee", standing="full")


def test_who_was_removed_a_moment_ago_does_not_come_back_by_chat(open_house: House, perform: Perform) -> None:
    joined = perform(BOT, "chat_join", **U1, name="Lee", standing="full")
    now = open_house.clock.now()
    open_house.db.write(
        lambda tx: (
            tx.execute(sa.update(persons).where(persons.c.id == joined["person"]).values(disabled_at=now)) and None
        )
    )
    assert speaks_as(open_house, U1) is None
    with pytest.raises(NotAllowed, match="disabled"):
        perform(BOT, "chat_join", **U1, name="Lee", standing="full")


@pytest.mark.parametrize("name", ["\u202elee\u202c", "Lee\r\nBcc: x@y.z", "\u200b", "", "x" * 999, "李"])
def test_a_name_full_of_tricks_is_made_one_plain_line(open_house: House, perform: Perform, name: str) -> None:
    joined = perform(BOT, "chat_join", **U1, name=name, standing="full")
    with open_house.db.read() as conn:
        stored = conn.execute(sa.select(persons.c.name).where(persons.c.id == joined["person"])).scalar_one()
    assert stored and stored.isprintable() and len(stored) <= 200


@pytest.mark.parametrize(
    "identity", [{"platform": "Slack"}, {"workspace": "T1:U1"}, {"user": ""}, {"user": "U 1"}, {"workspace": "é"}]
)
def test_an_identity_that_is_none_is_refused(perform: Perform, identity: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        perform(BOT, "chat_link_begin", **{**U1, **identity}, name="x")


def test_no_line_of_the_ledger_names_anybody(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "chat_link", secret=begin(perform, name="Ana Somebody"))
    with house.db.read() as conn:
        bodies = conn.exec_driver_sql("select bytes from ledger_bodies").scalars().all()
    assert bodies and not any(b"Somebody" in bytes(body) for body in bodies)


def test_two_of_one_name_made_at_the_same_moment_take_two_handles(
    open_house: House, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform(BOT, "chat_join", **U1, name="Lee", standing="full")
    seen = iter(["lee", "lee-2"])  # the first look was before the other's commit
    monkeypatch.setattr(accounts, "_free_handle", lambda tx, name: next(seen))
    assert perform(BOT, "chat_join", **U2, name="Lee", standing="full")["handle"] == "lee-2"
