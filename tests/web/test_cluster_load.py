"""How busy clusters are, on their pages and at /metrics, as their agents told it; nothing is shown that nobody told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.port import Load, Room, Standing
from hub.web import metrics
from tests.actions.cluster_fixtures import account_on
from tests.actions.test_kubernetes_accounts import NAME, Add, add, authority, works
from tests.conftest import Perform
from tests.web.test_cluster_pages import browser, text_of

__all__ = ["add", "authority", "browser", "works"]  # fixtures
DEBUG = Room(name="debug", nodes=4, idle_nodes=1, cpus=64, cpus_taken=48, memory_bytes=64 << 30)
SPACE = Room(name="namespace collegium-jobs", cpus_taken=2.5, memory_taken_bytes=3 << 30)
HIDDEN = "The hub's account may not see the cluster's nodes."


def told(house: House, account: str, load: Load) -> None:
    kept = msgspec.to_builtins(Standing(reached=True, version="22.05.8", load=load))
    change = sa.update(cluster_accounts).where(cluster_accounts.c.id == account).values(standing=kept)
    house.db.write(lambda tx: tx.execute(change) and None)


@pytest.mark.usefixtures("works")
def test_pages_and_metrics_show_what_agents_told_and_no_more(
    browser: Any, house: House, ana: Actor, ben: Actor, operator: Actor, perform: Perform, add: Add
) -> None:
    add()
    service = str(perform(operator, "cluster_test", cluster=NAME)["account"])
    mine, bens = account_on(house, ana, "raven"), account_on(house, ben, "raven")
    assert "Cores taken" not in browser(ana).get("/clusters").text
    at = house.clock.now().timestamp()
    told(house, mine, Load(rooms=(DEBUG,), waiting=7, told_at=at - 60))
    told(house, service, Load(rooms=(SPACE,), waiting=0, said=HIDDEN, told_at=at))
    for path in ("/clusters", "/clusters/raven"):
        said = text_of(browser(ana).get(path).text)
        assert "Nodes (debug) 4, 1 idle" in said and "Cores taken 48 of 64" in said and "Jobs that wait 7" in said
        assert "Memory taken 64" not in said, "Slurm did not say how much of it is taken"
    for path in ("/clusters", f"/clusters/{NAME}"):
        said = text_of(browser(ana).get(path).text)
        assert "Cores taken 2.5" in said and "Jobs that wait 0" in said and HIDDEN in said
    assert "Your login on" not in browser(ana).get(f"/clusters/{NAME}").text, "nobody signs up there"

    lines = metrics.written(house).decode().splitlines()
    assert 'collegium_cluster_cpus{cluster="raven",part="debug"} 64.0' in lines
    assert 'collegium_cluster_cpus_taken{cluster="raven",part="debug"} 48.0' in lines
    assert 'collegium_cluster_nodes_idle{cluster="raven",part="debug"} 1.0' in lines
    assert 'collegium_cluster_waiting{cluster="raven"} 7.0' in lines
    assert f'collegium_cluster_memory_taken_bytes{{cluster="{NAME}",part="{SPACE.name}"}} 3.221225472e+09' in lines
    assert not [each for each in lines if each.startswith(f'collegium_cluster_nodes{{cluster="{NAME}"')]
    # Two accounts on one cluster are one cluster: the newest word counts.
    told(house, bens, Load(rooms=(), waiting=9, told_at=at))
    lines = metrics.written(house).decode().splitlines()
    assert [each for each in lines if each.startswith("collegium_cluster_waiting{")] == [
        f'collegium_cluster_waiting{{cluster="{NAME}"}} 0.0',
        'collegium_cluster_waiting{cluster="raven"} 9.0',
    ]
