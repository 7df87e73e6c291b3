"""What an update of a draft is, what it stands on, and when a checkpoint may take the place of a log."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, merge_updates

from hub.rooms.drafts import rules
from hub.rooms.drafts.document import Document, SpoiltError, joined
from hub.rooms.drafts.rules import NotAnUpdateError

TEXTS = st.text(st.sampled_from("ab é\n😀字"), max_size=6)
# (who, where, how much is taken away, what is put in)
EDITS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 5), TEXTS), max_size=25)


class Writer:
    """Somebody's editor: a library's document and the updates it made."""

    def __init__(self, client: int | None = None) -> None:
        self.doc: Doc[Text] = Doc(client_id=client)
        self.text = self.doc.get("text", type=Text)
        self.made: list[bytes] = []
        self._mine = False
        self._observing = self.doc.observe(lambda event: self.made.append(event.update) if self._mine else None)

    def edit(self, where: int, less: int, more: str) -> bytes:
        """Replace characters, and answer with the update."""
        before = str(self.text)
        where = min(where, len(before))
        at, end = len(before[:where].encode()), len(before[: where + less].encode())
        made = len(self.made)
        self._mine = True
        with self.doc.transaction():
            if end > at:
                del self.text[at:end]
            if more:
                self.text.insert(at, more)
        self._mine = False
        return joined(self.made[made:])

    def hear(self, update: bytes) -> None:
        self.doc.apply_update(update)


def typed(text: str, client: int = 7) -> bytes:
    return Writer(client).edit(0, 0, text)


def test_the_outline_of_an_update_says_what_it_holds_and_what_it_needs() -> None:
    writer = Writer(7)
    first, second, third = writer.edit(0, 0, "añ😀"), writer.edit(1, 1, ""), writer.edit(1, 0, "x")
    assert rules.read_update(first).spans == {7: (0, 4)}
    assert rules.read_update(first).needs == {}
    assert rules.read_update(second).spans == {}
    assert rules.read_update(second).needs == {7: 2}
    assert rules.read_update(third).spans == {7: (4, 5)}
    assert rules.is_missing(rules.read_update(third), {})
    assert rules.is_missing(rules.read_update(second), {7: 1})
    assert not rules.is_missing(rules.read_update(third), {7: 4})
    assert rules.read_update(b"\x00\x00").is_empty


@given(EDITS)
def test_every_update_the_library_makes_is_read_and_says_exactly_how_far_it_comes(
    edits: list[tuple[int, int, int, str]],
) -> None:
    writers = [Writer(client) for client in (1, 2, 3, 4)]
    state: dict[int, int] = {}
    made = []
    for who, where, less, more in edits:
        if update := writers[who].edit(where, less, more):
            outline = rules.read_update(update)
            assert not rules.is_missing(outline, state)
            state = rules.covered(outline, state)
            made.append(update)
            for other in writers:
                other.hear(update)
    assert state == rules.read_state(writers[0].doc.get_state())
    for whole in (writers[0].doc.get_update(), *([merge_updates(*made)] if made else [])):
        assert rules.covered(rules.read_update(whole), {}) == state
        assert not rules.is_missing(rules.read_update(whole), {})


def _of(kind: type, value: object, name: str = "text") -> bytes:
    doc: Doc[object] = Doc()
    doc[name] = kind(value)
    return doc.get_update()


FORMATTED = Writer(5)
FORMATTED.edit(0, 0, "bold")
FORMATTED.text.format(0, 4, {"bold": True})


@pytest.mark.parametrize(
    "update",
    [
        b"",
        b"\x00",
        b"\xff" * 40,
        b"\x01" * 30,
        typed("hello")[:-1],
        typed("hello") + b"\x00",
        _of(Array, [1]),
        _of(Map, {"a": 1}),
        _of(Text, "hello", "another"),
        FORMATTED.doc.get_update(),
        # A million deleted marks in nine bytes are no crime; two billion are more than a clock holds.
        b"\x01\x01\x07\x00\x00\xff\xff\xff\xff\x7f\x00",
        # A client that stands in it twice.
        b"\x02\x01\x07\x00\x04\x01\x04text\x01a\x01\x07\x00\x04\x01\x04text\x01b\x00",
        # A text that is not UTF-8.
        b"\x01\x01\x07\x00\x04\x01\x04text\x01\xff\x00",
        # Nothing, as a piece.
        b"\x01\x01\x07\x00\x04\x01\x04text\x00\x00",
    ],
    # Some are of a client that draws a number of its own: every worker of a run is to find the same names.
    ids=itertools.count(),
)
def test_what_is_no_update_of_a_text_is_refused(update: bytes) -> None:
    with pytest.raises(NotAnUpdateError):
        rules.read_update(update)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (rules.read_update, rules.read_state):
        try:
            read(data)
        except NotAnUpdateError:
            continue


@given(st.data())
def test_a_damaged_update_is_refused_or_harmless(data: st.DataObject) -> None:
    sound = typed("a text of some length", 300)
    at = data.draw(st.integers(0, len(sound) - 1))
    damaged = sound[:at] + data.draw(st.binary(max_size=3)) + sound[at + data.draw(st.integers(0, 3)) :]
    try:
        outline = rules.read_update(damaged)
    except NotAnUpdateError:
        return
    if rules.is_missing(outline, {}):
        return
    document = Document()
    try:
        document.apply(damaged, outline)
    except SpoiltError:
        return
    assert document.state() == rules.covered(outline, {})


@given(EDITS)
def test_a_document_made_of_a_checkpoint_is_the_one_made_of_the_log(edits: list[tuple[int, int, int, str]]) -> None:
    writers = [Writer(client) for client in (1, 2, 3, 4)]
    made: list[bytes] = []
    for at, (who, where, less, more) in enumerate(edits):
        if update := writers[who].edit(where, less, more):
            made.append(update)
        if at % 3 == 0:  # In between they do not hear each other: that is what the library is for.
            for writer in writers:
                for each in made:
                    writer.hear(each)
    log, folded, merged = Document(), Document(), Document()
    for update in made:
        log.take(update)
    folded.take(log.whole())
    if made:
        merged.take(joined(made))
    for writer in writers:
        for each in made:
            writer.hear(each)
    assert {log.text(), folded.text(), merged.text(), *(str(writer.text) for writer in writers)} == {log.text()}
    assert log.state() == folded.state() == merged.state()
    needed: dict[int, int] = {}
    for update in made:
        needed = rules.covered(rules.read_update(update), needed)
    assert rules.is_sound(log.text(), folded.text(), needed, folded.state(), had_pieces=bool(made))


@given(EDITS)
def test_what_was_applied_before_changes_nothing(edits: list[tuple[int, int, int, str]]) -> None:
    writer, document = Writer(1), Document()
    made = [update for _, where, less, more in edits if (update := writer.edit(where, less, more))]
    for update in made:
        document.take(update)
    before = (document.text(), document.state())
    for update in (*made, document.whole()):
        assert document.apply(update, rules.read_update(update)) == b""
    assert (document.text(), document.state()) == before


@given(TEXTS, TEXTS, TEXTS)
def test_becoming_a_text_is_one_edit_that_others_follow(before: str, middle: str, after: str) -> None:
    document, other = Document(), Document()
    for text in (before, before + middle + after, before + after, ""):
        if edit := document.become(text):
            other.take(edit)
        assert document.text() == other.text() == text
    assert document.become("") == b""


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("", "", (0, 0, "")),
        ("abc", "abc", (3, 0, "")),
        ("abc", "abXc", (2, 0, "X")),
        ("aaa", "aa", (2, 1, "")),
        ("old", "new", (0, 3, "new")),
        ("x😀y", "x😁y", (1, 1, "😁")),
    ],
)
def test_a_change_is_the_smallest_replacement(before: str, after: str, wanted: tuple[int, int, str]) -> None:
    assert rules.change(before, after) == wanted


def test_a_checkpoint_that_lacks_anything_is_not_sound() -> None:
    assert rules.is_sound("a", "a", {1: 1}, {1: 1}, had_pieces=True)
    assert not rules.is_sound("a", "b", {1: 1}, {1: 1}, had_pieces=True)
    assert not rules.is_sound("a", "a", {1: 2}, {1: 1}, had_pieces=True)
    assert not rules.is_sound("a", "a", {1: 1, 2: 1}, {1: 1}, had_pieces=True)
    assert not rules.is_sound("", "", {}, {}, had_pieces=True)
    assert rules.is_sound("", "", {}, {}, had_pieces=False)


def test_a_log_is_folded_at_five_hundred_updates_or_a_quarter_of_a_mebibyte() -> None:
    assert not rules.is_long(499, 256 * 1024 - 1)
    assert rules.is_long(500, 0)
    assert rules.is_long(1, 256 * 1024)


def test_names_are_one_line_and_say_something() -> None:
    assert rules.clean_name("  Plan\nfor\tMonday \u202e") == "Plan for Monday"
    assert not rules.is_name(rules.clean_name(" \n\u2066"))
    assert not rules.is_name("x" * 301)
    assert rules.clean_text("a\r\nb\rc\x00\u2028d\te") == "a\nb\nc\nd\te"
