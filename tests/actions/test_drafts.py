"""Drafts: begun, written by several at once, folded, versioned, restored, removed; what is refused, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core import limits
from hub.core.bus import MemoryBus
from hub.core.context import Actor, Context
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, TamperDetected, TooLarge
from hub.core.house import House
from hub.ledger.tables import ledger_pending as pending
from hub.notebook import views as notebook
from hub.rooms.drafts import log, rules, views, writing
from hub.rooms.drafts.document import Document
from hub.rooms.drafts.shelf import Shelf
from hub.rooms.drafts.tables import draft_checkpoints, draft_updates, draft_versions, drafts
from hub.rooms.drafts.writing import Edit, Kept, Outcome
from hub.sessions.tables import grants
from tests.conftest import settle
from tests.rules.test_draft_rules import Writer, typed

Perform = Callable[..., Any]


@pytest.fixture
def lab(perform: Perform, ana: Actor) -> str:
    made: str = perform(ana, "session_create", name="lab")["session"]
    return made


def give(house: House, session: str, person: Actor, role: str) -> None:
    house.db.write(
        lambda tx: tx.insert_new(
            grants, session=session, subject=person.id, via="share", role=role, at=house.clock.now()
        )
    )


class Hand:
    """The live process, as far as web knows it: hands on the edits of people it names by their ids."""

    def __init__(self, house: House, session: str, people: list[Actor]) -> None:
        self.house, self.session = house, session
        self.people = {person.id: person for person in people}

    def keep(self, draft: str, *edits: tuple[Actor, bytes], epoch: int | None = None, session: str = "") -> Kept:
        if epoch is None:
            epoch = self.row(draft).epoch
        claims = list(dict.fromkeys(person.id for person, _ in edits))
        asked = [
            Edit(by=claims.index(person.id), claim=person.id, epoch=epoch, update=update) for person, update in edits
        ]

        def may(ctx: Context, ref: str, claim: str) -> None:
            ctx.access.find("draft", ref, "draft:write")

        return writing.keep(
            self.house, session or self.session, draft, asked, lambda tx, claim: self.people.get(claim), may
        )

    def row(self, draft: str) -> sa.Row[Any]:
        with self.house.db.read() as conn:
            return conn.execute(sa.select(drafts).where(drafts.c.id == draft)).one()

    def text(self, draft: str) -> str:
        with self.house.db.read() as conn:
            row = log.row(conn, draft)
            assert row is not None
            return log.load(conn, self.house.keys.domain(row.session), row).text()


@pytest.fixture
def hand(house: House, lab: str, ana: Actor, ben: Actor) -> Hand:
    return Hand(house, lab, [ana, ben])


def begin(perform: Perform, ana: Actor, lab: str, text: str = "") -> str:
    made: str = perform(ana, "draft_create", session_id=lab, name="Plan", text=text)["id"]
    return made


def rows(house: House, table: sa.Table) -> int:
    with house.db.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def codes(kept: Kept) -> list[str]:
    return [outcome.code for outcome in kept.outcomes]


def test_a_draft_begins_with_its_text_and_a_number_that_is_never_given_again(
    house: House, perform: Perform, ana: Actor, lab: str
) -> None:
    first = perform(ana, "draft_create", session_id=lab, name="  Plan\n", text="one\r\ntwo")
    second = perform(ana, "draft_create", session_id=lab, name="Other")
    assert [(first["number"], first["name"], first["sequence"]), (second["number"], second["sequence"])] == [
        (1, "Plan", 1),
        (2, 0),
    ]
    perform(ana, "draft_remove", draft=second["id"])
    assert perform(ana, "draft_create", session_id=lab, name="Third")["number"] == 3
    with house.scope(ana) as scope:
        assert views.draft(scope, first["id"]).text == "one\ntwo"
        assert {row.name for row in views.session_drafts(scope, lab)} == {"Plan", "Third"}


def test_two_write_at_once_and_the_record_has_both(
    house: House, bus: MemoryBus, perform: Perform, ana: Actor, ben: Actor, lab: str, hand: Hand
) -> None:
    give(house, lab, ben, "read_write")
    draft = begin(perform, ana, lab)
    kept = hand.keep(draft, (ana, typed("ana ", 1)), (ben, typed("ben ", 2)), (ana, typed("x", 3)))
    assert [outcome.sequence for outcome in kept.outcomes] == [1, 2, 3]
    assert (kept.before, kept.head, [each.sequence for each in kept.updates]) == (0, 3, [1, 2, 3])
    follower = Document()
    for each in kept.updates:
        follower.take(each.update)
    assert follower.text() == hand.text(draft)
    assert sorted(hand.text(draft)) == sorted("ana ben x")
    settle(house)
    told = [said for channel, said in bus.published if channel == f"session:{lab}" and said.get("kind") == "draft"]
    assert told[-1] == {"kind": "draft", "draft": draft, "sequence": 3}
    with house.db.read() as conn:
        assert [row.author for row in conn.execute(sa.select(draft_updates))] == [ana.id, ben.id, ana.id]


def test_what_one_person_types_in_a_row_is_one_update_and_no_ledger_line(
    house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    draft = begin(perform, ana, lab)
    lines = rows(house, pending)
    writer = Writer(1)
    kept = hand.keep(draft, *((ana, writer.edit(at, 0, "x")) for at in range(5)))
    assert [outcome.sequence for outcome in kept.outcomes] == [1] * 5
    assert (kept.head, hand.text(draft)) == (1, "xxxxx")
    assert rows(house, pending) == lines


def test_the_same_update_twice_changes_nothing(perform: Perform, ana: Actor, lab: str, hand: Hand) -> None:
    draft = begin(perform, ana, lab)
    first = typed("hello", 1)
    assert hand.keep(draft, (ana, first)).outcomes == [Outcome(sequence=1)]
    again = hand.keep(draft, (ana, first), (ana, first))
    assert again.outcomes == [Outcome(sequence=1)] * 2
    assert (again.head, again.updates, hand.text(draft)) == (1, [], "hello")


def test_text_is_not_in_the_database_in_clear(house: House, perform: Perform, ana: Actor, lab: str, hand: Hand) -> None:
    draft = begin(perform, ana, lab, "the gap is at 2886")
    hand.keep(draft, (ana, typed("a secret 4711", 1)))
    perform(ana, "draft_version", draft=draft, name="first")
    with house.db.read() as conn:
        kept = [
            bytes(sealed)
            for table in (draft_updates, draft_versions)
            for sealed in conn.execute(sa.select(table.c.sealed)).scalars()
        ]
    assert len(kept) == 3
    assert not any(b"2886" in sealed or b"4711" in sealed for sealed in kept)


# Refusals: each by name, and nobody else is disturbed.


def test_garbage_is_refused_and_what_came_with_it_is_kept(perform: Perform, ana: Actor, lab: str, hand: Hand) -> None:
    draft = begin(perform, ana, lab)
    gap = Writer(9)
    gap.edit(0, 0, "lost")
    kept = hand.keep(
        draft,
        (ana, typed("one ", 1)),
        (ana, b"\xff\xff"),
        (ana, gap.edit(4, 0, "late")),
        (ana, typed("two ", 2)),
    )
    assert codes(kept) == ["", "not_an_update", "missing_history", ""]
    assert sorted(hand.text(draft).split()) == ["one", "two"]


def test_an_update_the_library_does_not_take_whole_leaves_the_others_in_place(
    monkeypatch: pytest.MonkeyPatch, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    draft = begin(perform, ana, lab, "begun ")
    # Our own reading of an update is the first wall; here it is taken away to see the second one hold.
    gap = Writer(9)
    gap.edit(0, 0, "lost")
    late = gap.edit(4, 0, "late")
    monkeypatch.setattr(rules, "is_missing", lambda outline, state: False)
    kept = hand.keep(draft, (ana, typed("one ", 1)), (ana, late), (ana, typed("two ", 2)))
    assert codes(kept) == ["", "not_an_update", ""]
    assert sorted(hand.text(draft).split()) == ["begun", "one", "two"]


def test_who_may_only_read_writes_nothing_and_the_other_is_not_disturbed(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str, hand: Hand
) -> None:
    give(house, lab, ben, "read")
    draft = begin(perform, ana, lab)
    kept = hand.keep(draft, (ben, typed("ben", 2)), (ana, typed("ana", 1)))
    assert codes(kept) == ["not_allowed", ""]
    assert hand.text(draft) == "ana"
    for action in ({"action": "draft_version", "name": "v"}, {"action": "draft_remove"}):
        with pytest.raises(NotAllowed):
            perform(ben, **action, draft=draft)


def test_a_right_taken_away_a_moment_ago_counts_at_once(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str, hand: Hand
) -> None:
    give(house, lab, ben, "read_write")
    draft = begin(perform, ana, lab)
    assert codes(hand.keep(draft, (ben, typed("before", 2)))) == [""]
    house.db.write(lambda tx: tx.execute(sa.delete(grants).where(grants.c.subject == ben.id)) and None)
    assert codes(hand.keep(draft, (ben, typed("after", 3)), (ana, typed("ana", 1)))) == ["draft_not_found", ""]
    del hand.people[ben.id]
    assert codes(hand.keep(draft, (ben, typed("after", 3)))) == ["not_allowed"]
    assert "after" not in hand.text(draft)


def test_a_draft_of_another_session_is_not_there(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str, hand: Hand
) -> None:
    other = perform(ben, "session_create", name="other")["session"]
    theirs = begin(perform, ben, other)
    with pytest.raises(NotFound) as caught:
        hand.keep(theirs, (ana, typed("x", 1)))
    assert caught.value.code == "draft_not_found"
    # Nor by saying that one is in that session: the right is looked for where the draft is.
    assert codes(hand.keep(theirs, (ana, typed("x", 1)), session=other)) == ["draft_not_found"]
    with house.scope(ana) as scope, pytest.raises(NotFound):
        views.draft(scope, theirs)


def test_another_history_is_not_merged(perform: Perform, ana: Actor, lab: str, hand: Hand) -> None:
    draft = begin(perform, ana, lab, "kept")
    kept = hand.keep(draft, (ana, typed("other", 1)), epoch=hand.row(draft).epoch + 1)
    assert codes(kept) == ["stale_epoch"]
    assert hand.text(draft) == "kept"


def test_a_draft_has_a_largest_size_with_its_history(
    monkeypatch: pytest.MonkeyPatch, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    monkeypatch.setattr(limits, "DRAFT_BYTES", 2000)
    draft = begin(perform, ana, lab)
    writer = Writer(1)
    assert codes(hand.keep(draft, (ana, writer.edit(0, 0, "x" * 1500)))) == [""]
    assert codes(hand.keep(draft, (ana, typed("y" * 600, 2)), (ana, typed("z" * 100, 3)))) == ["draft_too_large", ""]
    assert codes(hand.keep(draft, (ana, typed("y" * 2001, 2)))) == ["not_an_update"]
    # What is deleted makes room: the state counts, not the bytes that were ever sent.
    for _ in range(5):
        assert codes(hand.keep(draft, (ana, writer.edit(0, 900, "")), (ana, writer.edit(0, 0, "x" * 900)))) == ["", ""]
    with pytest.raises(TooLarge):
        perform(ana, "draft_create", session_id=lab, name="Large", text="x" * 2001)


@pytest.mark.parametrize("name", ["", "  \n", "x" * 301])
def test_a_draft_has_a_name(perform: Perform, ana: Actor, lab: str, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "draft_create", session_id=lab, name=name)
    assert caught.value.path == "$.params.name"


def test_a_session_has_so_many_drafts(monkeypatch: pytest.MonkeyPatch, perform: Perform, ana: Actor, lab: str) -> None:
    monkeypatch.setattr(limits, "DRAFTS_PER_SESSION", 1)
    draft = begin(perform, ana, lab)
    with pytest.raises(Conflict):
        begin(perform, ana, lab)
    perform(ana, "draft_remove", draft=draft)
    assert begin(perform, ana, lab)


# The log


def test_a_long_log_is_folded_and_the_text_and_the_rest_stay(
    monkeypatch: pytest.MonkeyPatch, house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    monkeypatch.setattr(rules, "FOLD_UPDATES", 10)
    draft = begin(perform, ana, lab, "begun: ")
    writer = Writer(1)
    with house.db.read() as conn:
        writer.hear(log.load(conn, house.keys.domain(lab), hand.row(draft)).whole())
    for number in range(24):
        assert codes(hand.keep(draft, (ana, writer.edit(7 + number, 1 if number % 5 == 4 else 0, "x")))) == [""]
        assert hand.text(draft) == str(writer.text)
    row = hand.row(draft)
    assert (row.head, rows(house, draft_checkpoints), row.log_updates) == (25, 1, rows(house, draft_updates))
    assert row.log_updates < 10 < row.head
    # A process that has nothing open reads the same, and goes on from there.
    house.provide(Shelf, Shelf())
    assert codes(hand.keep(draft, (ana, writer.edit(0, 0, "!")))) == [""]
    assert hand.text(draft) == str(writer.text)


def test_a_checkpoint_that_does_not_hold_everything_is_not_made(
    monkeypatch: pytest.MonkeyPatch, house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    monkeypatch.setattr(rules, "FOLD_UPDATES", 2)
    draft = begin(perform, ana, lab, "begun")
    whole = Document.whole
    monkeypatch.setattr(Document, "whole", lambda self: b"\x00\x00")  # as the defect of a known store makes it
    hand.keep(draft, (ana, typed("one ", 1)))
    hand.keep(draft, (ana, typed("two ", 2)))
    monkeypatch.setattr(Document, "whole", whole)
    assert (rows(house, draft_updates), rows(house, draft_checkpoints)) == (3, 0)
    house.provide(Shelf, Shelf())
    assert hand.text(draft).count("one") == hand.text(draft).count("begun") == 1
    hand.keep(draft, (ana, typed("three ", 3)))
    assert (rows(house, draft_updates), rows(house, draft_checkpoints)) == (0, 1)
    assert sorted(hand.text(draft).replace("begun", "begun ").split()) == ["begun", "one", "three", "two"]


def test_a_log_with_a_hole_is_not_read_as_if_it_were_whole(
    house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    draft = begin(perform, ana, lab, "one")
    hand.keep(draft, (ana, typed("two", 2)))
    house.db.write(lambda tx: tx.execute(sa.delete(draft_updates).where(draft_updates.c.sequence == 1)) and None)
    house.provide(Shelf, Shelf())
    with pytest.raises(TamperDetected):
        hand.text(draft)
    with pytest.raises(TamperDetected):
        hand.keep(draft, (ana, typed("three", 3)))


def test_an_edit_that_is_rolled_back_is_not_built_upon(
    monkeypatch: pytest.MonkeyPatch, house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    draft = begin(perform, ana, lab)
    hand.keep(draft, (ana, typed("one ", 1)))
    settle(house)

    def fail(*_: Any, **__: Any) -> int:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(log, "append", fail)
        with pytest.raises(RuntimeError):
            hand.keep(draft, (ana, typed("lost ", 2)))
    kept = hand.keep(draft, (ana, typed("two ", 3)))
    assert sorted(hand.text(draft).split()) == ["one", "two"]
    assert kept.head == 2


def test_a_document_open_elsewhere_catches_up_by_number(
    house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    draft = begin(perform, ana, lab)
    here, elsewhere = Shelf(), Shelf()
    for number, shelf in enumerate((here, elsewhere, here, here, elsewhere), 1):
        house.provide(Shelf, shelf)
        kept = hand.keep(draft, (ana, typed(f"{number} ", number)))
        assert (kept.before, kept.head) == (number - 1, number)
        settle(house)
    assert sorted(hand.text(draft).split()) == ["1", "2", "3", "4", "5"]


# Versions


def test_a_version_is_kept_and_gone_back_to_by_one_more_edit(
    house: House, bus: MemoryBus, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    draft = begin(perform, ana, lab, "the first text")
    version = perform(ana, "draft_version", draft=draft, name="As sent")
    assert (version["number"], version["name"], version["sequence"]) == (1, "As sent", 1)
    assert version["sha256"] == rules.digest("the first text")
    hand.keep(draft, (ana, typed("scribbled over ", 2)))
    assert hand.text(draft) != "the first text"
    after = perform(ana, "draft_restore", draft=draft, version=1)
    assert (after["sequence"], hand.text(draft)) == (3, "the first text")
    settle(house)
    assert ("session:" + lab, {"kind": "draft", "draft": draft, "sequence": 3}) in bus.published
    again = perform(ana, "draft_restore", draft=draft, version=1)
    assert again["sequence"] == 3
    with house.scope(ana) as scope:
        assert views.version(scope, draft, 1).text == "the first text"
        assert [row.number for row in views.versions(scope, draft)] == [1]
        with pytest.raises(NotFound):
            views.version(scope, draft, 2)
    with pytest.raises(NotFound):
        perform(ana, "draft_restore", draft=draft, version=2)


def test_a_version_outlives_the_folding_of_the_log(
    monkeypatch: pytest.MonkeyPatch, house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    monkeypatch.setattr(rules, "FOLD_UPDATES", 3)
    draft = begin(perform, ana, lab, "first")
    perform(ana, "draft_version", draft=draft, name="v")
    writer = Writer(1)
    for _ in range(7):
        hand.keep(draft, (ana, writer.edit(0, 0, "more ")))
    assert rows(house, draft_checkpoints) == 1
    perform(ana, "draft_restore", draft=draft, version=1)
    assert hand.text(draft) == "first"


def test_each_action_on_a_draft_is_one_ledger_line(house: House, perform: Perform, ana: Actor, lab: str) -> None:
    draft = begin(perform, ana, lab, "text")
    for action, more in (
        ("draft_rename", {"name": "Other"}),
        ("draft_version", {"name": "v"}),
        ("draft_restore", {"version": 1}),
        ("draft_remove", {}),
    ):
        lines = rows(house, pending)
        perform(ana, action, draft=draft, **more)
        assert rows(house, pending) == lines + 1


def test_a_removed_draft_is_gone_with_all_that_was_in_it(
    house: House, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    draft = begin(perform, ana, lab, "text")
    perform(ana, "draft_version", draft=draft, name="v")
    perform(ana, "draft_remove", draft=draft)
    assert [rows(house, table) for table in (draft_updates, draft_checkpoints, draft_versions)] == [0, 0, 0]
    with pytest.raises(NotFound):
        hand.keep(draft, (ana, typed("x", 1)))
    for action in ("draft_remove", "draft_restore"):
        with pytest.raises(NotFound):
            perform(ana, action, draft=draft, **({"version": 1} if action == "draft_restore" else {}))
    with house.scope(ana) as scope, pytest.raises(NotFound):
        views.draft(scope, draft)


def test_a_draft_becomes_an_entry_that_says_which_version_it_came_from(
    house: House, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    draft = begin(perform, ana, lab, "# Plan\n\nMeasure again.")
    version = perform(ana, "draft_version", draft=draft, name="Entry")
    text = {"title": "Plan", "content": "# Plan\n\nMeasure again."}
    entry = perform(ana, "lab_notebook", session_id=lab, entry={**text, "draft_version": version["id"]})
    with house.scope(ana) as scope:
        assert notebook.entry(scope, entry["entry"]).draft_version == version["id"]
    perform(ana, "lab_notebook", session_id=lab, entry=text)
    other = perform(ana, "session_create", name="other")["session"]
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "lab_notebook", session_id=other, entry={**text, "draft_version": version["id"]})
    assert caught.value.path == "$.params.entry.draft_version"
    theirs = perform(ben, "session_create", name="theirs")["session"]
    with pytest.raises(NotFound):
        perform(ben, "lab_notebook", session_id=theirs, entry={**text, "draft_version": version["id"]})


def test_the_draft_changed_last_stands_foremost(
    house: House, clock: Any, perform: Perform, ana: Actor, lab: str, hand: Hand
) -> None:
    first, second = begin(perform, ana, lab), begin(perform, ana, lab)
    clock.advance(60)
    hand.keep(first, (ana, typed("x", 1)))
    with house.scope(ana) as scope:
        assert [row.id for row in views.session_drafts(scope, lab)] == [first, second]
