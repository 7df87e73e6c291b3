"""Which files come back, by pure choice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core import limits
from hub.jobs.outputs import Found, Given, choose, is_declared, is_ignored

paths = st.lists(st.sampled_from(["a.txt", "b/c.csv", "b/d.csv", "core", ".git/x", "e.pyc"]), unique=True)


@given(paths, st.lists(st.sampled_from(["a.txt", "b/", "*.csv", "no.h5"]), unique=True))
def test_every_file_is_stored_referred_to_ignored_or_was_not_asked_for(names: list[str], declared: list[str]) -> None:
    files = [Found(name, 10, 1) for name in names]
    choice = choose(files, {}, declared)
    stored = {file.path for file in choice.store}
    if declared:
        assert stored == {name for name in names if any(is_declared(name, each) for each in declared)}
        assert set(choice.missing) == {each for each in declared if not any(is_declared(n, each) for n in names)}
    else:
        assert stored == {name for name in names if not is_ignored(name)}
        assert choice.ignored == len(names) - len(stored)


def test_an_input_that_was_not_written_to_does_not_come_back() -> None:
    before = {"a.txt": Given("d", 10, 5)}
    assert choose([Found("a.txt", 10, 5)], before, []).store == []
    assert choose([Found("a.txt", 10, 6)], before, []).store == [Found("a.txt", 10, 6)]


def test_small_files_come_first_when_not_all_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COLLECT_BYTES", 100)
    choice = choose([Found("big", 90, 1), Found("s1", 20, 1), Found("s2", 30, 1)], {}, [])
    assert [file.path for file in choice.store] == ["s1", "s2"]
    assert [file.path for file in choice.refer] == ["big"]


def test_what_is_to_be_fetched_comes_however_large_and_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "COLLECT_FILE_BYTES", 50)
    monkeypatch.setattr(limits, "COLLECT_BYTES", 100)
    monkeypatch.setattr(limits, "COLLECT_ASKED_BYTES", 1000)
    sizes = {"r/big.h5": 900, "r/more.h5": 80, "huge.h5": 2000, "large": 60, "s1": 50, "s2": 50, "s3": 50, ".git/x": 10}
    choice = choose([Found(name, size, 1) for name, size in sizes.items()], {}, [], ["r/", "*.h5", ".git/", "none"])
    assert {file.path for file in choice.store} == {"r/big.h5", "r/more.h5", ".git/x", "s1", "s2"}
    assert {file.path for file in choice.refer} == {"huge.h5", "large", "s3"}
    assert (choice.missing, choice.ignored) == (["none"], 0)
    monkeypatch.setattr(limits, "COLLECT_FILES", 1)
    assert [file.path for file in choose([Found("a", 1, 1), Found("z", 9, 1)], {}, [], ["z"]).store] == ["z"]


def test_what_is_to_be_fetched_comes_beside_what_is_declared() -> None:
    files = [Found("a.csv", 1, 1), Found("b.h5", 1, 1), Found("c.txt", 1, 1)]
    choice = choose(files, {}, ["*.csv"], ["b.h5"])
    assert ([file.path for file in choice.store], choice.missing) == (["a.csv", "b.h5"], [])


@pytest.mark.parametrize(
    ("path", "pattern", "expected"),
    [
        ("r/a.png", "r/", True), ("r/a.png", "*.png", True), ("r/a.png", "r/*.png", True), ("r/a.png", "a.png", True),
        ("r/a.png", "x/*.png", False), ("ra.png", "r/", False), ("r/[1].png", "r/[1].png", True),
    ],
)  # fmt: skip
def test_outputs_are_named_by_path_folder_or_pattern(path: str, pattern: str, expected: bool) -> None:
    assert is_declared(path, pattern) is expected
