"""Jobs that really run: their log, their outputs with lineage, workflows, limits and cancelling."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import lineage, versions
from hub.core.bus import MemoryBus
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput
from hub.core.house import House
from hub.jobs import rules, sandbox, views
from hub.ledger.tables import ledger
from tests.conftest import settle
from tests.jobs import add_file, agent, personal, run_steps, run_until

Perform = Callable[..., Any]


@pytest.fixture(autouse=True)
def unsandboxed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is proved here does not depend on bubblewrap; `test_runner.py` proves the sandbox."""
    monkeypatch.setattr(sandbox, "works", lambda: False)


def job_of(house: House, actor: Actor, ref: str) -> views.JobView:
    with house.scope(actor) as scope:
        return views.job(scope, ref)


def log_of(house: House, actor: Actor, ref: str) -> bytes:
    with house.scope(actor) as scope:
        return views.log_piece(scope, ref).data


def finished(house: House, actor: Actor, ref: str) -> views.JobView:
    run_until(house, lambda: job_of(house, actor, ref).state in rules.TERMINAL)
    return job_of(house, actor, ref)


def content(house: House, actor: Actor, output: views.OutputView) -> bytes:
    assert output.digest is not None
    store = house.port(BlobStore)  # type: ignore[type-abstract]
    return b"".join(store.open(output.digest.removeprefix("sha256:"), personal(house, actor)))


def test_a_job_runs_and_what_it_made_comes_back_with_its_lineage(
    house: House, ana: Actor, perform: Perform, bus: MemoryBus
) -> None:
    add_file(house, ana, perform, "data/in.csv", b"1\n2\n3\n")
    add_file(house, ana, perform, "sum.py", b"")
    script = (
        "#!/usr/bin/env python3\n"
        "import json, os, pathlib, sys\n"
        "total = sum(int(line) for line in open('data/in.csv'))\n"
        "pathlib.Path('results').mkdir()\n"
        "pathlib.Path('results/total.txt').write_text(str(total))\n"
        "given = json.load(open(os.environ['COLLEGIUM_INPUTS']))\n"
        "print(sys.argv[1], [each['path'] for each in given], os.environ['WHO'])\n"
    )
    made = perform(
        ana, "job_submit", script=script, artifacts=["data/in.csv"], args=["go"], env={"WHO": "ana"}, name="sum"
    )
    done = finished(house, ana, made["id"])
    assert (done.state, done.reason, done.exit_code) == ("SUCCEEDED", "Finished.", 0)
    assert log_of(house, ana, made["id"]) == b"go ['data/in.csv'] ana\n"
    assert done.log_done
    assert [(each.path, content(house, ana, each)) for each in done.outputs] == [("results/total.txt", b"6")]
    with house.db.read() as conn:
        version = conn.execute(sa.select(versions).where(versions.c.job == made["id"])).one()
        sources = conn.execute(sa.select(lineage.c.source).where(lineage.c.version == version.id)).scalars().all()
        lines = conn.execute(
            sa.select(ledger.c.action).where(ledger.c.object == made["id"]).order_by(ledger.c.line)
        ).scalars()
        assert list(lines) == ["job_submit"] + ["job_observed"] * 4
    assert sources == [done.inputs[0].version]
    assert version.metadata["command"] == "python3 script go"
    assert (version.author, version.path) == (ana.id, "results/total.txt")
    assert done.used.wall_seconds is not None
    assert done.found_environment is not None
    assert done.sandboxed is False
    settle(house)
    assert (f"log:{made['id']}", {"size": 23, "done": True}) in bus.published


def test_a_failed_job_says_so_and_what_it_made_comes_back_too(house: House, ana: Actor, perform: Perform) -> None:
    made = perform(ana, "job_submit", script="#!/bin/bash\necho part > part.txt\necho oh no >&2\nexit 3\n")
    done = finished(house, ana, made["id"])
    assert (done.state, done.reason, done.exit_code) == ("FAILED", "The program ended with exit code 3.", 3)
    assert [each.path for each in done.outputs] == ["part.txt"]
    assert log_of(house, ana, made["id"]) == b"oh no\n"


def test_only_what_changed_comes_back_and_at_the_same_path(house: House, ana: Actor, perform: Perform) -> None:
    for path in ("same.txt", "touched.txt", "changed.txt"):
        add_file(house, ana, perform, path, b"old\n")
    script = "#!/bin/bash\ntouch touched.txt\necho new > changed.txt\nmkdir __pycache__; echo x > __pycache__/x.pyc\n"
    made = perform(ana, "job_submit", script=script, artifacts=["same.txt", "touched.txt", "changed.txt"])
    done = finished(house, ana, made["id"])
    assert [(each.path, each.number) for each in done.outputs] == [("changed.txt", 2)]
    assert done.notes == ("Passed over 1 files that tools keep for themselves, such as caches.",)


def test_declared_outputs_alone_come_back_and_missing_ones_are_told(house: House, ana: Actor, perform: Perform) -> None:
    script = "#!/bin/bash\nmkdir plots; echo 1 > plots/a.png; echo 2 > b.csv; echo 3 > c.tmp\n"
    made = perform(ana, "job_submit", script=script, outputs=["plots/", "*.csv", "never.h5"])
    done = finished(house, ana, made["id"])
    assert [each.path for each in done.outputs] == ["b.csv", "plots/a.png"]
    assert done.notes == ("Declared as outputs, but not made: never.h5.",)


def test_links_and_odd_names_bring_nothing_home(house: House, ana: Actor, perform: Perform) -> None:
    script = (
        "#!/bin/bash\nln -s /etc/passwd stolen\nln -s / root\nmkfifo pipe\necho x > $'bad\\nname'\necho ok > ok.txt\n"
    )
    made = perform(ana, "job_submit", script=script)
    done = finished(house, ana, made["id"])
    assert [each.path for each in done.outputs] == ["ok.txt"]
    assert done.notes == ("Passed over 4 things that are not plain files or have names that cannot be paths.",)


def test_what_is_beyond_the_limits_is_noted_where_it_lies(
    house: House, ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.COLLECT_FILE_BYTES", 1000)
    made = perform(ana, "job_submit", script="#!/bin/bash\nhead -c 5000 /dev/zero > big.bin\necho s > small.txt\n")
    done = finished(house, ana, made["id"])
    assert [(each.path, each.kind) for each in done.outputs] == [("big.bin", "reference"), ("small.txt", "stored")]
    assert "Not fetched, only noted where they lie: big.bin (4.9 KiB)." in done.notes[0]


def test_a_workflow_runs_step_by_step_over_its_files(house: House, ana: Actor, perform: Perform) -> None:
    add_file(house, ana, perform, "raw.csv", b"4\n")
    add_file(house, ana, perform, "double.py", b"open('mid.txt','w').write(str(2 * int(open('raw.csv').read())))\n")
    steps = [
        {"step": "prepare", "script": "double.py", "dependencies": ["raw.csv"]},
        {
            "step": "analyse",
            "script": "#!/bin/sh\necho $(( $(cat mid.txt) + 1 )) > end.txt\n",
            "dependencies": ["mid.txt"],
        },
        {"step": "show", "script": "#!/bin/sh\ncat end.txt\n", "dependencies": ["analyse"]},
    ]
    made = perform(ana, "job_submit", workflow=steps)
    last = finished(house, ana, made["jobs"][2])
    assert last.state == "SUCCEEDED"
    assert log_of(house, ana, made["jobs"][2]) == b"9\n"
    assert [each.path for each in last.inputs] == ["end.txt"]


def test_a_step_whose_producer_ended_without_its_input_fails_with_the_reason(
    house: House, ana: Actor, perform: Perform
) -> None:
    steps = [
        {"step": "prepare", "script": "#!/bin/sh\necho nothing\n"},
        {"step": "analyse", "script": "#!/bin/sh\n", "dependencies": ["mid.h5"]},
        {"step": "show", "script": "#!/bin/sh\n", "dependencies": ["analyse"]},
    ]
    made = perform(ana, "job_submit", workflow=steps)
    last = finished(house, ana, made["jobs"][2])
    middle = job_of(house, ana, made["jobs"][1])
    assert (middle.state, middle.reason) == (
        "FAILED",
        "Not started, because prepare (job 1) ended without making mid.h5.",
    )
    assert last.reason == "Not started, because analyse (job 2) ended FAILED."


def test_a_running_job_is_cancelled(house: House, ana: Actor, perform: Perform) -> None:
    made = perform(ana, "job_submit", script="#!/bin/bash\necho ready\nsleep 60\n")
    run_until(house, lambda: log_of(house, ana, made["id"]) == b"ready\n")
    asked = perform(ana, "job_cancel", job=made["id"])
    assert (asked["state"], asked["reason"]) == ("RUNNING", "Being cancelled.")
    assert perform(ana, "job_cancel", job=made["id"])["cancel_asked"]
    done = finished(house, ana, made["id"])
    assert (done.state, done.reason) == ("CANCELLED", "Cancelled.")
    with pytest.raises(Conflict):
        perform(ana, "job_cancel", job=made["id"])


def test_no_more_run_at_once_than_a_person_and_the_machine_may_have(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    mine = [perform(ana, "job_submit", script="#!/bin/sh\nsleep 60\n")["id"] for _ in range(3)]
    his = perform(ben, "job_submit", script="#!/bin/sh\nsleep 60\n")["id"]
    run_until(house, lambda: job_of(house, ben, his).state == "RUNNING")
    states = [job_of(house, ana, job).state for job in mine]
    assert states == ["RUNNING", "RUNNING", "QUEUED"]
    assert job_of(house, ana, mine[2]).place_in_queue == 1
    for job in mine[:2]:
        perform(ana, "job_cancel", job=job)
    run_until(house, lambda: job_of(house, ana, mine[2]).state == "RUNNING")
    perform(ana, "job_cancel", job=mine[2])
    perform(ben, "job_cancel", job=his)
    run_until(house, lambda: job_of(house, ana, mine[2]).state == job_of(house, ben, his).state == "CANCELLED")


def test_progress_is_read_from_the_log(house: House, ana: Actor, perform: Perform) -> None:
    made = perform(ana, "job_submit", script="#!/bin/bash\nprintf ' 10%%\\r 45/100 \\r'\nsleep 60\n")
    run_until(house, lambda: job_of(house, ana, made["id"]).progress is not None)
    progress = job_of(house, ana, made["id"]).progress
    assert progress is not None
    assert (progress.done, progress.total, progress.said) == (45, 100, "45 of 100")
    perform(ana, "job_cancel", job=made["id"])
    finished(house, ana, made["id"])


def test_a_log_is_read_by_offset_and_an_offset_beyond_it_is_refused(house: House, ana: Actor, perform: Perform) -> None:
    made = perform(ana, "job_submit", script="#!/bin/bash\nprintf '0123456789'\n")
    finished(house, ana, made["id"])
    with house.scope(ana) as scope:
        piece = views.log_piece(scope, made["id"], 4, 3)
        assert (piece.offset, piece.size, piece.done, piece.data) == (4, 10, True, b"456")
        assert views.log_piece(scope, made["id"], 10).data == b""
        with pytest.raises(InvalidInput, match="the log has 10 bytes"):
            views.log_piece(scope, made["id"], 11)


def test_setup_lines_and_workdir_are_honoured(house: House, ana: Actor, perform: Perform) -> None:
    script = "#!/bin/bash\necho $COLOUR > here.txt\n"
    made = perform(ana, "job_submit", script=script, environment={"setup": ["export COLOUR=green"]}, workdir="deep/er")
    done = finished(house, ana, made["id"])
    assert [(each.path, content(house, ana, each)) for each in done.outputs] == [("deep/er/here.txt", b"green\n")]


@pytest.mark.parametrize(
    "folder", ["/root", "/" + "x" * 256], ids=["one may not look there", "no file can have this name"]
)
def test_an_environment_that_is_not_there_is_named(house: House, ana: Actor, perform: Perform, folder: str) -> None:
    made = perform(ana, "job_submit", script="#!/bin/sh\n", environment={"venv": folder})
    done = finished(house, ana, made["id"])
    told = f"environment.venv: there is no such environment at {folder[:200]}."
    assert (done.state, done.reason) == ("FAILED", told)


def test_a_tampered_input_never_reaches_the_job(house: House, ana: Actor, perform: Perform) -> None:
    add_file(house, ana, perform, "in.txt", b"true\n")
    made = perform(ana, "job_submit", script="#!/bin/sh\n", artifacts=["in.txt"])
    digest = hashlib.sha256(b"true\n").hexdigest()
    blob = next((house.settings.data / "blobs").rglob(digest))
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-1] + b"X")
    done = finished(house, ana, made["id"])
    assert done.state == "FAILED"
    assert done.reason.startswith("It could not be started:")


def test_require_a_sandbox_refuses_to_run_without_one(house: House, ana: Actor, perform: Perform) -> None:
    import msgspec

    house.settings = msgspec.structs.replace(house.settings, sandbox="require")
    made = perform(ana, "job_submit", script="#!/bin/sh\n")
    run_steps(house)
    assert job_of(house, ana, made["id"]).state == "FAILED"
    assert "only in a sandbox" in job_of(house, ana, made["id"]).reason


@pytest.mark.real
def test_the_bundled_python_runs_in_the_sandbox_with_its_libraries(
    house: House, ana: Actor, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    script = (
        "#!/usr/bin/env python3\nimport numpy, matplotlib.pyplot as plt, pathlib\n"
        "plt.plot(numpy.arange(3)); plt.savefig('p.png')\n"
        f"print(pathlib.Path({str(house.settings.data.absolute())!r}, 'keys').exists())\n"
    )
    made = perform(ana, "job_submit", script=script)
    done = finished(house, ana, made["id"])
    assert (done.state, done.sandboxed) == ("SUCCEEDED", True), log_of(house, ana, made["id"])
    assert [each.path for each in done.outputs] == ["p.png"]
    assert log_of(house, ana, made["id"]).endswith(b"False\n")


def test_a_second_agent_stands_by_and_takes_over_when_the_lease_lapses(
    house: House, ana: Actor, perform: Perform, clock: Any
) -> None:
    import asyncio

    from hub.jobs.port import Overtaken

    first, second = agent(house, "a"), agent(house, "b")
    made = perform(ana, "job_submit", script="#!/bin/bash\necho hi\n")
    run_steps(house)
    asyncio.run(first.turn())
    assert asyncio.run(second.turn()) is False
    clock.advance(16)
    asyncio.run(second.turn())
    with pytest.raises(Overtaken):
        asyncio.run(first.turn())
    run_until(house, lambda: job_of(house, ana, made["id"]).state == "SUCCEEDED", by=second)
