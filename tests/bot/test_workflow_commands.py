"""`workflow`: steps in a file, submitted as a whole from shell and chat, against the real web application."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.commands import run
from bot.door import Door
from bot.hub_client import HubClient
from bot.problems import CONFLICT, INVALID, NOT_FOUND, OK, USAGE, Problem
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.tables import jobs
from tests.bot.conftest import InProcess, Ran
from tests.conftest import Perform

Collegium = Callable[..., Ran]

STEPS = [
    {"step": "fetch", "script": "#!/bin/sh\necho 1 > data.csv\n", "outputs": ["data.csv"]},
    {"step": "fit", "script": "fit.sh", "dependencies": ["data.csv", "start.csv"]},
    {"step": "plot", "script": "#!/bin/sh\ntrue\n", "dependencies": ["fit", "fetch"]},
]
AS_YAML = """
name: lines
workflow:
  - step: fetch
    script: |
      #!/bin/sh
      echo 1 > data.csv
    outputs: [data.csv]
  - step: fit
    script: fit.sh
    dependencies: [data.csv, start.csv]
  - step: plot
    script: |
      #!/bin/sh
      true
    dependencies: [fit, fetch]
"""


@pytest.fixture(autouse=True)
def _files(here: Path) -> None:
    (here / "fit.sh").write_text("#!/bin/sh\ntrue\n")
    (here / "start.csv").write_text("1\n")
    (here / "steps.json").write_text(json.dumps(STEPS))
    (here / "lines.yaml").write_text(AS_YAML)


def recorded(house: House) -> list[Any]:
    with house.db.read() as conn:
        return list(conn.execute(sa.select(jobs).order_by(jobs.c.number)).all())


@pytest.mark.parametrize("file", ["steps.json", "lines.yaml"])
def test_a_workflow_in_a_file_is_submitted_with_the_files_it_names(
    collegium: Collegium, house: House, file: str
) -> None:
    made = collegium("workflow", "submit", file, "--name", "lines")
    assert made.lines[0] == "workflow “lines” waiting, 0 of 3 steps over"
    rows = recorded(house)
    assert [row.step for row in rows] == ["fetch", "fit", "plot"] and {row.workflow for row in rows} == {
        rows[0].workflow
    }
    assert {each["path"] for each in rows[1].inputs} == {"start.csv", "fit.sh"}
    assert rows[1].awaits == {"data.csv": rows[0].id} and set(rows[2].after) == {rows[0].id, rows[1].id}
    shown = collegium("workflow", "show").out
    assert "fit (job 2)" in shown and "plot (job 3)" in shown
    asked = collegium("workflow", "show", rows[0].workflow, "--json").json
    assert asked["workflow"] == rows[0].workflow and [each["step"] for each in asked["steps"]] == [
        "fetch",
        "fit",
        "plot",
    ]
    assert "has not ended" in collegium("workflow", "resume", rows[0].workflow, code=CONFLICT).err


def test_a_dry_run_shows_the_steps_and_what_each_waits_for_and_sends_nothing(
    collegium: Collegium, house: House
) -> None:
    shown = collegium("workflow", "submit", "steps.json", "--dry-run")
    assert "3 jobs would be submitted; nothing was recorded and nothing sent." in shown.lines[0]
    assert "fetch on local" in shown.lines and "fit on local, after fetch" in shown.lines
    assert "plot on local, after fit, fetch" in shown.out or "plot on local, after fit and fetch" in shown.out
    assert "echo 1 > data.csv" in shown.out
    assert recorded(house) == [] and "0 files" in collegium("artifact", "list").lines[0]


def test_an_envelope_of_the_api_and_standard_input_are_taken_as_well(collegium: Collegium, house: House) -> None:
    envelope = {"tool": "distributed_collaboration", "params": {"action": "job_submit", "workflow": STEPS[:1]}}
    assert collegium("workflow", "submit", json.dumps(envelope)).code == OK
    assert collegium("workflow", "submit", "workflow:\n- step: a\n  script: |\n    #!/bin/sh\n    true\n").code == OK
    assert [row.step for row in recorded(house)] == ["fetch", "a"]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{", "steps.json is not JSON"),
        ("7", "steps.json holds no list of steps."),
        ('{"dag": []}', "steps.json holds no list of steps."),
        ("[]", "length >= 1"),
        ('[{"step": "a"}]', "missing required field `script`"),
        ('[{"step": "a", "script": "#!/bin/sh", "dependencies": ["b"]}]', "workflow[0].dependencies[0]"),
        ('[{"step": "a", "script": "#!x", "dependencies": ["a"]}]', "wait for each other"),
        ('{"workflow": [{"step": "a", "script": "#!x"}], "nmae": "x"}', "nmae"),
        ('[7, {"step": ["a"], "script": {"x": 1}}]', "expected"),
    ],
)
def test_what_is_no_workflow_is_refused_before_anything_is_recorded(
    collegium: Collegium, here: Path, house: House, written: str, said: str
) -> None:
    (here / "steps.json").write_text(written)
    refused = collegium("workflow", "submit", "steps.json", code=INVALID)
    assert said.lower() in (refused.err + refused.out).lower()
    assert recorded(house) == []


def test_a_file_that_is_not_there_and_yaml_that_is_none_are_told(collegium: Collegium, here: Path) -> None:
    (here / "bad.yaml").write_text("workflow: [\n")
    assert "bad.yaml is not YAML" in collegium("workflow", "submit", "bad.yaml", code=INVALID).err
    missing = collegium("workflow", "submit", "step.json", code=NOT_FOUND).err
    assert "Did you mean `workflow submit steps.json`" in missing
    collegium("job", "submit", "#!/bin/sh\ntrue\n")
    assert "is no step of a workflow" in collegium("workflow", "show", "1", code=USAGE).err
    collegium("workflow", "show", "wf_00000000000000000000000000", code=NOT_FOUND)


def test_in_a_chat_the_text_itself_is_the_workflow(
    application: Any, perform: Perform, ana: Actor, house: House
) -> None:
    token = perform(ana, "token_create", name="chat")["secret"]
    hub = HubClient("https://hub.test", token, transport=InProcess(application))
    said = ["workflow", "submit", json.dumps(STEPS[:1])]
    reply = run(said, Door(lambda: hub, call="/"))
    assert reply.sentence == "workflow “fetch to fetch” waiting, 0 of 1 step over"
    assert [row.step for row in recorded(house)] == ["fetch"]
    with pytest.raises(Problem, match="holds no list of steps"):
        run(["workflow", "submit", '{"dag": []}'], Door(lambda: hub, call="/"))


def test_with_json_all_that_is_wrong_is_listed(collegium: Collegium, here: Path) -> None:
    steps = [{"step": "a", "script": "#!x", "dependencies": ["b", "c"]}]
    (here / "steps.json").write_text(json.dumps(steps))
    refused = json.loads(collegium("workflow", "submit", "steps.json", "--json", code=INVALID).err)
    assert [each.rpartition(": ")[2] for each in refused["errors"]] == ["b", "c"]
