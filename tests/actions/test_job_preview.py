"""A dry run is what would be staged, byte for byte, and leaves no trace."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.actions import from_object
from hub.core.context import Actor
from hub.core.database import metadata
from hub.core.errors import InvalidInput, Unavailable
from hub.core.house import House
from hub.core.ids import new_id
from hub.jobs import preview as previews
from hub.jobs.assumed import AssumedFile
from hub.jobs.backends import far_side, kubernetes_prepare, kubernetes_rules, slurm_prepare, slurm_rules
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.port import Order
from hub.jobs.preview import HOME, JOB, TOKEN, Preview, Previews
from hub.jobs.requests import Environment, Resources
from hub.jobs.starting import local
from tests.jobs import add_file, run_steps

Perform = Callable[..., Any]
SCRIPT = "#!/bin/bash\n#SBATCH --time=9:00:00 --mem=1G\n#SBATCH --mem=2G --output=mine\n#SBATCH -q night\necho run\n"


def dry(house: House, actor: Actor, **params: Any) -> Previews:
    with house.scope(actor) as scope:
        return previews.preview(scope, from_object({"action": "job_submit", **params}, "$"))


def rows(house: House) -> dict[str, int]:
    with house.db.read() as conn:
        return {
            table.name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def cluster(house: House, actor: Actor, root: str = "", kind: str = "slurm") -> str:
    now = house.clock.now()
    known, account = new_id("cl"), new_id("acc")
    row = {"id": known, "name": "raven", "kind": kind, "host": "h", "port": 22, "host_keys": [], "path": []}
    row |= {"defaults": {"partition": "short", "time": "5"}, "made_by": actor.id, "made_at": now, "root": root}
    own = {"id": account, "cluster": known, "person": actor.id, "login": "l", "public_key": "-", "made_at": now}
    house.db.write(lambda tx: tx.execute(sa.insert(clusters).values(**row)))
    house.db.write(lambda tx: tx.execute(sa.insert(cluster_accounts).values(**own, tested_at=now)))
    return account


def named(text: str, job: str, account: str) -> str:
    """What was staged, with the words that stand in a dry run for what only a job has."""
    return text.replace(job, JOB).replace(f"/u/l/.collegium/{account[:12]}", f"{HOME}/.collegium/{account[:12]}")


def files_of(archive: Path) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive.read_bytes()))) as packed:
        return {each.name: packed.extractfile(each).read().decode() for each in packed if each.isreg()}  # type: ignore[union-attr]


def test_a_dry_run_on_slurm_is_what_its_agent_stages(
    house: House, ana: Actor, perform: Perform, tmp_path: Path
) -> None:
    account = cluster(house, ana)
    add_file(house, ana, perform, "fit.sh", SCRIPT.encode())
    add_file(house, ana, perform, "data/in.csv", b"1\n")
    wanted = {
        "script": "fit.sh", "args": ["--a b", "$(id)"], "artifacts": ["data/in.csv"], "job_type": "slurm",
        "env": {"GREETING": "it's"}, "workdir": "there", "resources": {"nodes": 2, "time": "2:00:00", "array": "1-3"},
        "environment": {"modules": ["gcc/12"], "conda": "phys", "setup": ["ulimit -c 0"],
                        "container": f"docker://python@sha256:{'a' * 64}"},
    }  # fmt: skip
    before = rows(house)
    [shown] = dry(house, ana, **wanted).jobs
    assert rows(house) == before
    job = perform(ana, "job_submit", **wanted)["id"]
    run_steps(house)
    port = ClusterHousePort(house, account)
    epoch = port.lease("agent")
    assert epoch is not None
    order = port.order(epoch, job)
    assert order is not None
    root = f"/u/l/.collegium/{account[:12]}"
    archive = tmp_path / "run.tgz"
    staged = slurm_prepare.prepare(order, root, archive, lambda digest: port.content(epoch, job, digest))
    laid = {path: named(text, job, account) for path, text in files_of(archive).items()}
    assert {each.path: each.text for each in shown.files} == {
        path: text for path, text in laid.items() if path != "work/data/in.csv"
    }
    token = slurm_rules.token_of(account, job, 1)
    called = far_side.sbatch(root, job, 1, [*slurm_rules.known_by(order.name, token), *staged.options])
    assert shown.command == [named(word, job, account).replace(token, TOKEN) for word in called]
    assert [(each.path, each.digest) for each in shown.inputs] == [
        (each["path"], f"sha256:{each['digest']}") for each in order.inputs
    ]
    start = next(each.text for each in shown.files if each.path == "given/start.sh")
    assert "module load gcc/12\n" in start and "conda activate phys" in start and "apptainer exec" in start
    assert set(staged.notes) <= set(shown.notes)


def test_which_lines_of_the_script_won_and_why_others_did_not_is_told(house: House, ana: Actor) -> None:
    cluster(house, ana)
    [shown] = dry(house, ana, script=SCRIPT, job_type="slurm", resources={"time": "2:00:00"}).jobs
    assert [(each.option, each.by, each.lost_because) for each in shown.options] == [
        ("--time=2:00:00", "resources.time", ""),
        ("--mem=2G", "#SBATCH", ""),
        ("--qos=night", "#SBATCH", ""),
        ("--partition=short", "the cluster's default", ""),
        ("--mem=1G", "#SBATCH", "a later line of the script says `--mem=2G`"),
        ("--output=mine", "#SBATCH", "the hub keeps the log"),
        ("--time=9:00:00", "#SBATCH", "resources.time asks for `--time=2:00:00`"),
    ]
    assert all(each.option in shown.command for each in shown.options if not each.lost_because)
    assert not any(each.option in shown.command for each in shown.options if each.lost_because)


def test_a_cluster_whose_folder_is_known_shows_it_as_it_is(house: House, ana: Actor) -> None:
    cluster(house, ana, root="/scratch/hub")
    [shown] = dry(house, ana, script="#!/bin/sh\n", job_type="slurm").jobs
    assert shown.folder == f"/scratch/hub/jobs/{JOB}/1" and not any(HOME in note for note in shown.notes)


def here(text: str, folder: Path) -> str:
    """As seen from this folder."""
    return text.replace(f"{folder}/", "").replace(str(folder), ".")


@pytest.mark.parametrize("script", ["run.sh", "#!/bin/sh\necho 'written out'\n"])
@pytest.mark.parametrize("setup", [[], ["export A='1 2'"]])
def test_a_dry_run_on_this_machine_is_what_its_runner_is_told(
    house: House, ana: Actor, perform: Perform, script: str, setup: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.jobs.backends.local.LocalBackend.start", lambda *_: None)
    monkeypatch.setattr("hub.jobs.starting.STARTED_WITHIN_SECONDS", 0.0)
    add_file(house, ana, perform, "run.sh", b"echo run\n")
    wanted = {"script": script, "args": ["x y"], "env": {"SEED": "7"}, "environment": {"setup": setup}}
    wanted |= {"resources": {"memory": "1G", "time": "10"}, "workdir": "there"}
    before = rows(house)
    [shown] = dry(house, ana, **wanted).jobs
    assert rows(house) == before and not local(house.settings).root.exists()
    job = perform(ana, "job_submit", **wanted)["id"]
    run_steps(house)
    folder = local(house.settings).folder(job, 1)
    # Where the hub's own folders lie is told to nobody: paths begin at the folder of the run.
    assert str(house.settings.data) not in msgspec.json.encode(shown).decode()
    spec = json.loads(here((folder / "spec.json").read_text(), folder).replace(job, JOB))
    assert (shown.command, shown.around, shown.folder) == (spec["argv"], spec["wrapper"], spec["cwd"])
    assert (shown.variables, shown.limits) == (spec["env"], spec["limits"])
    for each in shown.files:
        assert here((folder / each.path).read_text(), folder).replace(job, JOB) == each.text
    assert {each.path for each in shown.files} == {
        "work/run.sh" if script == "run.sh" else "given/script", *(["given/start.sh"] if setup else []),
    }  # fmt: skip


def test_a_dry_run_on_kubernetes_is_the_manifest_and_the_files_that_are_sent(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    there = kubernetes_rules.Cluster(
        namespace="jobs", claim="work", porter_image="busybox", image=f"p@sha256:{'b' * 64}"
    )
    order = Order(
        job=JOB, run=1, name="a job: 'x'\n- y", script="#!/bin/sh\n", interpreter=("sh",), args=("$(id)",),
        variables={"A": "b c"}, inputs=[], resources=Resources(memory="1G"),
        environment=Environment(setup=("ulimit -c 0",)), at=1_700_000_000,
    )  # fmt: skip
    shown = previews.on_kubernetes(order, "hub", there)
    archive = tmp_path / "run.tgz"
    work = kubernetes_prepare.prepare(order, there, archive, lambda _: iter(()))
    assert yaml.safe_load(shown.manifest) == kubernetes_rules.manifest(work, "hub", there)
    assert shown.manifest.startswith("apiVersion: batch/v1\nkind: Job\nmetadata:\n")
    assert {each.path: each.text for each in shown.files} == files_of(archive)


def test_a_workflow_shows_every_step_and_what_it_waits_for(house: House, ana: Actor, perform: Perform) -> None:
    add_file(house, ana, perform, "one.py", b"print(1)\n")
    before = rows(house)
    shown = dry(
        house, ana, name="W",
        workflow=[
            {"step": "first", "script": "one.py", "outputs": ["a.txt"]},
            {"step": "then", "script": "#!/bin/sh\ncat a.txt\n", "dependencies": ["a.txt"]},
        ],
    )  # fmt: skip
    assert rows(house) == before
    assert [(each.step, each.waits_for, each.notes[-1]) for each in shown.jobs] == [
        (
            "first",
            [],
            f"{JOB} stands for the id that the job will have; paths without a leading / are in its folder.",
        ),
        ("then", ["first"], "It waits for first."),
    ]
    assert (shown.name, shown.session_name) == ("W", "ana/personal")


def test_what_a_submission_refuses_its_dry_run_refuses_with_the_same_words(
    house: House, ana: Actor, perform: Perform
) -> None:
    for wanted in (
        {"script": "nope.py"},
        {"script": "#!/bin/sh\n", "job_type": "kubernetes"},
        {"script": "#!/bin/sh\n", "resources": {"memory": "lots"}},
        {"script": "#!/bin/sh\n", "artifacts": ["nope.csv"]},
    ):
        with pytest.raises((InvalidInput, Unavailable)) as really:
            perform(ana, "job_submit", **wanted)
        with pytest.raises(type(really.value)) as dryly:
            dry(house, ana, **wanted)
        assert (dryly.value.code, dryly.value.message) == (really.value.code, really.value.message)


def test_only_a_submission_can_be_tried_dry(house: House, ana: Actor) -> None:
    with house.scope(ana) as scope, pytest.raises(InvalidInput) as caught:
        previews.preview(scope, from_object({"action": "job_cancel", "job": "1"}, "$"))
    assert caught.value.code == "no_dry_run"


def test_what_would_end_at_once_is_said_and_not_hidden(house: House, ana: Actor) -> None:
    [shown] = dry(house, ana, script="#!/bin/sh\n", environment={"venv": "/no/such"}).jobs
    assert isinstance(shown, Preview) and shown.command == []
    assert shown.notes[0] == "It would end at once: environment.venv: there is no such environment at /no/such."


def test_files_that_would_be_sent_first_are_taken_for_sent(house: House, ana: Actor, perform: Perform) -> None:
    cluster(house, ana)
    add_file(house, ana, perform, "in.csv", b"old\n")
    script, data = SCRIPT.encode(), b"new\n"
    sent = [
        AssumedFile(path="fit.sh", digest=hashlib.sha256(script).hexdigest(), size=len(script), text=SCRIPT),
        AssumedFile(path="in.csv", digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data)),
    ]
    wanted = {"script": "fit.sh", "artifacts": ["in.csv"], "job_type": "slurm"}
    act = from_object({"action": "job_submit", **wanted}, "$")
    before = rows(house)
    with house.scope(ana) as scope:
        assumed = previews.preview(scope, act, sent)
        with pytest.raises(InvalidInput, match=r"no 'fit\.sh'"):
            previews.preview(scope, act, sent[1:])
    assert rows(house) == before
    add_file(house, ana, perform, "fit.sh", script)
    add_file(house, ana, perform, "in.csv", data)
    really = dry(house, ana, **wanted)
    [one], [other] = assumed.jobs, really.jobs
    manifest = "given/inputs.json"  # names versions, which those not sent have none of
    assert [each for each in one.files if each.path != manifest] == [
        each for each in other.files if each.path != manifest
    ]
    assert msgspec.structs.replace(one, files=[]) == msgspec.structs.replace(other, files=[])
