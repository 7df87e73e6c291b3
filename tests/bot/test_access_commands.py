"""`who`, `explain`, and what a shell does to a session as a whole, against the real web application."""

from __future__ import annotations

import re

from bot.problems import CONFLICT, INVALID, NOT_ALLOWED, NOT_FOUND, USAGE
from hub.core.context import Actor
from tests.bot.conftest import Collegium
from tests.conftest import Perform


def test_who_says_everybody_and_by_what(collegium: Collegium, lab: str, ben: Actor, operator: Actor) -> None:
    made = collegium("share", "create", "lab", "--label", "Seminar", "--passphrase", "blue kettle", "--uses", "3")
    assert "/l/clgl_" in made.out and "kettle" not in made.out
    told = collegium("who", "ana/lab").out
    assert told.startswith("ana/lab: 2 people, 1 open link.")
    assert "Ben (ben): read_write, invited by Ana" in told and "Ana (ana): owner, owner" in told
    assert re.search(r"link “Seminar”: read, made by Ana, used 0 times, 3 uses left, with a passphrase, until", told)
    assert "Operators: Olga." in told and "sign-in link" in told
    seen = collegium("who", "ana/lab", "--json", by=ben).json
    assert (seen["links"], seen["links_open"]) == (None, 1)
    collegium("who", "ana/lab", by=operator, code=NOT_FOUND)
    assert collegium("who").lines[0].startswith("ana/personal: 1 person")


def test_explain_says_yes_or_no_and_what_would_change_it(collegium: Collegium, lab: str, ben: Actor) -> None:
    assert collegium("explain", "ben", "job_submit", "ana/lab").lines[0] == (
        "ben may job_submit: read_write in its session."
    )
    refused = collegium("explain", "ben", "link_create", "ana/lab").lines
    assert refused[0] == "ben may not link_create: link:create is not given to the role read_write."
    assert "would change: one of the roles admin" in refused
    assert "told: as if it did not exist" in collegium("explain", "anyone", "entry:read", "ana/lab").lines
    collegium("explain", "ana", "entry:read", "ana/lab", by=ben, code=NOT_ALLOWED)
    collegium("explain", "ben", "dance", "ana/lab", code=INVALID)
    collegium("explain", "ben", "entry:read", "ana/nothing", code=NOT_FOUND)


def test_a_session_is_changed_handed_over_and_left(collegium: Collegium, lab: str, ben: Actor) -> None:
    changed = collegium("session", "change", "lab", "--title", "The lab", "--chat-detail", "names")
    assert changed.lines[0] == "ana/lab is changed." and "chat detail: names" in changed.lines
    collegium("session", "change", "lab", code=USAGE)
    switched = collegium("session", "change", "lab", "--voice", "--screens", "--no-private")
    assert "room: cursors, voice, screens" in switched.lines
    assert "room: cursors, screens" in collegium("session", "change", "lab", "--no-voice").lines
    collegium("session", "hand-over", "ana/lab", "ben", code=NOT_ALLOWED)
    assert collegium("share", "change", "ben", "admin", "-s", "lab").lines[0] == "ben has the role admin in lab now."
    collegium("session", "create", "lab", by=ben)
    collegium("session", "hand-over", "ana/lab", "ben", code=CONFLICT)
    handed = collegium("session", "hand-over", "ana/lab", "ben", "--as", "lab2")
    assert "is called ben/lab2" in handed.lines[0]
    link = collegium("share", "create", "ben/lab2", "--json").json["link"]
    left = collegium("session", "leave", "ben/lab2").lines[0]
    assert left == "You do not take part in ben/lab2 any more. 1 link of yours ended with that."
    assert f"{link}: read, revoked" in collegium("share", "list", "lab2", by=ben).out
    collegium("session", "leave", "ben/lab2", code=NOT_FOUND)
    collegium("session", "leave", "ben/lab2", by=ben, code=NOT_ALLOWED)


def test_who_is_removed_but_came_by_an_open_link_is_said_to_be_able_to_return(
    collegium: Collegium, lab: str, ana: Actor, ben: Actor, perform: Perform
) -> None:
    made = perform(ana, "link_create", session_id=lab)
    perform(ben, "link_open", secret=made["secret"])
    gone = collegium("share", "revoke", "ben", "-s", "lab").lines[0]
    assert gone == (
        f"ben has no role in lab any more. They came by {made['link']}, still open: revoke that too to keep them out."
    )
