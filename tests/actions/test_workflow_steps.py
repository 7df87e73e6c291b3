"""Steps of workflows that are tried again, kept from before, and cancelled with what waits for them: on real jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotFound
from hub.core.house import House
from hub.jobs import rules, sandbox, views
from hub.jobs.tables import jobs
from tests.jobs import add_file, run_until

pytestmark = pytest.mark.slow

Perform = Callable[..., Any]


@pytest.fixture(autouse=True)
def unsandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "works", lambda: False)


def flow(house: House, actor: Actor, workflow: str) -> views.WorkflowView:
    with house.scope(actor) as scope:
        return views.workflow(scope, workflow)


def over(house: House, actor: Actor, workflow: str) -> dict[str, str]:
    def is_over() -> bool:
        return all(step.state in rules.TERMINAL for step in flow(house, actor, workflow).steps)

    run_until(house, is_over)
    return {step.step: step.state for step in flow(house, actor, workflow).steps}


def job_of(house: House, actor: Actor, job: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, job)


def failing(marks: str, times: int) -> str:
    return f"#!/bin/sh\necho x >> {marks}\n[ $(wc -l < {marks}) -gt {times} ] || exit 3\necho ok > out.txt\n"


def test_a_step_is_tried_again_and_those_that_wait_for_it_wait_on(
    house: House, ana: Actor, perform: Perform, tmp_path: Any
) -> None:
    steps = [
        {"step": "shaky", "script": failing(str(tmp_path / "marks"), 1), "retries": 2},
        {"step": "after", "script": "#!/bin/sh\ncat out.txt > copy.txt\n", "dependencies": ["out.txt"]},
    ]
    made = perform(ana, "job_submit", workflow=steps)
    assert over(house, ana, made["workflow"]) == {"shaky": "SUCCEEDED", "after": "SUCCEEDED"}
    first = job_of(house, ana, made["jobs"][0])
    assert (first.state, first.workflow) == ("FAILED", None)
    second = next(step for step in flow(house, ana, made["workflow"]).steps if step.step == "shaky")
    assert first.notes[-1] == f"Tried again as job {second.number}."
    again = job_of(house, ana, second.job)
    assert again.notes[0] == f"Try 2 of 3: job {first.number} ended FAILED."
    assert again.script.text == first.script.text
    assert [each.path for each in job_of(house, ana, made["jobs"][1]).inputs] == ["out.txt"]


def test_tries_end_and_then_the_rest_is_not_started(house: House, ana: Actor, perform: Perform, tmp_path: Any) -> None:
    steps = [
        {"step": "shaky", "script": failing(str(tmp_path / "marks"), 9), "retries": 1},
        {"step": "after", "script": "#!/bin/sh\ntrue\n", "dependencies": ["shaky"]},
    ]
    made = perform(ana, "job_submit", workflow=steps)
    assert over(house, ana, made["workflow"]) == {"shaky": "FAILED", "after": "FAILED"}
    assert (tmp_path / "marks").read_text() == "x\nx\n"
    with pytest.raises(InvalidInput):
        perform(ana, "job_submit", workflow=[{**steps[0], "retries": 11}])


STEPS = [
    {"step": "double", "script": "double.sh", "dependencies": ["raw.txt"]},
    {"step": "sum", "script": "#!/bin/sh\ncat mid.txt mid.txt > sum.txt\n", "dependencies": ["mid.txt"]},
    {"step": "side", "script": "#!/bin/sh\necho side > side.txt\n"},
    {"step": "plot", "script": "#!/bin/sh\ncat sum.txt side.txt > plot.txt\n", "dependencies": ["sum", "side"]},
]


def test_a_resumed_workflow_runs_what_changed_and_what_waits_for_it(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    add_file(house, ana, perform, "raw.txt", b"4\n")
    add_file(house, ana, perform, "double.sh", b"#!/bin/sh\ncat raw.txt raw.txt > mid.txt\n")
    first = perform(ana, "job_submit", workflow=STEPS)
    with pytest.raises(Conflict, match="has not ended"):
        perform(ana, "job_submit", workflow=STEPS, resume=first["workflow"])
    assert set(over(house, ana, first["workflow"]).values()) == {"SUCCEEDED"}
    with pytest.raises(Conflict) as nothing:
        perform(ana, "job_submit", workflow=STEPS, resume=first["workflow"])
    assert nothing.value.code == "nothing_changed"

    changed = [*STEPS[:2], {**STEPS[2], "script": "#!/bin/sh\necho other > side.txt\n"}, STEPS[3]]
    second = perform(ana, "job_submit", workflow=changed, resume=first["workflow"])
    assert [step["step"] for step in second["steps"]] == ["side", "plot"]
    assert over(house, ana, second["workflow"]) == {"side": "SUCCEEDED", "plot": "SUCCEEDED"}
    assert [(each["step"], each["goes_into"]) for each in second["kept"]] == [
        ("double", ("sum",)),
        ("sum", ("plot",)),
    ]
    plot = job_of(house, ana, second["jobs"][1])
    former = {each.path: each.version for each in job_of(house, ana, first["jobs"][1]).outputs}
    assert {each.path: each.version for each in plot.inputs}["sum.txt"] == former["sum.txt"]

    with pytest.raises(Conflict):
        perform(ana, "job_submit", workflow=changed, resume=second["workflow"])
    third = perform(ana, "job_submit", workflow=STEPS, resume=second["workflow"])
    assert [step["step"] for step in third["steps"]] == ["side", "plot"]
    over(house, ana, third["workflow"])

    add_file(house, ana, perform, "raw.txt", b"5\n")
    fourth = perform(ana, "job_submit", workflow=STEPS, resume=third["workflow"])
    assert [step["step"] for step in fourth["steps"]] == ["double", "sum", "plot"]
    assert set(over(house, ana, fourth["workflow"]).values()) == {"SUCCEEDED"}
    with pytest.raises(NotFound):
        perform(ben, "job_submit", workflow=STEPS, resume=fourth["workflow"])


def test_a_step_that_failed_runs_again_when_resumed(house: House, ana: Actor, perform: Perform, tmp_path: Any) -> None:
    steps = [
        {"step": "make", "script": "#!/bin/sh\necho 1 > a.txt\n"},
        {"step": "shaky", "script": failing(str(tmp_path / "marks"), 1), "dependencies": ["make"]},
    ]
    first = perform(ana, "job_submit", workflow=steps)
    assert over(house, ana, first["workflow"]) == {"make": "SUCCEEDED", "shaky": "FAILED"}
    second = perform(ana, "job_submit", workflow=steps, resume=first["workflow"])
    assert [step["step"] for step in second["steps"]] == ["shaky"]
    assert over(house, ana, second["workflow"]) == {"shaky": "SUCCEEDED"}
    assert [each.path for each in job_of(house, ana, second["jobs"][0]).inputs] == ["a.txt"]


def test_cancelling_downstream_ends_what_waits_for_the_job_and_nothing_else(
    house: House, ana: Actor, perform: Perform
) -> None:
    steps = [
        {"step": "one", "script": "#!/bin/sh\ntrue\n"},
        {"step": "two", "script": "#!/bin/sh\ntrue\n", "dependencies": ["one"]},
        {"step": "three", "script": "#!/bin/sh\ntrue\n", "dependencies": ["two"]},
        {"step": "beside", "script": "#!/bin/sh\ntrue\n", "dependencies": ["one"]},
    ]
    made = perform(ana, "job_submit", workflow=steps)
    perform(ana, "job_cancel", job=made["jobs"][1], downstream=True)
    with house.db.read() as conn:
        rows = conn.execute(sa.select(jobs.c.step, jobs.c.state, jobs.c.reason).order_by(jobs.c.number)).all()
    assert [(row.step, row.state) for row in rows] == [
        ("one", "QUEUED"), ("two", "CANCELLED"), ("three", "CANCELLED"), ("beside", "WAITING"),
    ]  # fmt: skip
    assert rows[2].reason == f"Cancelled with two (job {made['steps'][1]['number']}), which it waited for."
    assert over(house, ana, made["workflow"])["beside"] == "SUCCEEDED"
    other = perform(ana, "job_submit", workflow=steps)
    perform(ana, "job_cancel", job=other["jobs"][0])
    assert [step.state for step in flow(house, ana, other["workflow"]).steps] == ["CANCELLED", *["FAILED"] * 3]


def test_a_workflow_is_resumed_without_writing_its_steps_out(
    house: House, ana: Actor, perform: Perform, tmp_path: Any
) -> None:
    add_file(house, ana, perform, "raw.txt", b"4\n")
    add_file(house, ana, perform, "double.sh", b"#!/bin/sh\ncat raw.txt raw.txt > mid.txt\n")
    steps = [*STEPS, {"step": "last", "script": failing(str(tmp_path / "marks"), 2), "dependencies": ["plot.txt"]}]
    steps[0] = {**steps[0], "retries": 1}
    first = perform(ana, "job_submit", workflow=steps, name="W")
    with pytest.raises(Conflict, match="has not ended"):
        perform(ana, "workflow_resume", workflow=first["workflow"])
    assert over(house, ana, first["workflow"])["last"] == "FAILED"
    second = perform(ana, "workflow_resume", workflow=first["workflow"])
    assert (second["name"], [step["step"] for step in second["steps"]]) == ("W", ["last"])
    assert over(house, ana, second["workflow"]) == {"last": "FAILED"}
    add_file(house, ana, perform, "raw.txt", b"5\n")  # and now everything that came of it runs again
    third = perform(ana, "workflow_resume", workflow=second["workflow"])
    assert [step["step"] for step in third["steps"]] == ["double", "sum", "plot", "last"]
    assert [each["step"] for each in third["kept"]] == ["side"]
    assert set(over(house, ana, third["workflow"]).values()) == {"SUCCEEDED"}
    with pytest.raises(Conflict) as nothing:
        perform(ana, "workflow_resume", workflow=third["workflow"])
    assert nothing.value.code == "nothing_changed"


def test_a_step_that_was_tried_again_keeps_its_place_when_its_workflow_is_resumed(
    house: House, ana: Actor, perform: Perform, tmp_path: Any
) -> None:
    steps = [
        {"step": "shaky", "script": failing(str(tmp_path / "marks"), 1), "retries": 1},
        {"step": "after", "script": failing(str(tmp_path / "others"), 1), "dependencies": ["out.txt"]},
    ]
    first = perform(ana, "job_submit", workflow=steps)
    assert over(house, ana, first["workflow"]) == {"shaky": "SUCCEEDED", "after": "FAILED"}
    second = perform(ana, "workflow_resume", workflow=first["workflow"])
    assert over(house, ana, second["workflow"]) == {"after": "SUCCEEDED"}


def test_nobody_resumes_a_workflow_they_may_not_know_of(ana: Actor, ben: Actor, perform: Perform) -> None:
    made = perform(ana, "job_submit", workflow=[{"step": "a", "script": "#!/bin/sh\ntrue\n"}])
    with pytest.raises(NotFound):
        perform(ben, "workflow_resume", workflow=made["workflow"])
