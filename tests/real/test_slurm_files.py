"""What goes to a cluster and what comes back: every name and word as it was, within limits, and no trap."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.artifacts.blobs import BlobStore
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import views
from hub.jobs.backends import retrieval
from hub.jobs.backends.throttle import Throttle
from tests.jobs import add_file, personal
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

Perform = Callable[..., Any]
WORDS = ["it's", '"', "$(touch pwned)", "`id`", "; true", "a b", "-rf", "*", "ü\t!", "x\ny", ""]


@pytest.fixture
def world(house: House, ana: Actor, perform: Perform, slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)


def ended(world: SlurmWorld, *jobs: str) -> None:
    async def story() -> None:
        await world.until(world.over(*jobs), 100)

    world.play(story)


def content(house: House, actor: Actor, output: views.OutputView) -> bytes:
    assert output.digest is not None
    store = house.port(BlobStore)  # type: ignore[type-abstract]
    return b"".join(store.open(output.digest.removeprefix("sha256:"), personal(house, actor)))


def test_hostile_words_arrive_as_they_were(world: SlurmWorld, house: House, ana: Actor, perform: Perform) -> None:
    path = 'data/it\'s $(touch pwned) "x".csv'
    add_file(house, ana, perform, path, b"in\n")
    script = (
        "#!/usr/bin/env python3\nimport json, os, sys\n"
        "given = json.load(open(os.environ['COLLEGIUM_INPUTS']))\n"
        "json.dump([sys.argv[1:], os.environ['WORD'], open(given[0]['path']).read()], open('said.json', 'w'))\n"
    )
    name = "-x $(touch pwned) '; \"\n|k" + "é" * 40
    job = world.submit(script, args=WORDS, env={"WORD": "".join(WORDS)}, artifacts=[path], name=name)
    ended(world, job)
    done = world.job(job)
    assert done.state == "SUCCEEDED", (done.reason, world.log(job))
    assert json.loads(content(house, ana, done.outputs[0])) == [WORDS, "".join(WORDS), "in\n"]
    assert world.box.sh("find . -name 'pwned*'") == ""


def test_a_large_input_goes_up_apart_and_is_laid_whole(
    world: SlurmWorld, house: House, ana: Actor, perform: Perform
) -> None:
    data = os.urandom(3 << 20)
    add_file(house, ana, perform, "big.bin", data)
    add_file(house, ana, perform, "small.txt", b"untouched")
    job = world.submit("#!/bin/sh\nsha256sum < big.bin\necho x >> small.txt; echo new > new.txt\n",
                       artifacts=["big.bin", "small.txt"])  # fmt: skip
    ended(world, job)
    done = world.job(job)
    assert world.log(job).decode().split()[0] == hashlib.sha256(data).hexdigest()
    assert [(each.path, content(house, ana, each)) for each in done.outputs] == [
        ("new.txt", b"new\n"),
        ("small.txt", b"untouchedx\n"),
    ]
    assert world.box.sh("ls .collegium/hub-of-tests/incoming") == ""


def test_links_and_odd_things_bring_nothing_home_and_limits_hold(
    world: SlurmWorld, house: House, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.COLLECT_FILE_BYTES", 3 << 20)
    script = (
        "#!/bin/bash\nln -s /etc/passwd stolen; ln -s / root; ln -s ../../../../.. up; mkfifo pipe\n"
        "echo x > $'bad\\nname'; echo y > $'\\xff'\n"
        "mkdir -p deep/er __pycache__; echo d > 'deep/er/d d.txt'; echo c > __pycache__/c.pyc\n"
        "head -c 2500000 /dev/urandom > two.bin; truncate -s 2T sparse.bin\n"
        "for i in $(seq 40); do echo $i > n$i.txt; done\n"
    )
    job = world.submit(script)
    ended(world, job)
    done = world.job(job)
    kinds = {each.path: each.kind for each in done.outputs}
    assert {path for path in kinds if not path.startswith("n")} == {"deep/er/d d.txt", "two.bin", "sparse.bin"}
    assert len(kinds) == 43
    assert kinds["sparse.bin"] == "reference" and kinds["two.bin"] == "stored"
    two = next(each for each in done.outputs if each.path == "two.bin")
    assert len(content(house, ana, two)) == 2500000
    assert any("sparse.bin (2.0 TiB)" in note or "sparse.bin (2 TiB)" in note for note in done.notes)
    assert "Passed over 1 files that tools keep for themselves, such as caches." in done.notes
    assert any(note.startswith("Passed over 6 things") for note in done.notes)


def test_only_what_was_declared_comes_back(world: SlurmWorld) -> None:
    job = world.submit("#!/bin/sh\nmkdir plots; echo 1 > plots/a.png; echo 2 > b.csv; echo 3 > c.tmp\n",
                       outputs=["plots/", "*.csv", "never.h5"])  # fmt: skip
    ended(world, job)
    assert [each.path for each in world.job(job).outputs] == ["b.csv", "plots/a.png"]
    assert world.job(job).notes == ("Declared as outputs, but not made: never.h5.",)


def test_what_is_to_be_fetched_comes_however_large_and_nothing_else_does(
    world: SlurmWorld, house: House, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.COLLECT_FILE_BYTES", 1 << 20)
    job = world.submit(
        "#!/bin/sh\nmkdir r; head -c 5000000 /dev/urandom > r/lines.h5; head -c 2000000 /dev/zero > other.bin\n"
        "truncate -s 2T r/sparse.h5; sha256sum < r/lines.h5\n",
        fetch=["r/*.h5", "none.h5"],
    )
    ended(world, job)
    done = world.job(job)
    assert {each.path: each.kind for each in done.outputs} == {
        "r/lines.h5": "stored", "r/sparse.h5": "reference", "other.bin": "reference",
    }  # fmt: skip
    lines = next(each for each in done.outputs if each.path == "r/lines.h5")
    assert hashlib.sha256(content(house, ana, lines)).hexdigest() == world.log(job).decode().split()[0]
    assert "Declared as outputs, but not made: none.h5." in done.notes
    assert any("unless `fetch` names them" in note for note in done.notes)


def test_of_a_million_files_some_come_some_are_named_and_the_rest_is_counted(
    world: SlurmWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "LISTED", 30)
    monkeypatch.setattr("hub.core.limits.COLLECT_FILES", 10)
    job = world.submit("#!/bin/sh\nfor i in $(seq 100); do echo $i > f$i; done\n")
    ended(world, job)
    done = world.job(job)
    assert [each.kind for each in done.outputs].count("stored") == 10
    assert [each.kind for each in done.outputs].count("reference") == 10
    assert any("80 of them are not even named here" in note for note in done.notes)


def test_a_log_comes_back_byte_for_byte(world: SlurmWorld) -> None:
    job = world.submit(
        "#!/usr/bin/env python3\nimport sys, time\n"
        "for i in range(40):\n"
        "    sys.stdout.buffer.write(bytes(range(256)) * 400 + b'\\r'); sys.stdout.flush(); time.sleep(0.05)\n"
    )
    ended(world, job)
    done = world.job(job)
    assert done.log_size_bytes == done.log_total_bytes == 40 * 102401
    with world.house.scope(world.actor) as scope:
        whole = b"".join(views.log_piece(scope, job, at).data for at in range(0, done.log_size_bytes, 1 << 20))
    assert whole == (bytes(range(256)) * 400 + b"\r") * 40


def test_setup_lines_a_venv_and_variables_are_there_and_a_setup_that_fails_ends_the_job(world: SlurmWorld) -> None:
    world.box.sh("python3 -m venv --without-pip env 2>/dev/null || mkdir -p env/bin; : >> env/bin/activate")
    venv = f"{world.box.home}/env"
    good = world.submit(
        "#!/bin/bash\necho $FROM_SETUP; echo ${VIRTUAL_ENV:-none}\n",
        environment={"venv": venv, "setup": ["export FROM_SETUP='a b'"]},
    )
    bad = world.submit("#!/bin/bash\necho never\n", environment={"setup": ["false"]})
    ended(world, good, bad)
    assert world.log(good).startswith(b"a b\n")
    assert world.job(bad).state == "FAILED"
    assert b"never" not in world.log(bad)


def test_results_come_no_faster_than_the_cluster_s_timetable(
    world: SlurmWorld, house: House, ana: Actor, operator: Actor, perform: Perform
) -> None:
    all_day = [{"from": "00:00", "to": "12:00", "mbit": 8}, {"from": "12:00", "to": "00:00", "mbit": 8}]
    perform(operator, "cluster_policy", name="raven", rate=all_day)
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds
        await asyncio.sleep(0)

    world.agent.throttle = Throttle(clock=lambda: now[0], sleep=sleep)
    job = world.submit("#!/bin/sh\nhead -c 3000000 /dev/urandom > large; head -c 500000 /dev/urandom > small\n")
    ended(world, job)
    assert sorted(len(content(house, ana, each)) for each in world.job(job).outputs) == [500_000, 3_000_000]
    # 3.5 MB at 1 MB a second, of which the first second's may come at once.
    assert 2.4 < now[0] < 2.7
