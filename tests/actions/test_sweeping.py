"""What ended jobs left goes after a while, told in one line of the ledger; nobody's only copy ever goes with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import sweeping
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.port import Overtaken, Sweep
from hub.jobs.starting import local
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger, ledger_bodies

Perform = Callable[..., Any]
ACCOUNT = "acc_1"
DAY = 86400.0


@pytest.fixture
def made(house: House, ana: Actor, perform: Perform, clock: FrozenClock) -> Callable[..., str]:
    """A job with a folder here, in the state that its columns say, which ended a moment ago."""

    def make(**columns: Any) -> str:
        job = str(perform(ana, "job_submit", script="#!/bin/sh\ntrue\n", job_type="local")["id"])
        now = clock.now()
        ended = {"state": "SUCCEEDED", "started_at": now, "ended_at": now, "unfetched": 0, "run": 1, **columns}
        house.db.write(lambda tx: tx.execute(sa.update(jobs).where(jobs.c.id == job).values(**ended)))
        work = local(house.settings).folder(job, 1) / "work"
        work.mkdir(parents=True)
        (work / "result").write_bytes(b"x" * 10_000)
        return job

    return make


def folders(house: House) -> set[str]:
    return {each.name for each in local(house.settings).root.iterdir()}


def lines(house: House) -> list[tuple[str, dict[str, Any]]]:
    with house.db.read() as conn:
        query = sa.select(ledger.c.object, ledger_bodies.c.bytes).join(ledger_bodies).order_by(ledger.c.line)
        rows = conn.execute(query.where(ledger.c.action == "job_swept")).all()
    return [(row.object, msgspec.json.decode(row.bytes)["facts"]) for row in rows]


def test_a_folder_here_goes_when_its_time_has_come_and_its_files_came_home(
    house: House, made: Callable[..., str], clock: FrozenClock, tmp_path: Path
) -> None:
    whole, never_ran = made(), made(state="CANCELLED", started_at=None, unfetched=None)
    stay = {made(unfetched=1), made(unfetched=None), made(state="UNKNOWN_OUTCOME", started_at=None, unfetched=None)}
    stay |= {made(state="RUNNING", ended_at=None)}
    (local(house.settings).root / "not_a_job").mkdir()
    (local(house.settings).root / "link").symlink_to(tmp_path)
    stay |= {"not_a_job", "link"}
    clock.advance(14 * DAY)
    assert sweeping.sweep_here(house).folders == 0 and lines(house) == []
    clock.advance(1)
    assert sweeping.sweep_here(house).folders == 2
    assert folders(house) == stay and not {whole, never_ran} & folders(house)
    ((about, facts),) = lines(house)
    assert about == "hub" and facts["folders"] == 2 and facts["bytes"] >= 20_000
    assert sweeping.sweep_here(house).folders == 0 and len(lines(house)) == 1


def test_a_job_of_a_cluster_leaves_nothing_here_once_what_came_home_was_counted(
    house: House, made: Callable[..., str], clock: FrozenClock
) -> None:
    made(account=ACCOUNT, unfetched=7)
    stays = made(account=ACCOUNT, unfetched=None)
    clock.advance(15 * DAY)
    assert sweeping.sweep_here(house).folders == 1
    assert folders(house) == {stays}


def test_of_an_account_those_are_due_whose_files_came_home_and_the_rest_only_if_a_time_was_set_for_it(
    house: House, made: Callable[..., str], clock: FrozenClock
) -> None:
    whole, unfetched = made(account=ACCOUNT, run=2), made(account=ACCOUNT, unfetched=3)
    made(account="acc_2")
    clock.advance(15 * DAY)
    port = ClusterHousePort(house, ACCOUNT)
    epoch = port.lease("agent-1")
    assert epoch is not None
    assert port.sweepable(epoch) == [(whole, 2)]
    with house.db.read() as conn:
        assert set(sweeping.accounts_due(conn, house.settings, clock.now())) == {ACCOUNT, "acc_2"}
        later = msgspec.structs.replace(house.settings, sweep_unfetched_after_days=15)
        assert [job for job, _ in sweeping.due(conn, ACCOUNT, later, clock.now())] == [whole]
        clock.advance(1)
        assert [job for job, _ in sweeping.due(conn, ACCOUNT, later, clock.now())] == [whole, unfetched]
        never = msgspec.structs.replace(house.settings, sweep_after_days=0)
        assert sweeping.due(conn, ACCOUNT, never, clock.now()) == []


def test_a_sweep_is_one_line_and_what_was_swept_is_not_due_again(
    house: House, made: Callable[..., str], clock: FrozenClock
) -> None:
    first, second = made(account=ACCOUNT), made(account=ACCOUNT)
    another_s = made(account="acc_2")
    clock.advance(15 * DAY)
    port = ClusterHousePort(house, ACCOUNT)
    epoch = port.lease("agent-1")
    assert epoch is not None
    port.swept(epoch, Sweep(jobs=(first, another_s), folders=1, size_bytes=4096, left=1))
    assert lines(house) == [(ACCOUNT, {"jobs": 2, "folders": 1, "bytes": 4096, "strange": 0, "left": 1})]
    assert port.sweepable(epoch) == [(second, 1)]
    with house.db.read() as conn:
        assert sweeping.accounts_due(conn, house.settings, clock.now()) == [ACCOUNT, "acc_2"]
    with pytest.raises(Overtaken):
        port.swept(epoch + 1, Sweep(jobs=(second,), folders=1, size_bytes=1))
    assert len(lines(house)) == 1
