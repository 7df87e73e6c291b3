"""Numbers as people say them."""

from datetime import UTC, datetime, timedelta

import pytest

from bot import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "0 s"), (0, "0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (52, "52 s"), (59.7, "1 min"), (60, "1 min"),
        (372, "6 min 12 s"), (3600, "1 h"), (7499, "2 h 4 min"), (86400 * 3 + 4 * 3600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1434, "1.4 KiB"),
        (2 << 30, "2 GiB"),
        (150 << 20, "150 MiB"),
        (5 << 60, "5120 PiB"),
    ],
)
def test_sizes(size: int, said: str) -> None:
    assert words.size(size) == said


@pytest.mark.parametrize(
    ("fraction", "said"), [(0, "0 %"), (0.64, "64 %"), (0.999, "99 %"), (1, "100 %"), (1.3, "100 %"), (-1, "0 %")]
)
def test_a_bar_is_full_only_at_the_end(fraction: float, said: str) -> None:
    assert words.percent(fraction) == said


def test_counts_and_lists() -> None:
    assert words.counted(1, "entry", "entries") == "1 entry"
    assert words.counted(2000, "entry", "entries") == "2,000 entries"
    assert words.listed([]) == ""
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"


def test_a_moment_of_another_day_has_its_date() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert words.moment(now, now) == now.astimezone().strftime("%H:%M:%S")
    assert words.moment(now - timedelta(days=2), now).startswith("2026-11-20 ")
