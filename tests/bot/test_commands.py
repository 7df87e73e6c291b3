"""Every command against the real web application: what the door sends is what the hub takes, and what it says is so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.problems import CONFLICT, INVALID, NOT_ALLOWED, NOT_FOUND
from hub.core.context import Actor
from hub.core.house import House
from hub.people import once
from hub.work.dispatcher import number_all
from tests.bot.conftest import Ran
from tests.conftest import NOW, Perform
from tests.jobs import run_steps

Collegium = Callable[..., Ran]


@pytest.fixture
def files(here: Path) -> Path:
    (here / "data").mkdir()
    (here / "data" / "lines.csv").write_text("line,wavenumber\nP1,2865.1\n")
    (here / "run.sh").write_text("wc -l < data/lines.csv > count.txt\necho done\n")
    (here / "report.md").write_text("# Band of HCl\n\nThe constant is $B = 10.59$.\n")
    return here


def test_whoami_and_the_sessions(collegium: Collegium) -> None:
    assert collegium("whoami").lines == [
        "You are Ana (ana), member of this hub.",
        "hub: https://hub.test",
        "session: ana/personal",
    ]
    assert collegium("session", "create", "hcl", "--title", "Hydrogen chloride").lines[0] == "Session ana/hcl is made."
    assert collegium("use", "hcl").lines[0] == "From now on commands mean ana/hcl, where you are owner."
    assert collegium("session", "list").lines == [
        "You take part in 2 sessions.",
        "ana/personal, you are owner, Ana's own",
        "ana/hcl, you are owner, Hydrogen chloride, in use",
    ]
    assert collegium("room", "open").lines == ["The room of ana/hcl.", "page: http://hub.test/s/ana/hcl"]
    assert "you have a session" in collegium("session", "create", "hcl", code=CONFLICT).err


def test_a_job_with_files_of_this_folder(collegium: Collegium, files: Path, house: House) -> None:
    ran = collegium(
        "job", "submit", "run.sh", "one", "two", "-i", "data/lines.csv", "-o", "count.txt", "-n", "count", "-t", "10",
        "-m", "500M", "-c", "2", "-e", "NAME=value", "--", "--flag",
    )  # fmt: skip
    assert ran.lines[0] == "job 1 “count” queued, Next in the queue"
    full = house_view(collegium, "job", "status", "1")
    assert full["state"] == "QUEUED" and full["asked"] == {
        "cpus": 2.0,
        "memory_bytes": 500 << 20,
        "wall_seconds": 600.0,
    }
    assert [one["path"] for one in collegium("artifact", "list", "--json").json["artifacts"]] == [
        "run.sh",
        "data/lines.csv",
    ]
    assert collegium("job", "list").lines == [
        "ana/personal: 1 job, 1 not over.",
        "job 1 “count” queued, Next in the queue",
    ]
    assert collegium("job", "cancel", "1").lines[0].startswith("job 1 “count” cancelled, Cancelled before it started")
    assert "has ended already" in collegium("job", "cancel", "1", code=CONFLICT).err
    run_steps(house)
    assert collegium("job", "logs", "1").out == ""


def house_view(collegium: Collegium, *words: str):  # type: ignore[no-untyped-def]
    return collegium(*words, "--json").json


def test_a_file_that_is_there_already_is_not_sent_again(collegium: Collegium, files: Path) -> None:
    for _ in range(2):
        collegium("job", "submit", "run.sh", "-i", "data/lines.csv")
    (files / "data" / "lines.csv").write_text("changed\n")
    collegium("job", "submit", "run.sh", "-i", "data/lines.csv")
    log = collegium("artifact", "log", "data/lines.csv", "--json").json
    assert [one["number"] for one in log["versions"]["artifacts"]] == [2, 1]
    assert len(collegium("artifact", "log", "run.sh", "--json").json["versions"]["artifacts"]) == 1


def test_what_is_not_here_is_a_path_in_the_session(collegium: Collegium, files: Path) -> None:
    collegium("artifact", "add", "run.sh")
    (files / "run.sh").unlink()
    assert collegium("job", "submit", "run.sh").lines[0].startswith("job 1 “run.sh”")
    missing = collegium("job", "submit", "#!/bin/sh", "-i", "a.csv", "-i", "b.csv", code=INVALID).err.splitlines()
    assert missing[1:4] == ["Where: --in", "- a.csv", "- b.csv"]


def test_a_script_written_out_is_sent_as_it_is(collegium: Collegium) -> None:
    assert collegium("job", "submit", "#!/bin/sh\r\necho 1\r\n").lines[0].startswith("job 1")
    assert collegium("job", "submit", "--type", "slurm", "true\n", code=8).err.splitlines()[1] == "Where: --type"


def test_artifacts_with_their_facts_and_where_they_come_from(collegium: Collegium, files: Path) -> None:
    added = collegium(
        "artifact", "add", "report.md", "--as", "out/report.md", "-m", "mass=1.5", "-m", "who=Ana",
        "--from", "data/lines.csv", "--alt", "a report",
    )  # fmt: skip
    digest = hashlib.sha256((files / "report.md").read_bytes()).hexdigest()
    assert f"sha256: {digest}" in added.lines
    assert collegium("artifact", "show", "out/report.md", "--json").json["metadata"] == {"mass": 1.5, "who": "Ana"}
    assert collegium("artifact", "describe", "out/report.md", "Two columns that rise").lines[0] == (
        "out/report.md is described: Two columns that rise"
    )
    assert collegium("artifact", "show", "out/report.md", "--json").json["alt"] == "Two columns that rise"
    assert collegium("artifact", "log", "out/report.md").lines[1].startswith("made from: data/lines.csv v1")
    assert collegium("artifact", "get", "out/report.md", "-o", "back.md").lines == [
        "Saved back.md, 44 B, digest verified."
    ]
    assert (files / "back.md").read_bytes() == (files / "report.md").read_bytes()
    assert "did you mean" in collegium("artifact", "add", "reprot.md", code=NOT_FOUND).err.lower()
    assert "--as" in collegium("artifact", "add", "report.md", "--as", "../x", code=INVALID).err


def test_an_entry_is_written_read_and_written_again(collegium: Collegium, files: Path) -> None:
    posted = collegium("note", "post", "report.md", "-a", "data/lines.csv", "--tool", "numpy 2", "--conclusions", "B.")
    assert posted.lines[0] == "entry 1 “Band of HCl”, version 1, not signed"
    collegium("note", "post", "--entry", "1", "--text", "Corrected.")
    again = collegium("note", "show", "n1", "--json").json
    assert (again["title"], again["content"], again["version"]) == ("Band of HCl", "Corrected.", 2)
    assert again["tools_used"] == ["numpy 2"] and again["conclusions"] == "B."
    assert [one["name"] for one in again["attachments"]] == ["data/lines.csv"]
    assert collegium("note", "list").lines[0] == "ana/personal: 1 entry."
    assert "attached: data/lines.csv" in collegium("note", "show", "1").lines
    assert "--attach" in collegium("note", "post", "T", "--text", "x", "-a", "no.csv", code=INVALID).err


def test_signing_needs_a_key_and_a_window_and_can_be_checked(
    collegium: Collegium, files: Path, house: House, ana: Actor
) -> None:
    collegium("note", "post", "T", "--text", "Text.")
    assert "neither" in collegium("note", "sign", "1", "--key", "lab", code=INVALID).err
    assert "held by hub" not in collegium("key", "list").out
    collegium("key", "create", "lab")
    assert "/me/signing" in collegium("note", "sign", "1", "-k", "lab", code=NOT_ALLOWED).err
    house.db.write(lambda tx: once.issue(tx, "code", "step_up", person=ana.id, expires_at=NOW.replace(year=2030)))
    assert collegium("window", "open", "code").lines[0].startswith("You can sign with lab until")
    assert "their own" in collegium("note", "sign", "1", "-k", "lab", "--meaning", "reviewed", code=NOT_ALLOWED).err
    signed = collegium("note", "sign", "1", "--key", "lab")
    assert signed.lines[0] == "entry 1 “T”, version 1, signed by Ana as author"
    assert (
        collegium("note", "post", "U", "--text", "Text.", "--sign", "lab").lines[0].endswith("signed by Ana as author")
    )
    assert "signed: Ana (author, hub-held key)" in collegium("note", "show", "1").lines
    assert "Verified: signed once" in collegium("verify", "1").lines[0]
    assert collegium("window", "close").lines == ["1 signing window closed."]
    collegium("key", "revoke", "lab")
    assert re.match(r"lab: revoked .*, held by hub, SHA256:", collegium("key", "list").lines[1])
    number_all(house, "test")
    assert re.match(r"The ledger holds: \d+ lines\.", collegium("verify").lines[0])


def test_sharing_with_people_and_by_link(collegium: Collegium, perform: Perform, ben: Actor) -> None:
    collegium("session", "create", "hcl")
    collegium("session", "show", "ana/hcl", by=ben, code=NOT_FOUND)
    shared = collegium("share", "create", "hcl", "-p", "ben@university.edu:read_write", "-p", "eve@x.org")
    assert shared.lines[0] == "ben@university.edu and eve@x.org: invited; pass the link on."
    found = re.search(r"ben@university\.edu \(read_write\): http://hub\.test/invitation/(\S+)", shared.out)
    assert found is not None
    perform(ben, "invitation_accept", secret=found[1])
    assert re.search(r"eve@x\.org \(read\): http://hub\.test/invitation/clgi_\S{43}", shared.out)
    assert collegium("session", "show", "ana/hcl", by=ben).lines[:2] == ["ana/hcl, 2 people.", "your role: read_write"]
    made = collegium("share", "create", "hcl", "--expires", "2024-06-08", "--uses", "3", "--label", "for Eve")
    assert re.match(r"link: http://hub\.test/l/clgl_\S{43}$", made.lines[1])
    listed = collegium("share", "list", "hcl").out
    link, invitation = re.findall(r"(?:lnk|inv)_\w{26}", listed)[::-1]
    assert "link “for Eve”" in listed and "3 uses left" in listed
    assert "is revoked" in collegium("share", "revoke", link).out
    assert "revoked" in collegium("share", "list", "hcl").out
    collegium("share", "revoke", invitation, "-s", "hcl")
    collegium("share", "revoke", "ben", "-s", "hcl")
    collegium("session", "show", "ana/hcl", by=ben, code=NOT_FOUND)
    assert collegium("share", "create", "hcl", "--expires", "2020-01-01", code=INVALID).err.splitlines()[1] == (
        "Where: --expires"
    )
    assert collegium("share", "create", "water", "-p", "ben@university.edu").lines[0].startswith("Session ana/water is")


def test_a_sign_in_link_is_an_operators_to_give(collegium: Collegium, operator: Actor, ben: Actor) -> None:
    assert "not allowed" in collegium("link", by=ben, code=NOT_ALLOWED).err
    for words in (("link",), ("link", "ben")):
        assert re.match(r"link: http://hub\.test/signin/clgs_\S{43}$", collegium(*words, by=operator).lines[1])
    collegium("link", "nobody", by=operator, code=NOT_FOUND)


@pytest.mark.parametrize(
    "words",
    [("job", "status", "99"), ("note", "show", "9"), ("artifact", "get", "x"), ("session", "show", "no/where"),
     ("job", "status", "😀"), ("note", "show", "a b/c%2F..%00"), ("artifact", "log", "x" * 3000), ("verify", "7")],
)  # fmt: skip
def test_what_does_not_exist_is_not_found(collegium: Collegium, words: tuple[str, ...]) -> None:
    assert collegium(*words, code=NOT_FOUND).err.startswith("Error: ")
