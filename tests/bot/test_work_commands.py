"""Dry runs, changed scripts and experiments in the shell and in chat, against the real web application."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.chat_hub import ChatHub
from bot.commands import run
from bot.detail import reduced
from bot.door import Door, Place
from bot.problems import CONFLICT, INVALID, NOT_FOUND, OK, UNAVAILABLE, USAGE
from hub.core.context import Actor
from hub.core.database import metadata
from hub.core.house import House
from hub.jobs.tables import jobs
from tests.bot.conftest import InProcess, Ran
from tests.conftest import Perform

Collegium = Callable[..., Ran]


def rows(house: House) -> dict[str, int]:
    """How many rows every table has, but for tokens, which the test's own shell makes."""
    with house.db.read() as conn:
        return {
            table.name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@pytest.fixture
def changed(collegium: Collegium, here: Path, lab: str, ben: Actor) -> str:
    """Ana ran fit.py; Ben changed it, and Ana's folder holds it no more. The digest of what it is now."""
    (here / "fit.py").write_text("print(1)\n")
    collegium("job", "submit", "fit.py", "-s", "ana/lab")
    (here / "fit.py").write_text("print(2)\n")
    collegium("artifact", "add", "fit.py", "-s", "ana/lab", by=ben)
    (here / "fit.py").unlink()
    return digest("print(2)\n")


def test_a_dry_run_of_files_of_this_folder_sends_and_records_nothing(
    collegium: Collegium, here: Path, house: House
) -> None:
    (here / "run.sh").write_text("wc -l < in.csv\n")
    (here / "in.csv").write_text("1\n")
    collegium("whoami")
    before = rows(house)
    ran = collegium("job", "submit", "run.sh", "one two", "-i", "in.csv", "-m", "1G", "-t", "10", "--dry-run")
    assert rows(house) == before
    assert ran.lines[0] == "run.sh: 1 job would be submitted; nothing was recorded and nothing sent."
    assert "where: local" in ran.lines and "sent first: in.csv and run.sh" in ran.lines
    call = next(line for line in ran.lines if line.startswith("$ "))
    assert call == "$ bash work/run.sh 'one two'"
    assert ran.lines[ran.lines.index("--- work/run.sh ---") + 1] == "wc -l < in.csv"
    collegium("job", "submit", "run.sh", "one two", "-i", "in.csv", "-m", "1G", "-t", "10")
    again = collegium("job", "submit", "run.sh", "one two", "-i", "in.csv", "--dry-run", "--json").json
    assert again["jobs"][0]["inputs"][0]["path"] == "in.csv"


def test_what_cannot_be_submitted_cannot_be_tried_either(collegium: Collegium) -> None:
    assert "the session has no 'nope.py'" in collegium("job", "submit", "nope.py", "--dry-run", code=INVALID).err
    assert "--dry-run goes with neither" in collegium("job", "submit", "x.py", "--dry-run", "-w", code=USAGE).err


def test_a_script_that_somebody_else_changed_is_shown_and_runs_with_its_digest(
    collegium: Collegium, changed: str
) -> None:
    asked = collegium("job", "submit", "fit.py", "-s", "ana/lab", code=CONFLICT)
    told = asked.err.splitlines()
    assert told[0].startswith("Error: Ben changed fit.py since you last saw it: you saw version 1, now it is version 2")
    assert told[1] == "Where: SCRIPT" and "-print(1)" in told and "+print(2)" in told
    assert told[-1].endswith(f"give the command again with --confirm {changed}")
    assert asked.out == ""
    as_json = json.loads(collegium("job", "submit", "fit.py", "-s", "ana/lab", "--json", code=CONFLICT).err)
    assert as_json["facts"]["scripts"][0]["confirm"] == changed
    dry = collegium("job", "submit", "fit.py", "-s", "ana/lab", "--dry-run").lines
    assert "to confirm: fit.py as Ben changed it" in dry and "+print(2)" in dry
    assert "confirm" in collegium("job", "submit", "fit.py", "-s", "ana/lab", "--confirm", "nonsense", code=INVALID).err
    ran = collegium("job", "submit", "fit.py", "-s", "ana/lab", "--confirm", changed)
    assert ran.lines[0].startswith("job 2 “fit.py” queued")


def test_who_has_the_very_bytes_at_hand_is_not_asked(collegium: Collegium, changed: str, here: Path) -> None:
    (here / "fit.py").write_text("print(2)\n")
    assert collegium("job", "submit", "fit.py", "-s", "ana/lab").lines[0].startswith("job 2")


class Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", OK), ("YES\n", OK), ("\n", CONFLICT), ("n\n", CONFLICT), ("", 6)])
def test_at_a_terminal_the_question_is_asked(
    application: Any, shell: Any, perform: Perform, ana: Actor, changed: str, answer: str, code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", Keyboard(answer))
    token = perform(ana, "token_create", name="shell")["secret"]
    ran = shell(
        "job", "submit", "fit.py", "-s", "ana/lab", "--plain",
        transport=InProcess(application), token=token, is_terminal=True,
    )  # fmt: skip
    assert ran.code == code
    assert "+print(2)" in ran.err and "Run it as it is now? [y/N]" in ran.err
    assert ("job 2" in ran.out) == (code == OK) and ("Not submitted." in ran.err) == (code != OK)


def test_in_chat_the_question_is_a_button_and_below_full_it_says_no_name(
    application: Any, perform: Perform, ana: Actor, changed: str
) -> None:
    token = perform(ana, "token_create", name="bot")["secret"]
    hub = ChatHub("http://hub.test", token, transport=InProcess(application))

    def said(*words: str) -> Any:
        place = Place("slack", "T1", "C1")
        return run(words, Door(lambda: hub, session=lambda: "ana/lab", place=place, call="/collegium "))

    asked = said("job", "submit", "fit.py", "--", "-x")
    [button] = asked.next
    assert button.command == ("job", "submit", "--confirm", changed, "fit.py", "--", "-x")
    assert "+print(2)" in asked.body and asked.exit_code == CONFLICT
    for detail in ("names", "ids"):
        left = str(reduced(asked, detail))
        assert "fit.py" not in left and "print" not in left and "nothing was submitted" in left
    assert said(*button.command).sentence.startswith("job 2")


NODES = [
    {"tool": "distributed_collaboration", "action": "job_submit", "script": "fit.py"},
    {"tool": "distributed_collaboration", "action": "lab_notebook", "entry": {"title": "Fit", "content": "Done."}},
]


@pytest.fixture
def dag(here: Path) -> Path:
    file = here / "dag.json"
    file.write_text(json.dumps(NODES))
    return file


def test_an_experiment_is_started_looked_at_cancelled_and_resumed(
    collegium: Collegium, dag: Path, here: Path, house: House
) -> None:
    assert "has no experiment yet" in collegium("experiment", "show", code=USAGE).err
    assert collegium("experiment", "list").lines == ["ana/personal: 0 experiments, 0 not over."]
    (here / "fit.py").write_text("print(1)\n")
    collegium("artifact", "add", "fit.py")
    begun = collegium("experiment", "submit", "dag.json")
    assert begun.lines[0] == "experiment “job_submit to lab_notebook” running, 0 of 2 nodes over"
    assert begun.lines[-3:-1] == ["○ 1 job_submit waiting", "○ 2 lab_notebook waiting"]
    known = collegium("experiment", "show", "--json").json["experiment"]
    listed = collegium("experiment", "list").lines
    assert listed[1] == f"{known} “job_submit to lab_notebook” running, 0 of 2 nodes over"
    assert "has not ended" in collegium("experiment", "resume", known, code=CONFLICT).err
    assert "cancelled" in collegium("experiment", "cancel", known).lines[0]
    assert "has ended already" in collegium("experiment", "cancel", known, code=CONFLICT).err
    resumed = collegium("experiment", "resume")
    assert "running" in resumed.lines[0] and f"goes on from: {known}" in resumed.lines


@pytest.mark.parametrize(
    ("written", "said", "code"),
    [
        ("not json", "dag.json is not JSON", INVALID),
        ('{"nodes": []}', "dag.json holds no list of nodes", INVALID),
        ("[]", "", INVALID),
        ('[{"action": "x"}]', "a node names its `tool`", INVALID),
        ('[{"tool": "optics", "action": "trace"}]', "dag[0]: optics (trace)", UNAVAILABLE),
        ('{"tool": "t", "params": {"dag": [{"tool": "optics", "action": "trace"}]}}', "optics", UNAVAILABLE),
    ],
)
def test_what_is_wrong_with_a_file_of_nodes_is_said(
    collegium: Collegium, dag: Path, written: str, said: str, code: int
) -> None:
    dag.write_text(written)
    assert said in collegium("experiment", "submit", "dag.json", code=code).err


def test_an_experiment_is_given_a_deadline_and_a_budget_by_options_or_in_its_file(
    collegium: Collegium, dag: Path
) -> None:
    node = '"tool": "distributed_collaboration", "action": "job_submit", "job_type": "local"'
    job = f'{{{node}, "script": "#!/bin/sh\\ntrue"}}'
    dag.write_text(f'{{"dag": [{job}], "within": "8:00:00", "budget": 3}}')
    said = collegium("experiment", "submit", "dag.json", "--budget", "2.5")
    assert "of a budget of 2.50" in "".join(said.lines) and "to end by" in "".join(said.lines)
    dag.write_text(f"[{job}]")
    refused = collegium("experiment", "submit", "dag.json", "--within", "soon", code=INVALID)
    assert "soon" in refused.err and "--within" in refused.err


def test_an_experiment_that_is_not_there_is_not_found(collegium: Collegium, dag: Path) -> None:
    assert "Did you mean `experiment submit dag.json`" in collegium("experiment", "submit", "dog.json", code=5).err
    for words in (["show", "dag_nothing"], ["cancel", "dag_nothing"], ["resume", "dag_nothing"]):
        collegium("experiment", *words, code=NOT_FOUND)


def test_an_experiment_asks_before_a_changed_script_runs_and_remembers_the_answer(
    collegium: Collegium, changed: str, dag: Path, house: House
) -> None:
    asked = collegium("experiment", "submit", "dag.json", "-s", "ana/lab", code=CONFLICT)
    assert "Ben changed fit.py" in asked.err and "+print(2)" in asked.err
    begun = collegium("experiment", "submit", "dag.json", "-s", "ana/lab", "--confirm", changed)
    assert "running" in begun.lines[0]


def test_a_dry_run_in_chat_says_no_more_than_the_session_lets_out(
    application: Any, perform: Perform, ana: Actor
) -> None:
    token = perform(ana, "token_create", name="bot")["secret"]
    hub = ChatHub("http://hub.test", token, transport=InProcess(application))
    words = ["job", "submit", "#!/bin/sh\necho canary\n", "-n", "fit", "--dry-run"]
    shown = run(words, Door(lambda: hub, place=Place("slack", "T1", "C1"), call="/collegium "))
    assert "echo canary" in shown.body and shown.is_private
    assert "canary" not in str(reduced(shown, "names")) and "fit" in reduced(shown, "names").sentence
    assert "fit" not in str(reduced(shown, "ids"))


def test_a_workflow_is_resumed_by_any_of_its_jobs(
    collegium: Collegium, perform: Perform, ana: Actor, house: House
) -> None:
    steps = [
        {"step": "a", "script": "#!/bin/sh\nexit 3\n"},
        {"step": "b", "script": "#!/bin/sh\n", "dependencies": ["a"]},
    ]
    made = perform(ana, "job_submit", workflow=steps, name="W")
    assert "has not ended" in collegium("job", "resume", "1", code=CONFLICT).err
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(jobs).values(state="FAILED", reason="The program ended with exit code 3."))
    ran = collegium("job", "resume", "2")
    assert ran.lines[0] == "workflow “W” waiting, 0 of 2 steps over"
    assert "workflow “W”" in collegium("job", "resume", made["workflow"]).lines[0]
    collegium("job", "submit", "#!/bin/sh\n:\n")
    assert "is no step of a workflow" in collegium("job", "resume", code=USAGE).err
    collegium("job", "resume", "wf_nothing", code=NOT_FOUND)
