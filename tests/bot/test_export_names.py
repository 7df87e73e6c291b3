"""File names from what people called things: inside the folder, on every system, and the same in the next run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.export.names import NAME_BYTES, Names, safe


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("levels.csv", "levels.csv"),
        ("Energie-Ebenen ħω.csv", "Energie-Ebenen ħω.csv"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("a\\..\\b", "a_.._b"),
        ("C:evil", "C_evil"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("aux .txt", "_aux .txt"),
        ("ends with dot.", "ends with dot"),
        ("new\nline", "new_line"),
        ("gpj.\u202eexe", "gpj._exe"),
        ("\ud800", "_"),
        (".bashrc", ".bashrc"),
        ("what?*<>|", "what_____"),
    ],
)
def test_a_name_keeps_what_every_system_allows(called: str, name: str) -> None:
    assert safe(called) == name


@given(st.text(max_size=300))
def test_no_name_leaves_its_folder_or_is_too_long(called: str) -> None:
    name = safe(called)
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert len(name.encode()) <= NAME_BYTES + 1
    assert not name.endswith((".", " "))


@given(st.lists(st.text("aA./ \\é\u0301é", min_size=1, max_size=8), max_size=20, unique=True))
def test_no_two_files_share_a_path_even_where_case_does_not_count(called: list[str]) -> None:
    names = Names()
    paths = [names.file("root", name, f"id{number}") for number, name in enumerate(called)]
    assert len({path.casefold() for path in paths}) == len(called)
    folders = {path.rpartition("/")[0].casefold() for path in paths}
    assert not folders & {path.casefold() for path in paths}, "a file would stand where a folder must"
    assert all(path.startswith("root/") and ".." not in path.split("/") for path in paths)


def test_the_next_run_gives_the_same_names_whatever_was_added() -> None:
    first = Names()
    given_before = {what: first.file("root", what, what) for what in ("data.csv", "sub/x", "Sub/y")}
    later = Names(first.folders, first.files)
    assert later.file("root", "Data.csv", "Data.csv") == "root/Data~2.csv"
    assert {what: later.file("root", what, what) for what in given_before} == given_before
