"""`draft ...` in the shell against a real hub: begun, kept, gone back to, renamed, removed; what is refused."""

from pathlib import Path

import pytest

from bot.problems import CONFLICT, INVALID, NOT_ALLOWED, NOT_FOUND, USAGE
from hub.core.context import Actor
from tests.bot.conftest import Collegium
from tests.conftest import Perform


def test_a_draft_is_begun_read_kept_and_gone_back_to(collegium: Collegium, lab: str) -> None:
    assert collegium("draft", "list", "-s", "lab").lines == ["lab: 0 drafts."]
    begun = collegium("draft", "create", "Plan", "--text", "one line", "-s", "lab")
    assert begun.lines[0] == "draft 1 “Plan” is begun; the room is where it is written together"
    draft = collegium("draft", "show", "1", "-s", "lab", "--json").json
    assert draft["ref"] == "ana/lab#d1" and draft["text"] == "one line"
    assert begun.lines[-1] == f"page: {draft['url']}" and draft["url"].endswith(f"/s/ana/lab?look=draft:{draft['id']}")
    kept = collegium("draft", "version", "d1", "sent to Ben", "-s", "lab")
    assert kept.lines[0] == "It is kept as version 1 “sent to Ben”."
    shown = collegium("draft", "show", "plan", "-s", "lab")
    assert shown.lines[0] == "draft 1 “Plan”, 1 version" and "one line" in shown.lines
    assert any(line.startswith("version 1 “sent to Ben”, kept by Ana at ") for line in shown.lines)
    assert collegium("draft", "show", "ana/lab#d1", "--version", "1").lines[-1] == "one line"
    again = collegium("draft", "restore", "ana/lab#d1", "1")
    assert again.lines[0] == "draft 1 “Plan” has the text of version 1 again"


def test_the_names_people_give_a_draft_all_lead_to_it(collegium: Collegium, lab: str) -> None:
    draft = collegium("draft", "create", "Plan for June", "-s", "lab", "--json").json["id"]
    for name in (
        "1",
        "#1",
        "d1",
        "D1",
        "#d1",
        "draft 1",
        "plan for june",
        "ana/lab#d1",
        "ana/lab#1",
        "lab#draft1",
        draft,
    ):
        assert collegium("draft", "show", name, "-s", "lab", "--json").json["id"] == draft, name
    collegium("draft", "show", "1", code=NOT_FOUND)  # in Ana's own session there is none


def test_a_file_that_is_here_begins_a_draft(collegium: Collegium, here: Path, lab: str) -> None:
    (here / "the_plan.md").write_text("# Plan\n\nMeasure again.\n")
    (here / "bare_notes.txt").write_text("no heading\n")
    collegium("draft", "create", "the_plan.md", "-s", "lab")
    collegium("draft", "create", "bare_notes.txt", "-s", "lab")
    collegium("draft", "create", "other.md", "--text", "written out", "-s", "lab")
    found = [collegium("draft", "show", str(number), "-s", "lab", "--json").json for number in (1, 2, 3)]
    assert [(one["name"], one["text"]) for one in found] == [
        ("Plan", "Measure again.\n"),
        ("bare notes", "no heading\n"),
        ("other.md", "written out"),
    ]
    assert "`draft create the_plan.md`" in collegium("draft", "create", "teh_plan.md", code=NOT_FOUND).err


def test_a_draft_is_renamed_and_removed_only_when_it_is_meant(collegium: Collegium, lab: str) -> None:
    collegium("draft", "create", "Plan", "-s", "lab")
    collegium("draft", "version", "1", "first", "-s", "lab")
    assert collegium("draft", "rename", "Plan", "Plan B", "-s", "lab").lines[0] == "draft 1 is called “Plan B” now"
    asked = collegium("draft", "remove", "plan b", "-s", "lab", code=USAGE)
    assert "nothing is done yet" in asked.err and "draft remove 'plan b' --session lab --yes" in asked.err
    assert len(collegium("draft", "list", "-s", "lab", "--json").json) == 1
    gone = collegium("draft", "remove", "plan b", "-s", "lab", "--yes")
    assert gone.lines == ["draft 1 “Plan B” is deleted with 1 version"]
    for command in (
        ("show", "1"),
        ("version", "1", "x"),
        ("restore", "1", "1"),
        ("rename", "1", "x"),
        ("remove", "1", "--yes"),
    ):
        collegium("draft", *command, "-s", "lab", code=NOT_FOUND)


def test_what_a_new_user_gets_wrong_is_said_in_words(collegium: Collegium, lab: str) -> None:
    collegium("draft", "create", "Plan", "-s", "lab")
    assert "Did you mean `Plan`?" in collegium("draft", "show", "Plna", "-s", "lab", code=NOT_FOUND).err
    assert "no draft called “”" in collegium("draft", "show", "", "-s", "lab", code=NOT_FOUND).err
    assert "has no version 7" in collegium("draft", "show", "1", "--version", "7", "-s", "lab", code=NOT_FOUND).err
    assert "must be from 1" in collegium("draft", "show", "1", "--version", "0", "-s", "lab", code=INVALID).err
    assert "has no version 7" in collegium("draft", "restore", "1", "7", "-s", "lab", code=NOT_FOUND).err
    assert "Where: VERSION" in collegium("draft", "restore", "1", "--session", "lab", "--", "-7", code=INVALID).err
    assert "VERSION" in collegium("draft", "restore", "1", "first", "-s", "lab", code=USAGE).err
    assert "Where: NAME" in collegium("draft", "rename", "1", " ", "-s", "lab", code=INVALID).err
    assert "Where: NAME" in collegium("draft", "create", "x" * 301, "-s", "lab", code=INVALID).err
    collegium("draft", "create", "Plan", "-s", "lab")
    twice = collegium("draft", "show", "plan", "-s", "lab", code=CONFLICT).err
    assert "2 drafts called “plan”" in twice and "Say which by its number: 2 and 1." in twice
    for odd in ("../x", "a/b#d1", "#", "draft_00000000000000000000000000", "\u202e", "1" * 30, "ana/lab#d999999999"):
        collegium("draft", "show", odd, "-s", "lab", code=NOT_FOUND)


def test_who_only_reads_reads_drafts_and_changes_none(
    collegium: Collegium, perform: Perform, ana: Actor, ben: Actor, lab: str
) -> None:
    collegium("draft", "create", "Plan", "--text", "text", "-s", "lab")
    collegium("draft", "create", "His", "-s", "ana/lab", by=ben)
    perform(ana, "grant_change", session_id=lab, participant="ben", role="read")
    assert "text" in collegium("draft", "show", "Plan", "-s", "ana/lab", by=ben).lines
    for command in (
        ("create", "x"),
        ("version", "1", "x"),
        ("restore", "1", "1"),
        ("rename", "2", "x"),
        ("remove", "2", "--yes"),
    ):
        collegium("draft", *command, "-s", "ana/lab", by=ben, code=NOT_ALLOWED)


@pytest.mark.parametrize("command", ["show", "version", "restore", "rename", "remove"])
def test_a_strangers_draft_does_not_exist(collegium: Collegium, ben: Actor, command: str) -> None:
    draft = collegium("draft", "create", "Plan", "--json").json["id"]
    rest = {"version": ["x"], "restore": ["1"], "rename": ["x"], "remove": ["--yes"]}.get(command, [])
    for name in (draft, "ana/personal#d1", "d1"):
        collegium("draft", command, name, *rest, by=ben, code=NOT_FOUND)
