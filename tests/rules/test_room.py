"""What a message is."""

from hypothesis import given
from hypothesis import strategies as st

from hub.rooms import rules


def test_line_endings_are_one_kind_and_blanks_around_are_gone() -> None:
    assert rules.clean_text("  a\r\nb\rc\td \n") == "a\nb\nc\td"


def test_control_characters_and_direction_overrides_do_not_reach_a_screen() -> None:
    assert rules.clean_text("2886\x1b[31m \u202e6882\u202c\x00\x7f") == "2886[31m 6882"


def test_markup_is_text() -> None:
    assert rules.clean_text("<script>alert(1)</script>") == "<script>alert(1)</script>"


@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    once = rules.clean_text(text)
    assert rules.clean_text(once) == once


def test_a_message_says_something_and_is_not_too_long() -> None:
    assert not rules.is_sayable("", 10)
    assert rules.is_sayable("x" * 10, 10)
    assert not rules.is_sayable("x" * 11, 10)
