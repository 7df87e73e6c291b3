"""Submitting, listing and cancelling jobs, through the one door."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, NotAllowed, NotFound, TooMany, Unavailable
from hub.core.house import House
from hub.jobs import turns, views
from hub.jobs.tables import jobs, workflows
from tests.jobs import add_file, run_steps

Perform = Callable[..., Any]


def job_of(house: House, actor: Actor, ref: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, ref)


def count(house: House, table: sa.Table) -> int:
    with house.db.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_an_inline_script_is_pinned_by_digest_and_waits_in_the_queue(
    house: House, ana: Actor, perform: Perform
) -> None:
    made = perform(ana, "job_submit", script="#!/bin/bash\necho hello\n", name="Hello")
    seen = job_of(house, ana, made["id"])
    assert (seen.number, seen.ref, seen.name, seen.state) == (1, "ana/personal#1", "Hello", "QUEUED")
    assert seen.reason == "Next in the queue."
    assert seen.script.digest == "sha256:" + hashlib.sha256(b"#!/bin/bash\necho hello\n").hexdigest()
    assert seen.script.text == "#!/bin/bash\necho hello\n"
    assert (seen.backend, seen.job_type, seen.submitted_by.handle) == ("local", "auto", "ana")


def test_inputs_are_fixed_at_the_version_they_have_now(house: House, ana: Actor, perform: Perform) -> None:
    add_file(house, ana, perform, "data.csv", b"1,2\n")
    add_file(house, ana, perform, "fit.py", b"print(1)\n")
    made = perform(ana, "job_submit", script="fit.py", artifacts=["data.csv"], args=["--fast"])
    add_file(house, ana, perform, "data.csv", b"changed\n")
    seen = job_of(house, ana, made["id"])
    assert [(each.path, each.digest) for each in seen.inputs] == [
        ("data.csv", "sha256:" + hashlib.sha256(b"1,2\n").hexdigest()),
        ("fit.py", "sha256:" + hashlib.sha256(b"print(1)\n").hexdigest()),
    ]
    assert (seen.script.path, seen.script.interpreter, seen.args) == ("fit.py", ("python3",), ("--fast",))


def test_every_unknown_file_is_listed_in_the_one_error(ana: Actor, perform: Perform) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "job_submit", script="#!/bin/sh\n", artifacts=["a.csv", "b.csv"])
    assert (caught.value.code, caught.value.errors) == ("unknown_artifacts", ("a.csv", "b.csv"))


def test_a_script_that_is_not_there_is_named_with_a_way_out(ana: Actor, perform: Perform) -> None:
    with pytest.raises(InvalidInput, match=r"the session has no 'nope\.py'") as caught:
        perform(ana, "job_submit", script="nope.py")
    assert caught.value.path == "$.params.script"


SEEDS = json.loads((Path(__file__).parent / "seed_jobs.json").read_text())


def test_the_seeds_slurm_job_is_answered_with_what_is_missing_and_nothing_is_recorded(
    house: House, ana: Actor, perform: Perform
) -> None:
    params = dict(SEEDS["submit_slurm_job"]["params"])
    with pytest.raises(Unavailable, match="no Slurm cluster is registered") as caught:
        perform(ana, params.pop("action"), **params)
    assert (caught.value.status, caught.value.code) == (503, "backend_unavailable")
    assert count(house, jobs) == 0


@pytest.mark.parametrize("kind", ["slurm", "kubernetes"])
def test_a_workflow_for_a_backend_that_is_not_there_is_refused_whole(
    house: House, ana: Actor, perform: Perform, kind: str
) -> None:
    with pytest.raises(Unavailable):
        perform(ana, "job_submit", job_type=kind, workflow=[{"step": "a", "script": "#!/bin/sh\n"}])
    assert (count(house, jobs), count(house, workflows)) == (0, 0)


def test_the_seeds_workflow_becomes_three_jobs_that_wait_for_each_other(
    house: House, ana: Actor, perform: Perform
) -> None:
    for path in ("raw_data.csv", "preprocess.py", "analyze.py", "plot_results.py"):
        add_file(house, ana, perform, path, path.encode())
    params = dict(SEEDS["submit_workflow"]["params"])
    made = perform(ana, params.pop("action"), **params)
    assert [(step["step"], step["state"], step["after"]) for step in made["steps"]] == [
        ("data_preprocessing", "QUEUED", ()),
        ("analysis", "WAITING", ("data_preprocessing",)),
        ("visualization", "WAITING", ("analysis",)),
    ]
    assert made["steps"][1]["awaits"] == {"preprocessed_data.h5": "data_preprocessing"}
    second = job_of(house, ana, made["jobs"][1])
    assert (second.step, second.of_workflow is not None, second.number) == ("analysis", True, 2)


def test_a_circle_of_steps_is_refused_by_name_and_nothing_is_recorded(
    house: House, ana: Actor, perform: Perform
) -> None:
    steps = [
        {"step": "a", "script": "#!/bin/sh\n", "dependencies": ["b"]},
        {"step": "b", "script": "#!/bin/sh\n", "dependencies": ["a"]},
    ]
    with pytest.raises(InvalidInput, match="a -> b -> a"):
        perform(ana, "job_submit", workflow=steps)
    assert (count(house, jobs), count(house, workflows)) == (0, 0)


def test_files_nobody_makes_are_listed_with_their_place(ana: Actor, perform: Perform) -> None:
    steps = [{"step": "a", "script": "#!/bin/sh\n", "dependencies": ["x.csv", "y.csv"]}]
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "job_submit", workflow=steps)
    assert caught.value.errors == (
        "$.params.workflow[0].dependencies[0]: x.csv",
        "$.params.workflow[0].dependencies[1]: y.csv",
    )


def test_what_this_machine_cannot_honour_is_refused_by_name(ana: Actor, perform: Perform) -> None:
    asked = {"nodes": 2, "gpus": 1, "partition": "gpu"}
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "job_submit", script="#!/bin/sh\n", resources=asked, environment={"modules": ["gcc/13"]})
    assert caught.value.code == "cannot_honour"
    assert [each.split()[0] for each in caught.value.errors] == [
        "$.params.resources.nodes",
        "$.params.resources.gpus",
        "$.params.resources.partition",
        "$.params.environment.modules",
    ]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"script": "#!/bin/sh\n", "resources": {"memory": "lots"}}, "$.params.resources.memory"),
        ({"script": "#!/bin/sh\n", "resources": {"time": "soon"}}, "$.params.resources.time"),
        ({"script": "#!/bin/sh\n", "resources": {"nodes": "two"}}, "$.params.resources.nodes"),
        ({"script": "#!/bin/sh\n", "resources": {"cores": 2}}, "$.params.resources"),
        ({"script": 7}, "$.params.script"),
        ({"script": ""}, "$.params.script"),
        ({"script": "#!/bin/sh\n", "artifacts": "data.csv"}, "$.params.artifacts"),
        ({"script": "#!/bin/sh\n", "artifacts": ["../up"]}, "$.params.artifacts"),
        ({"script": "#!/bin/sh\n", "outputs": ["/etc/x"]}, "$.params.outputs"),
        ({"script": "#!/bin/sh\n", "env": {"A B": "1"}}, "$.params.env"),
        ({"script": "#!/bin/sh\n", "job_type": "cloud"}, "$.params.job_type"),
        ({"script": "#!/bin/sh\n", "workdir": "raven:/scratch"}, "$.params.workdir"),
        ({"script": "#!/bin/sh\n", "workdir": "../up"}, "$.params.workdir"),
        ({"script": "#!\necho\n"}, "$.params.script"),
        ({"script": "x" * 1_100_000}, "$.params.script"),
        ({"workflow": []}, "$.params.workflow"),
        ({"workflow": [{"step": "a"}]}, "$.params.workflow[0]"),
        ({"workflow": [{"step": "a", "script": "x\ny", "needs": 1}]}, "$.params.workflow[0]"),
        ({}, "$.params"),
    ],
)
def test_bad_input_names_its_field_and_records_nothing(
    house: House, ana: Actor, perform: Perform, params: dict[str, Any], path: str
) -> None:
    with pytest.raises(HubError) as caught:
        perform(ana, "job_submit", **params)
    assert caught.value.status in (400, 413)
    assert caught.value.path is not None
    assert caught.value.path.startswith(path)
    assert count(house, jobs) == 0


def test_jobs_are_numbered_in_their_session_and_found_by_every_name(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    perform(ana, "session_create", name="hcl")
    one = perform(ana, "job_submit", script="#!/bin/sh\n")
    two = perform(ana, "job_submit", script="#!/bin/sh\n", session_id="hcl")
    three = perform(ana, "job_submit", script="#!/bin/sh\n", session_id="ana/hcl")
    assert [each["number"] for each in (one, two, three)] == [1, 1, 2]
    for ref, job in (("1", one), ("job 1", one), ("#1", one), ("hcl#2", three), ("ana/hcl#1", two), ("2", three)):
        assert job_of(house, ana, ref).id == job["id"], ref
    for ref in ("3", "job zero", "other#1", "ben/hcl#1", "#0", "hcl#9", "job_" + "0" * 26):
        with pytest.raises(NotFound):
            job_of(house, ana, ref)
    with pytest.raises(NotFound):  # what somebody else has does not even exist
        job_of(house, ben, one["id"])


def test_a_number_that_means_several_jobs_is_asked_back(house: House, ana: Actor, perform: Perform) -> None:
    for name in ("hcl", "dcl"):
        perform(ana, "session_create", name=name)
        perform(ana, "job_submit", script="#!/bin/sh\n", session_id=name)
    with pytest.raises(Conflict) as caught:
        job_of(house, ana, "1")
    assert caught.value.errors == ("ana/dcl#1", "ana/hcl#1")


def test_the_queue_goes_round_over_people_and_shows_the_place(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    mine = [perform(ana, "job_submit", script="#!/bin/sh\n")["id"] for _ in range(3)]
    his = perform(ben, "job_submit", script="#!/bin/sh\n")["id"]
    with house.scope(ana) as scope:
        assert [each.job for each in turns.line(scope).order] == [mine[0], his, mine[1], mine[2]]
    assert job_of(house, ben, his).place_in_queue == 2
    assert job_of(house, ben, his).reason == "2nd in the queue: one person takes turns with its owner."
    assert job_of(house, ana, mine[2]).reason == (
        "4th in the queue: one person takes turns with its owner, and two earlier jobs of its owner go first."
    )


def test_what_has_not_started_is_cancelled_at_once(house: House, ana: Actor, perform: Perform) -> None:
    made = perform(ana, "job_submit", script="#!/bin/sh\n")
    cancelled = perform(ana, "job_cancel", job="job 1")
    assert (cancelled["state"], cancelled["reason"]) == ("CANCELLED", "Cancelled before it started.")
    with pytest.raises(Conflict, match="job 1 has ended already"):
        perform(ana, "job_cancel", job=made["id"])
    run_steps(house)
    assert job_of(house, ana, made["id"]).state == "CANCELLED"


def test_cancelling_a_step_fails_what_waits_for_it_with_the_reason(house: House, ana: Actor, perform: Perform) -> None:
    steps = [{"step": f"s{n}", "script": "#!/bin/sh\n", "dependencies": [f"s{n - 1}"] if n else []} for n in range(40)]
    made = perform(ana, "job_submit", workflow=steps)
    perform(ana, "job_cancel", job=made["jobs"][0])
    states = [job_of(house, ana, job) for job in made["jobs"]]
    assert {job.state for job in states[1:]} == {"FAILED"}
    assert states[1].reason == "Not started, because s0 (job 1) ended CANCELLED."
    assert states[39].reason == "Not started, because s38 (job 39) ended FAILED."


def test_others_jobs_are_cancelled_only_by_who_may_cancel_any(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    perform(ana, "session_create", name="hcl")
    perform(
        ana, "session_share", session_id="hcl", participants=[{"email": "ben@university.edu", "role": "read_write"}]
    )
    house.db.write(_grant(house, "ana", "hcl", ben))
    hers = perform(ana, "job_submit", script="#!/bin/sh\n", session_id="hcl")
    with pytest.raises(NotAllowed):
        perform(ben, "job_cancel", job=hers["id"])
    his = perform(ben, "job_submit", script="#!/bin/sh\n", session_id="ana/hcl")
    assert perform(ana, "job_cancel", job=his["id"])["state"] == "CANCELLED"


def _grant(house: House, owner: str, name: str, person: Actor) -> Callable[[Any], None]:
    from hub.sessions.tables import grants, sessions

    def work(tx: Any) -> None:
        session = tx.execute(sa.select(sessions.c.id).where(sessions.c.name == name)).scalar_one()
        tx.insert_new(grants, session=session, subject=person.id, via="test", role="read_write", at=house.clock.now())

    return work


def test_a_queue_without_end_is_refused(ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.core.limits.OPEN_JOBS_PER_PERSON", 2)
    for _ in range(2):
        perform(ana, "job_submit", script="#!/bin/sh\n")
    with pytest.raises(TooMany, match="you have 2 jobs that have not ended; 2 are allowed"):
        perform(ana, "job_submit", script="#!/bin/sh\n")


def test_the_list_is_paged_the_newest_first(
    house: House, ana: Actor, ben: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.PAGE_ITEMS", 2)
    ids = [perform(ana, "job_submit", script="#!/bin/sh\n", name=f"n{n}")["id"] for n in range(3)]
    with house.scope(ana) as scope:
        first = views.job_list(scope)
        rest = views.job_list(scope, None, first.cursor)
        assert [row.id for row in first.jobs + rest.jobs] == ids[::-1]
        assert rest.cursor is None
        assert views.job_list(scope, "personal", state="running").jobs == []
        with pytest.raises(InvalidInput, match="there is no state NOPE"):
            views.job_list(scope, state="nope")
    with house.scope(ben) as scope:
        assert views.job_list(scope).jobs == []


def test_the_same_idempotency_key_submits_once(house: House, ana: Actor, perform: Perform) -> None:
    first = perform(ana, "job_submit", key="k1", script="#!/bin/sh\n")
    again = perform(ana, "job_submit", key="k1", script="#!/bin/sh\n")
    assert (first["id"], count(house, jobs)) == (again["id"], 1)


def test_times_are_told_and_nothing_hostile_in_a_name_is_lost(house: House, ana: Actor, perform: Perform) -> None:
    name = "<script>alert(1)</script> ℏω \u202e"
    made = perform(ana, "job_submit", script="#!/bin/sh\n", name=name)
    seen = job_of(house, ana, made["id"])
    assert (seen.name, seen.submitted_at) == (name, dt.datetime(2024, 6, 1, 12, 0, tzinfo=dt.UTC))
