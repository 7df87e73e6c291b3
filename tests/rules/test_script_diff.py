"""What changed in a script, never more than a person reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.jobs.script_diff import READ_BYTES, READ_LINES, SHOWN_CHARACTERS, SHOWN_LINES, unified


def test_a_changed_line_stands_beside_what_it_was() -> None:
    assert unified(b"a\nb\nc\n", b"a\nB\nc\n", "fit.py@1", "fit.py@2").split("\n") == [
        "--- fit.py@1", "+++ fit.py@2", "@@ -1,3 +1,3 @@", " a", "-b", "+B", " c",
    ]  # fmt: skip


def test_bytes_that_are_no_text_are_said_to_be_none() -> None:
    assert unified(b"\x7fELF\0", b"print(1)\n", "a", "b") == "(not text: 5 bytes before, 9 now)"
    assert unified(b"\xff\xfe", b"x", "a", "b") == "(not text: 2 bytes before, 1 now)"


def test_other_line_ends_are_a_change_that_is_told() -> None:
    assert unified(b"a\r\n", b"a\n", "a", "b") == "(the same lines, with other line ends: 3 bytes before, 2 now)"


def test_what_is_too_large_is_told_by_its_size() -> None:
    assert unified(b"x" * (READ_BYTES + 1), b"", "a", "b").startswith("(too large to be compared here: 131,073")
    assert unified(b"x\n" * (READ_LINES + 1), b"", "a", "b").startswith("(too long to be compared here: ")


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_whatever_the_bytes_a_diff_is_text_of_a_bounded_length(before: bytes, after: bytes) -> None:
    unified(before, after, "a", "b").encode()


def test_a_long_diff_breaks_off_and_says_so() -> None:
    before = "\n".join(f"old {n}" for n in range(READ_LINES)).encode()
    after = "\n".join(f"new {n}" for n in range(READ_LINES)).encode()
    lines = unified(before, after, "a", "b").split("\n")
    assert len(lines) == SHOWN_LINES + 1 and lines[-1] == "... and more, which is not shown here"
    wide = unified(b"x" * 50_000, b"y" * 50_000, "a", "b")
    assert len(wide) < SHOWN_CHARACTERS + 100 and wide.endswith("... and more, which is not shown here")
