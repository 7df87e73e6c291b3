"""What is wrong with a real cluster, line by line: a refused key, a changed host key, no scheduler, a full disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import NotFound
from hub.core.house import House
from hub.jobs.clusters.rules import fingerprint
from hub.jobs.clusters.tables import cluster_accounts
from hub.ledger.tables import ledger
from tests.databases import free_port
from tests.real.slurm_box import SlurmBox
from tests.real.sshd_box import SshdBox
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

Perform = Callable[..., Any]


def joined(perform: Perform, operator: Actor, ana: Actor, box: SshdBox, **more: Any) -> None:
    """Ana has an account on it that lets her in."""
    wish = {"name": "raven", "host": "127.0.0.1", "port": box.port, "fingerprint": fingerprint(box.host_key), **more}
    perform(operator, "cluster_add", **wish)
    box.allow(perform(ana, "cluster_join", cluster="raven", login=box.user)["line"])


def examined(perform: Perform, who: Actor) -> tuple[str, dict[str, dict[str, Any]]]:
    """The worst of it, and the lines by their names."""
    told = perform(who, "cluster_doctor", cluster="raven")
    return told["worst"], {line["name"]: line for line in told["lines"]}


def levels(lines: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: line["level"] for name, line in lines.items()}


def left_behind(box: SshdBox) -> str:
    return box.sh("find . -name '.collegium.*' | head").strip()


def test_a_cluster_that_is_well_is_told_so_and_nothing_is_left_there(
    house: House, operator: Actor, ana: Actor, perform: Perform, slurm: SlurmBox
) -> None:
    joined(perform, operator, ana, slurm)
    worst, lines = examined(perform, ana)
    assert worst == "ok", lines
    assert levels(lines) == dict.fromkeys(
        [
            "reachable",
            "host key",
            "sign-in",
            "scheduler",
            "version",
            "clock",
            "folder of jobs",
            "space",
            "agent",
            "quota",
        ],
        "ok",
    )
    assert "Slurm 22.05" in lines["version"]["words"] and slurm.user in lines["sign-in"]["words"]
    assert left_behind(slurm) == "" and not lines["folder of jobs"]["hint"]
    with house.db.read() as conn:
        row = conn.execute(sa.select(cluster_accounts)).one()
        assert row.tested_at is None, "a look is no test: no job goes there for it"
        assert conn.execute(sa.select(sa.func.count()).select_from(ledger)).scalar_one() == 3


def test_a_key_that_is_refused_is_told_with_what_to_do(
    operator: Actor, ana: Actor, perform: Perform, sshd: SshdBox
) -> None:
    perform(operator, "cluster_add", name="raven", host="127.0.0.1", port=sshd.port,
            fingerprint=fingerprint(sshd.host_key))  # fmt: skip
    perform(ana, "cluster_join", cluster="raven", login=sshd.user)
    worst, lines = examined(perform, ana)
    assert worst == "failed" and levels(lines)["reachable"] == levels(lines)["host key"] == "ok"
    assert lines["sign-in"]["level"] == "failed" and "does not accept the key" in lines["sign-in"]["words"]
    assert "authorized_keys" in lines["sign-in"]["hint"] and "scheduler" not in lines


def test_a_changed_host_key_stops_everything_else(operator: Actor, ana: Actor, ben: Actor, perform: Perform,
                                                  sshd: SshdBox) -> None:  # fmt: skip
    joined(perform, operator, ana, sshd)
    sshd.new_host_key()
    for who in (ana, ben):  # Ben has no account there, and sees it all the same.
        worst, lines = examined(perform, who)
        assert worst == "failed" and lines["host key"]["level"] == "failed"
        assert "another host key" in lines["host key"]["words"] and "operator" in lines["host key"]["hint"]
        assert "scheduler" not in lines


def test_a_login_node_that_is_away_is_told(operator: Actor, ana: Actor, ben: Actor, perform: Perform,
                                           sshd: SshdBox) -> None:  # fmt: skip
    joined(perform, operator, ana, sshd)
    sshd.end("sshd")
    for who in (ana, ben):
        worst, lines = examined(perform, who)
        assert worst == "failed" and lines["reachable"]["level"] == "failed" and lines["reachable"]["hint"]
        assert "host key" not in lines


def test_a_login_node_without_slurm_is_told_by_name(
    operator: Actor, ana: Actor, perform: Perform, sshd: SshdBox
) -> None:
    joined(perform, operator, ana, sshd, path=["/nowhere"])
    sshd.restart()
    _, lines = examined(perform, ana)
    if sshd.sh("command -v sbatch", check=False).strip():
        assert lines["scheduler"]["level"] == "failed"  # its commands are there, and nobody answers them
    else:
        assert "sbatch" in lines["commands"]["words"] and "path" in lines["commands"]["hint"]
    assert lines["folder of jobs"]["level"] == "ok"


def test_a_scheduler_that_is_down_is_told_while_the_rest_is_looked_at(
    operator: Actor, ana: Actor, perform: Perform, slurm: SlurmBox
) -> None:
    joined(perform, operator, ana, slurm)
    slurm.end("slurmctld")
    try:
        worst, lines = examined(perform, ana)
    finally:
        slurm.start_controller()
        wait_for(lambda: "UP" in slurm.admin("scontrol", "ping"), 60, "a controller that is up")
    assert worst == "failed" and lines["scheduler"]["level"] == "failed", lines
    assert "does not answer" in lines["scheduler"]["words"] and "DOWN" in lines["scheduler"]["words"]
    assert lines["folder of jobs"]["level"] == lines["sign-in"]["level"] == "ok"
    assert examined(perform, ana)[1]["scheduler"]["level"] == "ok"


@pytest.fixture
def small_disk(sshd: SshdBox) -> Iterator[Path]:
    """A file system of two megabytes, the account's own."""
    place = sshd.base / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_and_a_folder_of_somebody_elses_are_told_apart(
    operator: Actor, ana: Actor, perform: Perform, sshd: SshdBox, small_disk: Path
) -> None:
    joined(perform, operator, ana, sshd, root=str(small_disk / "jobs of mine's"))
    lines = examined(perform, ana)[1]
    assert lines["folder of jobs"]["level"] == "ok" and lines["space"]["level"] == "warning"
    assert "made with the first job" in lines["folder of jobs"]["words"]
    (small_disk / "fills").write_bytes(b"x" * (1536 << 10))
    worst, lines = examined(perform, ana)
    assert worst == "failed" and lines["folder of jobs"]["level"] == "failed"
    assert "No space left on device" in lines["folder of jobs"]["words"]
    assert "Make room" in lines["folder of jobs"]["hint"]
    assert [each.name for each in small_disk.iterdir()] == ["fills"]
    (small_disk / "fills").unlink()
    small_disk.chmod(0o755)
    lines = examined(perform, ana)[1]
    assert "ermission denied" in lines["folder of jobs"]["words"] and "`root`" in lines["folder of jobs"]["hint"]


def test_who_has_no_account_or_an_agent_of_their_own_sees_what_can_be_seen_from_here(
    house: House, operator: Actor, ana: Actor, ben: Actor, perform: Perform, sshd: SshdBox
) -> None:
    joined(perform, operator, ana, sshd)
    worst, lines = examined(perform, ben)
    assert worst == "warning" and "no account" in lines["sign-in"]["words"] and lines["host key"]["level"] == "ok"
    perform(ben, "cluster_join", cluster="raven", login="ben", agent=True)
    lines = examined(perform, ben)[1]
    assert lines["agent"]["level"] == "warning" and "not connected" in lines["agent"]["words"]
    assert lines["reachable"]["level"] == "ok"
    perform(operator, "cluster_add", name="far", host="127.0.0.1", port=free_port(),
            host_key=sshd.host_key)  # fmt: skip
    perform(ben, "cluster_join", cluster="far", login="ben", agent=True)
    told = perform(ben, "cluster_doctor", cluster="far")["lines"]
    assert told[0]["level"] == "warning" and "agent may reach it" in told[0]["hint"]
    with pytest.raises(NotFound):
        perform(ben, "cluster_doctor", cluster="nowhere")
