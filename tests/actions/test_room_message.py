"""Saying something in a room: numbered without a gap, kept sealed, once per client_id, by who may speak."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core import limits
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.core.ids import new_secret
from hub.ledger import followers, sequencer
from hub.rooms import views
from hub.rooms.tables import message_reactions, messages
from hub.sessions.tables import grants
from tests.conftest import make_person, settle

Perform = Callable[..., Any]


@pytest.fixture
def lab(perform: Perform, ana: Actor) -> str:
    made: str = perform(ana, "session_create", name="lab")["session"]
    return made


def read(house: House, actor: Actor, session: str, **page: Any) -> views.MessagePage:
    with house.scope(actor) as scope:
        return views.messages(scope, session, **page)


def give(house: House, session: str, person: Actor, role: str) -> None:
    house.db.write(
        lambda tx: tx.insert_new(
            grants, session=session, subject=person.id, via="share", role=role, at=house.clock.now()
        )
    )


def test_messages_are_numbered_from_one_without_a_gap(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    said = [perform(ana, "room_message", session_id=lab, text=f"line {n}") for n in range(3)]
    assert [message["sequence"] for message in said] == [1, 2, 3]
    page = read(house, ana, lab, after=1)
    assert [message.text for message in page.messages] == ["line 1", "line 2"]
    assert page.head == 3
    assert page.messages[0].author.handle == "ana"


def test_without_a_number_the_newest_are_read(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    for n in range(1, 6):
        perform(ana, "room_message", session_id=lab, text=str(n))
    assert [m.text for m in read(house, ana, lab, limit=2).messages] == ["4", "5"]
    assert [m.text for m in read(house, ana, lab, limit=2, before=4).messages] == ["2", "3"]


def test_the_same_client_id_says_it_once(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    first = perform(ana, "room_message", session_id=lab, text="hello", client_id="c1")
    again = perform(ana, "room_message", session_id=lab, text="hello", client_id="c1")
    assert again == first
    after = perform(ana, "room_message", session_id=lab, text="next", client_id="c2")
    assert after["sequence"] == first["sequence"] + 1
    with pytest.raises(Conflict) as caught:
        perform(ana, "room_message", session_id=lab, text="something else", client_id="c1")
    assert caught.value.code == "client_id_reused"
    assert read(house, ana, lab).head == 2


def test_many_at_once_are_all_kept_in_one_order(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: perform(ana, "room_message", session_id=lab, text=str(n)), range(24)))
    assert sorted(message["sequence"] for message in said) == list(range(1, 25))


def test_a_message_is_told_to_the_room_after_commit(
    house: House, bus: MemoryBus, perform: Perform, ana: Actor, lab: str
) -> None:
    message = perform(ana, "room_message", session_id=lab, text="hello", client_id="c1")
    settle(house)
    told = [said for channel, said in bus.published if channel == f"session:{lab}" and said["kind"] == "message"]
    assert told == [{"kind": "message", "message": message}]


def test_a_text_is_not_in_the_database_in_clear(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    perform(ana, "room_message", session_id=lab, text="the gap is at 2886")
    with house.db.read() as conn:
        sealed = conn.execute(sa.select(messages.c.text_sealed)).scalar_one()
    assert b"2886" not in sealed


@pytest.mark.parametrize("text", ["", "   \n", "\x00", "x" * 4001])
def test_nothing_and_too_much_are_refused(perform: Perform, ana: Actor, lab: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "room_message", session_id=lab, text=text)
    assert caught.value.path == "$.params.text"


def test_who_may_only_read_may_not_speak_and_a_stranger_learns_nothing(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    with pytest.raises(NotFound):
        perform(ben, "room_message", session_id=lab, text="hello")
    with pytest.raises(NotFound):
        read(house, ben, lab)
    give(house, lab, ben, "read")
    with pytest.raises(NotAllowed):
        perform(ben, "room_message", session_id=lab, text="hello")
    assert read(house, ben, lab).head == 0


# Threads, things, one person


@pytest.fixture
def cem(house: House) -> Actor:
    return make_person(house, "cem")


@pytest.fixture
def shared(house: House, ben: Actor, cem: Actor, lab: str) -> str:
    """The lab, with Ben who writes and Cem who looks on."""
    give(house, lab, ben, "read_write")
    give(house, lab, cem, "read")
    return lab


def texts(house: House, actor: Actor, session: str, **page: Any) -> list[str]:
    return [message.text for message in read(house, actor, session, **page).messages]


def test_an_answer_is_in_the_thread_of_the_first_message_and_counted_there(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    first = perform(ana, "room_message", session_id=shared, text="which gap?")
    answer = perform(ben, "room_message", session_id=shared, text="2886", thread=first["id"])
    further = perform(ana, "room_message", session_id=shared, text="thanks", thread=answer["id"])
    assert answer["thread"] == further["thread"] == first["id"]
    with house.scope(ben) as scope:
        thread = views.thread(scope, further["id"])
    assert [(m.text, m.replies) for m in thread] == [("which gap?", 2), ("2886", 0), ("thanks", 0)]
    assert texts(house, ana, shared, begins=True) == ["which gap?"]
    assert texts(house, ana, shared) == ["which gap?", "2886", "thanks"]


def test_a_thread_is_about_a_line_of_a_log_or_refused_where_there_is_none(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    job = perform(ana, "job_submit", session_id=shared, script="#!/bin/sh\necho hello\n")["id"]
    said = perform(ben, "room_message", session_id=shared, text="odd", about=f"job:{job}#L12")
    assert said["about"] == f"job:{job}#L12"
    elsewhere = perform(ana, "job_submit", script="#!/bin/sh\ntrue\n")["id"]
    for about in ("job", "job:", f"artifact:{job}#L12", f"job:{job}#L0", f"job:{job}#L12x", f"job:{elsewhere}"):
        with pytest.raises((InvalidInput, NotFound)) as caught:
            perform(ana, "room_message", session_id=shared, text="odd", about=about)
        assert isinstance(caught.value, NotFound) or caught.value.path == "$.params.about"


def test_a_private_message_is_read_by_two_and_by_no_moderator(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, shared: str
) -> None:
    said = perform(ben, "room_message", session_id=shared, text="between us", to="cem")
    assert said["to"]["handle"] == "cem"
    assert texts(house, ben, shared) == texts(house, cem, shared) == ["between us"]
    assert texts(house, ana, shared) == []
    assert read(house, ana, shared).head == 1
    for action in ("message_remove", "message_report"):
        with pytest.raises(NotFound):
            perform(ana, action, message=said["id"])
    with pytest.raises(NotFound):
        perform(ana, "room_message", session_id=shared, text="me too", thread=said["id"])
    with house.scope(ana) as scope, pytest.raises(NotFound):
        views.thread(scope, said["id"])


def test_what_is_answered_in_a_private_thread_goes_to_the_other_of_the_two(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    first = perform(ben, "room_message", session_id=shared, text="may I?", to="ana")
    answer = perform(ana, "room_message", session_id=shared, text="yes", thread=first["id"])
    again = perform(ben, "room_message", session_id=shared, text="thanks", thread=first["id"])
    assert (answer["to"]["handle"], again["to"]["handle"]) == ("ben", "ana")


def test_a_ledger_line_does_not_tell_what_a_private_message_says_or_to_whom(
    house: House, perform: Perform, ben: Actor, cem: Actor, shared: str
) -> None:
    perform(ben, "room_message", session_id=shared, text="yes", to="cem")
    sequencer.pass_once(house.db, "test", house.clock.now())
    with house.db.read() as conn:
        line = [each for each in followers.read(conn, -1) if each.action == "room_message"][-1]
    assert hashlib.sha256(b"yes").hexdigest() not in str(line.facts)
    assert cem.id not in str(line)


@pytest.mark.parametrize("to", ["nobody", "dan", "ben"])
def test_a_private_message_needs_somebody_else_who_takes_part(
    house: House, perform: Perform, ben: Actor, shared: str, to: str
) -> None:
    make_person(house, "dan")
    with pytest.raises((NotFound, InvalidInput)) as caught:
        perform(ben, "room_message", session_id=shared, text="psst", to=to)
    assert caught.value.path == "$.params.to"


def test_private_messages_can_be_switched_off(perform: Perform, ana: Actor, ben: Actor, shared: str) -> None:
    perform(ana, "session_share", session_id=shared, features={"private_messages": False})
    with pytest.raises(NotAllowed) as caught:
        perform(ben, "room_message", session_id=shared, text="psst", to="ana")
    assert caught.value.code == "not_offered"


# Changing what was said


def test_an_edit_keeps_the_place_and_takes_a_number_of_its_own(
    house: House, bus: MemoryBus, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    said = perform(ana, "room_message", session_id=shared, text="2868")
    perform(ben, "room_message", session_id=shared, text="sure?")
    edited = perform(ana, "message_edit", message=said["id"], text="2886")
    assert (edited["sequence"], edited["change"], edited["text"]) == (1, 3, "2886")
    assert edited["edited"]
    assert texts(house, ben, shared) == ["2886", "sure?"]
    assert texts(house, ben, shared, after=2) == ["2886"]
    assert texts(house, ben, shared, after=0) == ["sure?", "2886"]
    settle(house)
    assert [told["message"] for _, told in bus.published if told.get("kind") == "message"][-1] == edited


def test_the_same_edit_again_changes_nothing(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    said = perform(ana, "room_message", session_id=lab, text="2868")
    once = perform(ana, "message_edit", message=said["id"], text="2886")
    assert perform(ana, "message_edit", message=said["id"], text="2886") == once
    assert read(house, ana, lab).head == 2


def test_only_its_author_edits_and_only_its_author_or_a_moderator_removes(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, shared: str
) -> None:
    said = perform(ben, "room_message", session_id=shared, text="hello")
    with pytest.raises(NotAllowed):
        perform(ana, "message_edit", message=said["id"], text="bye")
    with pytest.raises(NotAllowed):
        perform(cem, "message_remove", message=said["id"])
    assert read(house, ana, shared).head == 1
    gone = perform(ana, "message_remove", message=said["id"])
    assert (gone["text"], gone["removed"]) == ("", "moderator")
    own = perform(ben, "room_message", session_id=shared, text="again")
    assert perform(ben, "message_remove", message=own["id"])["removed"] == "author"


def test_of_a_removed_message_no_text_and_no_reaction_is_left(
    house: House, perform: Perform, ana: Actor, lab: str
) -> None:
    said = perform(ana, "room_message", session_id=lab, text="secret", client_id="c1")
    perform(ana, "message_react", message=said["id"], emoji="👍")
    gone = perform(ana, "message_remove", message=said["id"])
    assert perform(ana, "message_remove", message=said["id"]) == gone
    with house.db.read() as conn:
        sealed = conn.execute(sa.select(messages.c.text_sealed)).scalar_one()
        assert conn.execute(sa.select(message_reactions)).all() == []
    assert len(sealed) == 12 + 16
    for action, params in (("message_edit", {"text": "x"}), ("message_react", {"emoji": "👍"})):
        with pytest.raises(Conflict) as caught:
            perform(ana, action, message=said["id"], **params)
        assert caught.value.code == "message_removed"
    # A program that sends it once more after all does not bring it back.
    assert perform(ana, "room_message", session_id=lab, text="secret", client_id="c1")["removed"] == "author"


def test_a_reaction_counts_once_a_person_and_can_be_taken_back(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    said = perform(ana, "room_message", session_id=shared, text="done")
    perform(ben, "message_react", message=said["id"], emoji="👍")
    twice = perform(ben, "message_react", message=said["id"], emoji="👍")
    assert twice["reactions"] == [{"emoji": "👍", "people": [ben.id]}]
    both = perform(ana, "message_react", message=said["id"], emoji="👍")
    assert {r["emoji"]: set(r["people"]) for r in both["reactions"]} == {"👍": {ana.id, ben.id}}
    less = perform(ben, "message_react", message=said["id"], emoji="👍", on=False)
    assert less["reactions"] == [{"emoji": "👍", "people": [ana.id]}]
    assert read(house, ana, shared).head == 4


@pytest.mark.parametrize("emoji", ["ok", "+1", "👍👍", "<b>"])
def test_a_reaction_is_one_emoji(perform: Perform, ana: Actor, lab: str, emoji: str) -> None:
    said = perform(ana, "room_message", session_id=lab, text="done")
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "message_react", message=said["id"], emoji=emoji)
    assert caught.value.path == "$.params.emoji"


def test_a_message_has_so_many_different_reactions_and_no_more(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    said = perform(ana, "room_message", session_id=shared, text="done")
    for at in range(limits.MESSAGE_SIGNS):
        perform(ana, "message_react", message=said["id"], emoji=chr(0x1F600 + at))
    with pytest.raises(Conflict):
        perform(ben, "message_react", message=said["id"], emoji="👍")
    perform(ben, "message_react", message=said["id"], emoji=chr(0x1F600))


def test_changes_of_one_message_at_once_each_take_a_number(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    said = perform(ana, "room_message", session_id=shared, text="done")

    def change(n: int) -> Any:
        if n % 2:
            return perform(ana, "message_edit", message=said["id"], text=f"done {n}")
        return perform(ben, "message_react", message=said["id"], emoji=chr(0x1F600 + n))

    with ThreadPoolExecutor(8) as pool:
        changed = list(pool.map(change, range(16)))
    assert sorted(message["change"] for message in changed) == list(range(2, 18))
    last = read(house, ana, shared).messages[0]
    assert (last.change, len(last.reactions)) == (17, 8)


# Reports


def test_a_report_shows_moderators_what_was_said_even_after_an_edit(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, shared: str
) -> None:
    said = perform(ben, "room_message", session_id=shared, text="an insult", to="cem")
    perform(cem, "message_report", message=said["id"], reason="not nice")
    perform(cem, "message_report", message=said["id"], reason="really")
    perform(ben, "message_edit", message=said["id"], text="a compliment")
    with house.scope(ana) as scope:
        (report,) = views.reports(scope, shared)
    assert (report.text, report.reason, report.now, report.private) == ("an insult", "not nice", "edited", True)
    assert (report.reporter.handle, report.author.handle) == ("cem", "ben")
    for other in (ben, cem):
        with house.scope(other) as scope, pytest.raises(NotAllowed):
            views.reports(scope, shared)
        with pytest.raises(NotAllowed):
            perform(other, "message_report_settle", report=report.id, outcome="dismissed")


def test_a_report_that_is_upheld_removes_the_message(
    house: House, perform: Perform, ana: Actor, ben: Actor, cem: Actor, shared: str
) -> None:
    said = perform(ben, "room_message", session_id=shared, text="an insult", to="cem")
    report = perform(cem, "message_report", message=said["id"])["report"]
    perform(ana, "message_report_settle", report=report, outcome="removed")
    perform(ana, "message_report_settle", report=report, outcome="removed")
    with pytest.raises(Conflict):
        perform(ana, "message_report_settle", report=report, outcome="dismissed")
    (left,) = read(house, cem, shared).messages
    assert (left.text, left.removed) == ("", "moderator")
    with house.scope(ana) as scope:
        (found,) = views.reports(scope, shared)
    assert (found.outcome, found.now, found.text) == ("removed", "removed", "an insult")


def test_nobody_settles_what_was_said_of_themselves(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    said = perform(ana, "room_message", session_id=shared, text="an insult")
    with pytest.raises(InvalidInput):
        perform(ana, "message_report", message=said["id"])
    report = perform(ben, "message_report", message=said["id"])["report"]
    with pytest.raises(NotAllowed):
        perform(ana, "message_report_settle", report=report, outcome="dismissed")


def test_the_line_of_a_report_is_read_by_its_reporter_only(
    house: House, perform: Perform, ana: Actor, ben: Actor, shared: str
) -> None:
    said = perform(ana, "room_message", session_id=shared, text="an insult")
    perform(ben, "message_report", message=said["id"])
    sequencer.pass_once(house.db, "test", house.clock.now())
    with house.db.read() as conn:
        (line,) = [each for each in followers.read(conn, -1) if each.action == "message_report"]
    assert line.session is None


SECRETS = [
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU", "client-key-data: " + "LS0tLS1CRUdJTi" * 3,
    new_secret("clg"), "ghp_" + "a1B2" * 9, "my one-time code is 123456", "123 456",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS, ids=["key", "kubeconfig", "token", "token of another", "code said", "code"])
def test_a_key_or_a_code_said_in_a_room_is_kept_neither_as_a_message_nor_in_the_ledger(
    house: House, perform: Perform, ana: Actor, lab: str, secret: str
) -> None:
    first = perform(ana, "room_message", session_id=lab, text="hello")
    settle(house)

    def ledger() -> int:
        with house.db.read() as conn:
            return int(conn.execute(sa.text("SELECT count(*) FROM ledger")).scalar_one())

    before = ledger()
    for action, params in (
        ("room_message", {"session_id": lab, "text": secret}),
        ("room_message", {"session_id": lab, "text": secret, "thread": first["id"]}),
        ("room_message", {"session_id": lab, "text": secret, "client_id": "again"}),
        ("message_edit", {"message": first["id"], "text": secret}),
        ("room_hand", {"session_id": lab, "question": secret}),
        ("room_poll", {"session_id": lab, "question": "Which?", "options": ["none", secret]}),
    ):
        with pytest.raises(InvalidInput) as refused:
            perform(ana, action, **params)
        told = f"{refused.value} {refused.value.hint}"
        assert refused.value.code in ("private_key_refused", "token_refused", "code_refused")
        assert "nothing of it was kept" in told and "replace it: " in told and secret not in told
    settle(house)
    assert ledger() == before
    page = read(house, ana, lab)
    assert [message.text for message in page.messages] == ["hello"] and page.head == 1
    # Its client_id was not taken, and the next number is the next one.
    assert perform(ana, "room_message", session_id=lab, text="sorry", client_id="again")["sequence"] == 2
