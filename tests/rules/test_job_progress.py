"""Progress is read from what programs really print, and never from what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import progress
from hub.jobs.progress import Seen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loading\n 45%|####5     | 45/100 [00:10<00:12,  4.50it/s]", Seen(0.45, 45, 100)),
        ("10%\r20%\r30%\r", Seen(0.3)),
        ("step 3 of 12\n", Seen(0.25, 3, 12)),
        ("fit 7/20 done\n", Seen(0.35, 7, 20)),
        ("Progress: 12.5 %", Seen(0.125)),
        ("100%\n", Seen(1.0)),
        ("sample 4/8\nsaved figure.png\n", Seen(0.5, 4, 8)),
        ("2024/01/15 written to a/1/2/b.csv\n", None),
        ("error 130% too large", None),
        ("ratio 5/0 and 9/4", None),
        ("v1.2/3.4 10.0.0.1/24", None),
        ("", None),
    ],
)
def test_progress_is_read_from_the_last_line_that_shows_it(text: str, expected: Seen | None) -> None:
    assert progress.read(text.encode()) == expected


@given(st.binary(max_size=9000))
def test_no_bytes_break_the_reading(tail: bytes) -> None:
    seen = progress.read(tail)
    assert seen is None or 0 <= seen.fraction <= 1


def test_the_rate_and_the_rest_come_from_two_readings() -> None:
    first = progress.follow(None, Seen(0.1), 100.0)
    assert first.remaining_seconds is None
    later = progress.follow(first, Seen(0.5), 140.0)
    assert later.rate == pytest.approx(0.01)
    assert later.remaining_seconds == pytest.approx(50)


def test_a_bar_that_starts_anew_begins_a_new_climb() -> None:
    climbed = progress.follow(progress.follow(None, Seen(0.2), 0), Seen(0.9), 10)
    anew = progress.follow(climbed, Seen(0.1), 20)
    assert (anew.first_at, anew.remaining_seconds) == (20, None)
