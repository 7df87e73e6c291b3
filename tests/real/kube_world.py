"""A hub with a Kubernetes that is real: the lab's namespace, its agent in this process, and time to wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.clusters import kubernetes_reaching
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.clusters.tables import cluster_accounts, kubernetes_clusters
from hub.jobs.kubernetes_agent import KubernetesAgent
from tests.conftest import Perform
from tests.jobs import run_steps
from tests.real.agent_world import AgentWorld
from tests.real.kube_lab import Lab

CLUSTER = "harbour"


class World(AgentWorld):
    """A hub whose one cluster is the lab's namespace; its agent works while a test waits."""

    def __init__(self, house: House, operator: Actor, actor: Actor, perform: Perform, lab: Lab) -> None:
        self.house, self.actor, self.perform, self.lab = house, actor, perform, lab
        lab.registered(perform, operator, CLUSTER)
        self.account = str(perform(operator, "cluster_test", cluster=CLUSTER)["account"])
        self.agent: KubernetesAgent = self.new_agent()

    def new_agent(self, name: str = "agent-1") -> KubernetesAgent:
        with self.house.db.read() as conn:
            own = conn.execute(sa.select(cluster_accounts).where(cluster_accounts.c.id == self.account)).one()
            of = conn.execute(sa.select(kubernetes_clusters)).one()
        backend = kubernetes_reaching.backend_of(self.house, of, own)
        return KubernetesAgent(ClusterHousePort(self.house, self.account), backend, name, CLUSTER)

    def submit(self, script: str, **params: Any) -> str:
        asked = {"script": script, "job_type": "kubernetes", **params}
        return str(self.perform(self.actor, "job_submit", **asked)["id"])

    async def until(self, reached: Callable[[], object], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(reached):
            assert time.monotonic() < deadline, "it did not happen in time"
            await asyncio.to_thread(run_steps, self.house)
            await self.agent.turn()
            await asyncio.sleep(0.1)


@pytest.fixture
def world(house: House, operator: Actor, ana: Actor, perform: Perform, lab: Lab) -> Iterator[World]:
    yield World(house, operator, ana, perform, lab)
