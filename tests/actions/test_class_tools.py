"""Hands, polls, the door, and what a moderator lets people do in a room."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import ANYONE, Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.ledger import followers, sequencer
from hub.people import accounts
from hub.people.tables import persons
from hub.rooms.doors import views as doors
from hub.rooms.hands import views as hands
from hub.rooms.hands.tables import room_hands
from hub.rooms.polls import views as polls
from hub.rooms.polls.tables import room_votes
from hub.sessions import links
from hub.sessions.tables import grants
from tests.actions.test_room_message import give
from tests.conftest import Perform, make_person


@pytest.fixture
def cem(house: House) -> Actor:
    return make_person(house, "cem")


@pytest.fixture
def lab(house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor) -> str:
    """Ana teaches; Ben writes, Cem looks on."""
    made: str = perform(ana, "session_create", name="lab")["session"]
    give(house, made, ben, "read_write")
    give(house, made, cem, "read")
    return made


def came_by(house: House, perform: Perform, secret: str) -> Actor:
    """A guest who opened a link."""
    cookie = perform(ANYONE, "link_open", secret=secret)["cookie"]
    with house.db.read() as conn:
        row = accounts.live_sign_in(conn, cookie, house.clock.now())
        assert row is not None
        guest = links.guest(conn, row.link, row.id, house.clock.now())
    assert guest is not None
    return guest


def queue(house: House, actor: Actor, lab: str) -> list[tuple[str, int]]:
    with house.scope(actor) as scope:
        return [(hand.name, hand.place) for hand in hands.hands(scope, lab)]


# Hands


def test_hands_are_called_upon_in_the_order_they_went_up(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str
) -> None:
    assert perform(cem, "room_hand", session_id=lab)["before"] == 0
    assert perform(ben, "room_hand", session_id=lab, question="Which gap?")["before"] == 1
    perform(cem, "room_hand", session_id=lab, question="And the units?")
    assert queue(house, ana, lab) == [("Cem", 1), ("Ben", 2)]
    first = perform(ana, "room_hand_addressed", session_id=lab)
    assert (first["name"], first["left"]) == ("Cem", 1)
    assert perform(cem, "room_hand", session_id=lab)["before"] == 1
    assert queue(house, ana, lab) == [("Ben", 1), ("Cem", 2)]
    perform(ben, "room_hand", session_id=lab, up=False)
    assert queue(house, ana, lab) == [("Cem", 1)]


def test_only_who_moderates_calls_upon_a_hand_and_only_one_that_is_up(
    perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str
) -> None:
    with pytest.raises(NotFound) as caught:
        perform(ana, "room_hand_addressed", session_id=lab)
    assert caught.value.code == "no_hand"
    perform(cem, "room_hand", session_id=lab)
    with pytest.raises(NotAllowed):
        perform(ben, "room_hand_addressed", session_id=lab)
    with pytest.raises(NotFound):
        perform(ana, "room_hand_addressed", session_id=lab, person=ben.id)


def test_two_who_call_upon_the_first_at_once_call_upon_one_each(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str
) -> None:
    perform(ben, "room_hand", session_id=lab)
    perform(cem, "room_hand", session_id=lab)
    with ThreadPoolExecutor(2) as pool:
        called = list(pool.map(lambda _: perform(ana, "room_hand_addressed", session_id=lab)["name"], range(2)))
    assert sorted(called) == ["Ben", "Cem"]


def test_a_quiet_hand_is_seen_by_who_moderates_and_in_no_line_that_others_read(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str
) -> None:
    perform(cem, "room_hand", session_id=lab, quiet=True, question="I am lost")
    perform(ben, "room_hand", session_id=lab)
    assert queue(house, ana, lab) == [("Cem", 1), ("Ben", 2)]
    assert queue(house, cem, lab) == [("Cem", 1), ("Ben", 2)]
    assert queue(house, ben, lab) == [("Ben", 2)]
    perform(ana, "room_hand_addressed", session_id=lab)
    sequencer.pass_once(house.db, "test", house.clock.now())
    with house.db.read() as conn:
        lines = [each for each in followers.read(conn, -1) if each.action.startswith("room_hand")]
    assert [(line.actor == cem.id, line.session) for line in lines] == [(True, None), (False, lab), (False, None)]


def test_a_hand_that_turns_quiet_is_told_to_those_who_saw_it_go_up(
    house: House, perform: Perform, ben: Actor, lab: str
) -> None:
    perform(ben, "room_hand", session_id=lab)
    perform(ben, "room_hand", session_id=lab, quiet=True)
    sequencer.pass_once(house.db, "test", house.clock.now())
    with house.db.read() as conn:
        lines = [each.session for each in followers.read(conn, -1) if each.action == "room_hand"]
    assert lines == [lab, lab]


def test_who_leaves_or_is_removed_has_no_hand_up_and_comes_back_last(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str
) -> None:
    for person in (ben, cem, ana):
        perform(person, "room_hand", session_id=lab)
    perform(ben, "session_leave", session_id=lab)
    assert queue(house, ana, lab) == [("Cem", 1), ("Ana", 2)]
    perform(ana, "grant_revoke", session_id=lab, participant=cem.id)
    assert queue(house, ana, lab) == [("Ana", 1)]
    give(house, lab, ben, "read_write")
    assert queue(house, ana, lab) == [("Ana", 1)], "coming back does not raise it again"
    assert perform(ben, "room_hand", session_id=lab)["before"] == 1
    with house.db.read() as conn:
        assert len(conn.execute(sa.select(room_hands)).all()) == 2


def test_a_hand_goes_down_with_a_right_that_ends_by_itself(
    house: House, clock: FrozenClock, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    day = dt.timedelta(days=1)
    dora, edda = make_person(house, "dora"), make_person(house, "edda")
    until = house.clock.now() + day
    house.db.write(
        lambda tx: tx.insert_new(
            grants, session=lab, subject=dora.id, via="share", role="read", expires_at=until, at=house.clock.now()
        )
    )
    short, long = (
        perform(ana, "link_create", session_id=lab, expires=(house.clock.now() + n * day).isoformat()) for n in (1, 3)
    )
    guests = [came_by(house, perform, link["secret"]) for link in (short, long)]
    perform(ana, "session_change", session_id=lab, visibility="hub")
    for person in (dora, *guests, edda, ben):
        perform(person, "room_hand", session_id=lab)
    assert len(queue(house, ana, lab)) == 5
    perform(ana, "session_change", session_id=lab, visibility="session")
    assert len(queue(house, ana, lab)) == 4, "Edda only looked in because it was open"
    clock.advance(day.total_seconds() + 1)
    assert queue(house, ana, lab) == [("A guest", 1), ("Ben", 2)]
    perform(ana, "link_revoke", link=long["link"])
    assert queue(house, ana, lab) == [("Ben", 1)]
    assert perform(ana, "room_hand_addressed", session_id=lab) == {
        "session": lab, "person": ben.id, "name": "Ben", "left": 0,
    }  # fmt: skip
    with house.db.read() as conn:
        assert conn.execute(sa.select(room_hands)).all() == [], "those of the others are gone, not only hidden"


def test_a_disabled_account_has_no_hand_up(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str
) -> None:
    for person in (ben, cem):
        perform(person, "room_hand", session_id=lab)
    house.db.write(
        lambda tx: tx.execute(sa.update(persons).where(persons.c.id == ben.id).values(disabled_at=house.clock.now()))
    )
    assert queue(house, ana, lab) == [("Cem", 1)]
    assert perform(cem, "room_hand", session_id=lab)["before"] == 0


# Polls


@pytest.fixture
def poll(perform: Perform, ana: Actor, lab: str) -> str:
    asked = perform(ana, "room_poll", session_id=lab, question="Which gap?", options=["2886", "2868"])
    return str(asked["id"])


def counts(view: Any) -> list[int | None]:
    return [option["votes"] for option in view["options"]]


def test_one_vote_a_person_that_may_change_and_is_counted_at_the_end(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, poll: str
) -> None:
    perform(ben, "room_vote", poll=poll, option=2)
    seen = perform(ben, "room_vote", poll=poll, option=1)
    assert (seen["mine"], seen["votes"], counts(seen)) == (1, 1, [None, None])
    perform(cem, "room_vote", poll=poll, option=1)
    closed = perform(ana, "room_poll_close", poll=poll)
    assert (closed["votes"], counts(closed)) == (2, [2, 0])
    assert perform(ana, "room_poll_close", poll=poll)["options"] == closed["options"]
    with pytest.raises(Conflict) as caught:
        perform(ben, "room_vote", poll=poll, option=2)
    assert caught.value.code == "poll_closed"


def test_an_anonymous_poll_names_nobody_and_keeps_only_counts_once_closed(
    house: House, perform: Perform, ana: Actor, ben: Actor, poll: str
) -> None:
    perform(ben, "room_vote", poll=poll, option=1)
    with house.db.read() as conn:
        assert ben.id not in str(conn.execute(sa.select(room_votes)).all())
    closed = perform(ana, "room_poll_close", poll=poll)
    assert all(option["voters"] == [] for option in closed["options"])
    with house.db.read() as conn:
        assert conn.execute(sa.select(room_votes)).all() == []


def test_a_named_poll_that_shows_its_count_does_so_at_once(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    asked = perform(
        ana, "room_poll", session_id=lab, question="Tea?", options=["yes", "no"], anonymous=False, shown_at_end=False
    )
    seen = perform(ben, "room_vote", poll=asked["id"], option=1)
    assert (counts(seen), seen["options"][0]["voters"]) == ([1, 0], ["Ben"])
    with house.scope(ana) as scope:
        assert [each.question for each in polls.polls(scope, lab)] == ["Tea?"]


def test_votes_at_once_are_all_counted_once(house: House, perform: Perform, ana: Actor, lab: str, poll: str) -> None:
    voters = [make_person(house, f"voter{n}") for n in range(12)]
    for voter in voters:
        give(house, lab, voter, "read")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda voter: perform(voter, "room_vote", poll=poll, option=2), voters * 2))
    assert counts(perform(ana, "room_poll_close", poll=poll)) == [0, 12]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"question": " "}, "$.params.question"),
        ({"options": ["a"]}, "$.params.options"),
        ({"options": ["a", " a "]}, "$.params.options"),
        ({"options": ["a", ""]}, "$.params.options"),
        ({"options": [str(n) for n in range(9)]}, "$.params.options"),
    ],
    ids=str,
)
def test_a_poll_asks_something_and_has_two_to_eight_answers(
    perform: Perform, ana: Actor, lab: str, params: dict[str, Any], path: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "room_poll", **{"session_id": lab, "question": "Which?", "options": ["a", "b"], **params})
    assert caught.value.path == path


def test_who_may_not_present_asks_nothing_and_a_stranger_does_not_vote(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str, poll: str
) -> None:
    perform(ana, "room_standing", session_id=lab, person="ben", standing="speak")
    for person in (ben, cem):
        with pytest.raises(NotAllowed):
            perform(person, "room_poll", session_id=lab, question="Which?", options=["a", "b"])
        with pytest.raises(NotAllowed):
            perform(person, "room_poll_close", poll=poll)
    with pytest.raises(InvalidInput):
        perform(ben, "room_vote", poll=poll, option=3)
    with pytest.raises(NotFound):
        perform(make_person(house, "eve"), "room_vote", poll=poll, option=1)
    with pytest.raises(NotFound):
        perform(make_person(house, "fay"), "room_poll_close", poll=poll)


def test_who_may_present_asks_and_ends_their_own_and_nobody_elses(
    perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str, poll: str
) -> None:
    perform(ana, "room_standing", session_id=lab, person="cem", standing="present")
    bens, cems = (
        perform(person, "room_poll", session_id=lab, question="Mine?", options=["yes, of course", "no"])["id"]
        for person in (ben, cem)
    )
    for other in (poll, cems):
        with pytest.raises(NotAllowed, match="whoever asked it"):
            perform(ben, "room_poll_close", poll=other)
    assert perform(ben, "room_poll_close", poll=bens)["closed"]
    assert perform(ana, "room_poll_close", poll=cems)["closed"]
    # A right that was taken back takes the end of the poll back too.
    again = perform(ben, "room_poll", session_id=lab, question="Again?", options=["yes", "no"])["id"]
    perform(ana, "room_standing", session_id=lab, person="ben", standing="observe")
    with pytest.raises(NotAllowed):
        perform(ben, "room_poll_close", poll=again)


def test_one_open_poll_a_person_and_a_few_a_room(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    def ask(person: Actor) -> Any:
        return perform(person, "room_poll", session_id=lab, question="Which?", options=["a", "b"])["id"]

    first = ask(ben)
    with pytest.raises(Conflict) as caught:
        ask(ben)
    assert caught.value.code == "poll_open"
    perform(ben, "room_poll_close", poll=first)
    ask(ben)
    for _ in range(limits.POLLS_OPEN - 1):
        ask(ana)
    cem = make_person(house, "dora")
    give(house, lab, cem, "student")
    for person in (ana, cem):
        with pytest.raises(Conflict) as caught:
            ask(person)
        assert caught.value.code == "too_many_polls"


def test_of_polls_asked_at_once_by_one_person_one_is_open(house: House, perform: Perform, ben: Actor, lab: str) -> None:
    def ask(n: int) -> str:
        try:
            return str(perform(ben, "room_poll", session_id=lab, question=f"{n}?", options=["a", "b"])["id"])
        except Conflict as refused:
            return refused.code

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(ask, range(8)))
    assert told.count("poll_open") == 7


def test_who_comes_by_a_link_has_no_vote_for_each_visit_is_somebody_new(
    house: House, perform: Perform, ana: Actor, lab: str, poll: str
) -> None:
    made = perform(ana, "link_create", session_id=lab, role="read_write")["link"]
    guest = Actor(id="guest_1", name="A guest", kind="link", hub_role="guest", link_id=made, link_session=lab)
    with pytest.raises(NotAllowed):
        perform(guest, "room_vote", poll=poll, option=1)


# The door


def stands(house: House, actor: Actor, lab: str) -> str:
    with house.scope(actor) as scope:
        return doors.stands(scope, lab)


def knock(house: House, actor: Actor, lab: str) -> bool:
    return house.db.write(lambda tx: doors.ask(tx, lab, actor.id, actor.name, house.clock.now()))


def waiting(house: House, actor: Actor, lab: str) -> list[str]:
    with house.scope(actor) as scope:
        return [each.name for each in doors.door(scope, lab).waiting]


def test_a_locked_door_is_open_to_who_moderates_only(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    assert stands(house, ben, lab) == "open"
    perform(ana, "room_door", session_id=lab, state="locked")
    assert (stands(house, ana, lab), stands(house, ben, lab)) == ("open", "locked")
    perform(ana, "room_door", session_id=lab, state="open")
    assert stands(house, ben, lab) == "open"
    with pytest.raises(NotAllowed):
        perform(ben, "room_door", session_id=lab, state="locked")


def test_in_a_lobby_one_waits_until_one_is_let_in_or_turned_away(
    house: House, perform: Perform, clock: FrozenClock, ana: Actor, ben: Actor, cem: Actor, lab: str
) -> None:
    perform(ana, "room_door", session_id=lab, state="lobby")
    assert stands(house, ben, lab) == "lobby"
    assert knock(house, ben, lab) and knock(house, cem, lab)
    assert not knock(house, ben, lab), "they are told of once"
    assert waiting(house, ana, lab) == ["Cem", "Ben"] or waiting(house, ana, lab) == ["Ben", "Cem"]
    assert waiting(house, ben, lab) == []
    perform(ana, "room_admit", session_id=lab, person=ben.id)
    perform(ana, "room_admit", session_id=lab, person=cem.id, admit=False)
    assert (stands(house, ben, lab), stands(house, cem, lab)) == ("open", "out")
    assert waiting(house, ana, lab) == []
    perform(ana, "room_door", session_id=lab, state="locked")
    perform(ana, "room_door", session_id=lab, state="lobby")
    assert stands(house, ben, lab) == "lobby", "a new lobby asks anew"


def test_who_stopped_asking_is_off_the_list(
    house: House, perform: Perform, clock: FrozenClock, ana: Actor, ben: Actor, lab: str
) -> None:
    perform(ana, "room_door", session_id=lab, state="lobby")
    knock(house, ben, lab)
    clock.set(house.clock.now() + dt.timedelta(seconds=limits.LOBBY_SECONDS + 1))
    assert waiting(house, ana, lab) == []
    assert knock(house, ben, lab), "who comes back is told of again"
    with pytest.raises(NotFound) as caught:
        perform(ana, "room_admit", session_id=lab, person="per_nobody")
    assert caught.value.code == "not_waiting"


# What a moderator lets people do


def may(house: House, actor: Actor, lab: str) -> set[str]:
    with house.scope(actor) as scope:
        asked = ("room:speak", "room:voice", "room:present", "room:ask", "room:caption", "draft:write")
        return {p for p in asked if scope.access.may(lab, p)}


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        ("present", {"room:speak", "room:voice", "room:present", "room:ask", "draft:write"}),
        ("speak", {"room:speak", "room:voice", "draft:write"}),
        ("write", {"room:speak", "draft:write"}),
        ("observe", set()),
        ("caption", {"room:speak", "room:caption", "draft:write"}),
    ],
)
def test_a_standing_narrows_a_writer_and_widens_a_reader(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, lab: str, standing: str, expected: set[str]
) -> None:
    before = {actor.id: may(house, actor, lab) for actor in (ben, cem)}
    for actor in (ben, cem):
        perform(ana, "room_standing", session_id=lab, person=actor.handle, standing=standing)
        assert may(house, actor, lab) == expected
        if "room:speak" in expected:
            perform(actor, "room_message", session_id=lab, text="hello")
        else:
            with pytest.raises(NotAllowed):
                perform(actor, "room_message", session_id=lab, text="hello")
        perform(ana, "room_standing", session_id=lab, person=actor.handle)
        assert may(house, actor, lab) == before[actor.id]


def test_nobody_is_told_what_to_do_who_moderates_or_is_not_there(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    with pytest.raises(NotAllowed):
        perform(ben, "room_standing", session_id=lab, person="cem", standing="observe")
    give(house, lab, make_person(house, "dan"), "admin")
    for person in ("ana", "dan"):
        with pytest.raises(NotAllowed):
            perform(ana, "room_standing", session_id=lab, person=person, standing="observe")
    make_person(house, "eve")
    with pytest.raises(NotFound):
        perform(ana, "room_standing", session_id=lab, person="eve", standing="speak")


def test_only_who_moderates_mutes(perform: Perform, ana: Actor, ben: Actor, lab: str) -> None:
    assert perform(ana, "room_mute", session_id=lab)["person"] is None
    assert perform(ana, "room_mute", session_id=lab, person="@ben")["person"] == ben.id
    with pytest.raises(NotFound):
        perform(ana, "room_mute", session_id=lab, person="nobody")
    with pytest.raises(NotAllowed):
        perform(ben, "room_mute", session_id=lab)
