"""Who can see this, and why somebody may or may not: the same decisions that are enforced, told to who may ask."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.access import frozen
from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import HubError, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.people.tables import persons
from hub.sessions import explaining, reach, views
from tests.actions.test_sharing import join
from tests.conftest import Perform, make_person


@pytest.fixture
def lab(ana: Actor, perform: Perform) -> str:
    """A session of Ana's."""
    session: str = perform(ana, "session_create", name="lab")["session"]
    return session


@pytest.fixture
def entry(ana: Actor, lab: str, perform: Perform) -> str:
    made: str = perform(ana, "lab_notebook", session_id=lab, entry={"title": "T", "content": "x"})["entry"]
    return made


def asked(house: House, asker: Actor, actor: str, action: str, ref: str) -> explaining.ExplanationView:
    with house.scope(asker) as scope:
        return explaining.explain(scope, actor, action, ref)


def who(house: House, asker: Actor, ref: str) -> reach.WhoView:
    with house.scope(asker) as scope:
        return reach.who_sees(scope, ref)


def test_who_lists_everybody_by_every_way_with_the_end_of_it(
    house: House, ana: Actor, ben: Actor, lab: str, entry: str, operator: Actor, perform: Perform
) -> None:
    join(house, perform, ana, lab, ben, "read_write")
    link = perform(
        ana, "link_create", session_id=lab, label="Seminar", passphrase="blue kettle", expires="2024-06-08T12:00:00Z"
    )
    perform(ben, "link_open", secret=link["secret"], passphrase="blue kettle")
    for ref in ("ana/lab", lab, "ana/lab#n1", entry, f"entry:{entry}"):
        seen = who(house, ana, ref)
        assert [(each.person.id, each.role) for each in seen.people] == [(ana.id, "owner"), (ben.id, "read_write")]
        ways = [(way.via, way.by and way.by.id, way.label) for way in seen.people[1].ways]
        assert ways == [("invitation", ana.id, ""), ("link", ana.id, "Seminar")]
        assert seen.people[1].expires is None and seen.people[1].ways[1].expires == "2024-06-08T12:00:00.000Z"
        assert [(each.label, each.uses, each.has_passphrase) for each in seen.links or ()] == [("Seminar", 1, True)]
        assert (seen.members, [each.id for each in seen.operators]) == (0, [operator.id])
    assert (seen.kind, seen.session_name, seen.links_open) == ("entry", "ana/lab", 1)
    of_ben = who(house, ben, entry)
    assert of_ben.links is None and of_ben.links_open == 1


def test_a_guest_by_link_learns_of_the_people_and_nothing_of_the_hub_around_them(
    house: House, ana: Actor, lab: str, operator: Actor, perform: Perform
) -> None:
    link = perform(ana, "link_create", session_id=lab)
    guest = Actor(
        id="guest:x", name="A guest", kind="link", hub_role="guest", link_id=link["link"], link_session=lab,
        link_role="read",
    )  # fmt: skip
    seen = who(house, guest, lab)
    assert [each.person.id for each in seen.people] == [ana.id]
    assert (seen.operators, seen.services, seen.links) == ([], [], None)


def test_who_says_when_a_session_is_open_to_the_hub_and_leaves_out_who_cannot_come_in(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform
) -> None:
    join(house, perform, ana, lab, ben, "read")
    perform(ana, "session_change", session_id=lab, visibility="hub")
    disable = sa.update(persons).where(persons.c.id == ben.id).values(disabled_at=house.clock.now())
    house.db.write(lambda tx: tx.execute(disable) and None)
    seen = who(house, ana, "lab")
    assert (seen.visibility, seen.members) == ("hub", 1)
    assert [each.person.id for each in seen.people] == [ana.id]
    with house.scope(ana) as scope:
        assert [each.disabled for each in views.participants(scope, lab).participants] == [False, True]


def test_who_is_told_nobody_who_may_not_see_it(house: House, ben: Actor, lab: str, entry: str) -> None:
    for ref in ("ana/lab", lab, entry, "ana/lab#n1", "job_" + "0" * 26, "nonsense"):
        with pytest.raises(NotFound):
            who(house, ben, ref)
    with pytest.raises(InvalidInput):
        who(house, ben, "tok_" + "0" * 26)


@pytest.mark.parametrize(
    ("role", "action", "allowed"),
    [
        ("read", "entry:read", True),
        ("read", "lab_notebook", False),
        ("read_write", "lab_notebook", True),
        ("read_write", "grant_change", False),
        ("admin", "grant_change", True),
        ("admin", "session_hand_over", False),
    ],
)
def test_what_is_explained_is_what_is_decided(
    house: House, ana: Actor, ben: Actor, lab: str, perform: Perform, role: str, action: str, allowed: bool
) -> None:
    join(house, perform, ana, lab, ben, role)
    told = asked(house, ana, "ben", action, "ana/lab")
    assert told.allowed is allowed and [way.via for way in told.ways] == ["invitation"]
    assert f"ben {'may' if allowed else 'may not'} {action}: " in told.sentence
    with house.scope(ben) as scope:
        assert all(scope.access.may(lab, each.permission) is each.allowed for each in told.decisions)
    if not allowed:
        assert any("role" in line or "owner" in line for line in told.decisions[0].would_change)


def test_a_stranger_is_hidden_from_and_what_would_change_that_is_said(
    house: House, ana: Actor, ben: Actor, lab: str
) -> None:
    told = asked(house, ana, "ben", "entry:read", "lab").decisions[0]
    assert (told.answer, told.reason) == ("hidden", "no role in its session")
    assert told.would_change == [
        "one of the roles read, read_write, admin",
        "opening the session to the hub (session_change with visibility hub)",
    ]


def test_an_admin_does_not_learn_which_accounts_there_are(house: House, ana: Actor, ben: Actor, lab: str) -> None:
    there, nowhere = (asked(house, ana, handle, "job_submit", "lab") for handle in ("ben", "bee"))
    assert (there.decisions, there.ways) == (nowhere.decisions, nowhere.ways)
    assert there.sentence.replace("ben", "bee") == nowhere.sentence


def test_a_guest_by_link_never_submits_and_that_is_said(
    house: House, ana: Actor, lab: str, perform: Perform, clock: FrozenClock
) -> None:
    link = perform(ana, "link_create", session_id=lab, role="read_write", expires="2024-06-01T13:00:00Z")["link"]
    assert asked(house, ana, link, "entry:write", "lab").allowed
    refused = asked(house, ana, link, "job_submit", "lab").decisions[0]
    assert refused.answer == "refused" and refused.would_change == [
        "signing in with an account: a guest by link never may"
    ]
    clock.advance(3601)
    assert asked(house, ana, link, "entry:read", "lab").decisions[0].reason == "the link ended at 2024-06-01 13:00 UTC"
    perform(ana, "link_revoke", link=link)
    assert asked(house, ana, link, "entry:read", "lab").decisions[0].reason == "the link was revoked"
    assert not asked(house, ana, "anyone", "entry:read", "lab").allowed


def test_a_token_is_explained_by_its_scopes_and_its_end_to_its_owner_and_to_operators_only(
    house: House, ana: Actor, lab: str, operator: Actor, perform: Perform
) -> None:
    token = perform(ana, "token_create", name="laptop", scopes=["job:read"])["token"]
    for asker, ref in ((ana, "lab"), (operator, lab)):
        told = asked(house, asker, token, "entry:read", ref).decisions[0]
        assert told.reason == "the token's scopes do not include entry:read"
        assert told.would_change == ["a token whose scopes include entry:read"]
    perform(ana, "token_revoke", token=token)
    assert asked(house, operator, token, "job:read", lab).decisions[0].reason == "the token was revoked"


def test_what_is_frozen_is_said_and_reading_goes_on(
    house: House, ana: Actor, lab: str, entry: str, perform: Perform
) -> None:
    house.db.write(lambda tx: tx.insert_new(frozen, kind="entry", id=entry, reason="a dispute") and None)
    told = asked(house, ana, "ana", "entry:write", entry)
    assert (told.allowed, told.frozen) == (False, "a dispute")
    assert told.decisions[0].would_change == ["thawing it, which an operator does"]
    assert asked(house, ana, "ana", "entry:read", entry).allowed


def test_a_disabled_account_may_nothing(house: House, ana: Actor, ben: Actor, lab: str, perform: Perform) -> None:
    join(house, perform, ana, lab, ben, "admin")
    disable = sa.update(persons).where(persons.c.id == ben.id).values(disabled_at=house.clock.now())
    house.db.write(lambda tx: tx.execute(disable) and None)
    told = asked(house, ana, "ben", "session:read", "lab")
    assert not told.allowed and told.decisions[0].reason == "this account is disabled"


@pytest.mark.parametrize(
    ("asker", "question", "error"),
    [
        ("ben", ("ana", "entry:read", "ana/lab"), NotAllowed),
        ("eve", ("eve", "entry:read", "ana/lab"), NotFound),
        ("ana", ("ben", "no_such_action", "ana/lab"), InvalidInput),
        ("ana", ("ben", "job:submit", "ana/nothing"), NotFound),
        ("olga", ("nobody", "entry:read", "ana/lab"), NotFound),
        ("ana", ("lnk_" + "0" * 26, "entry:read", "ana/lab"), NotFound),
        ("ana", ("ben", "account_create", "hub"), NotAllowed),
    ],
)
def test_questions_that_are_not_answered(
    house: House, ana: Actor, ben: Actor, lab: str, operator: Actor, perform: Perform, asker: str,
    question: tuple[str, str, str], error: type[HubError],
) -> None:  # fmt: skip
    join(house, perform, ana, lab, ben, "read")
    people: dict[str, Any] = {"ana": ana, "ben": ben, "olga": operator, "eve": make_person(house, "eve")}
    with pytest.raises(error):
        asked(house, people[asker], *question)


def test_everybody_may_ask_about_themselves(house: House, ana: Actor, ben: Actor, lab: str, perform: Perform) -> None:
    join(house, perform, ana, lab, ben, "read")
    assert not asked(house, ben, "ben", "job_submit", "ana/lab").allowed
    assert asked(house, ben, ben.id, "token_create", "hub").allowed
    assert not asked(house, ben, "ben", "account_create", "hub").allowed
    assert ANYONE.id == "anyone"
