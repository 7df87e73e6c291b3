"""A hub with a cluster that is real: one person's account on it, its agent in this process, and time to wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import asyncssh
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.core.ids import new_id
from hub.jobs.backends.slurm import SlurmBackend
from hub.jobs.cluster_agent import ClusterAgent
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.port import ClusterPort
from hub.jobs.ssh import Connection, Login
from hub.ledger.tables import ledger
from tests.jobs import run_steps
from tests.real.agent_world import AgentWorld
from tests.real.sshd_box import SshdBox

CLUSTER = "raven"


class SlurmWorld(AgentWorld):
    """What a test says of jobs on a cluster; the agent works while it waits."""

    def __init__(self, house: House, actor: Actor, perform: Callable[..., Any], box: SshdBox, **known: Any) -> None:
        self.house, self.actor, self.box = house, actor, box
        self._perform = perform
        self.account = self._account(known)
        self.agent: ClusterAgent = self.new_agent()

    def _account(self, known: dict[str, Any]) -> str:
        now = self.house.clock.now()
        cluster, account = new_id("cl"), new_id("acc")
        row = {"id": cluster, "name": CLUSTER, "kind": "slurm", "host": "127.0.0.1", "port": self.box.port}
        row |= {"host_keys": [self.box.host_key], "path": [], "defaults": {}, "made_by": self.actor.id, "made_at": now}
        own = {"id": account, "cluster": cluster, "person": self.actor.id, "login": self.box.user, "public_key": "-"}
        self.house.db.write(lambda tx: tx.execute(sa.insert(clusters).values(**row | known)))
        made = {"made_at": now, "tested_at": now}
        self.house.db.write(lambda tx: tx.execute(sa.insert(cluster_accounts).values(**own | made)))
        return account

    def connection(self) -> Connection:
        login = Login("127.0.0.1", self.box.user, (self.box.host_key,), self.box.port)
        return Connection(login, asyncssh.read_private_key(str(self.box.client_key)))

    def new_agent(self, name: str = "agent-1", port: ClusterPort | None = None) -> ClusterAgent:
        backend = SlurmBackend(self.connection(), "hub-of-tests")
        return ClusterAgent(port or ClusterHousePort(self.house, self.account), backend, name, CLUSTER)

    def submit(self, script: str, **params: Any) -> str:
        made = self._perform(self.actor, "job_submit", script=script, job_type="slurm", **params)
        return str(made["id"])

    def cancel(self, job: str) -> None:
        self._perform(self.actor, "job_cancel", job=job)

    def row(self, job: str) -> Any:
        from hub.jobs.tables import jobs

        with self.house.db.read() as conn:
            return conn.execute(sa.select(jobs).where(jobs.c.id == job)).one()

    def lines(self, job: str) -> int:
        with self.house.db.read() as conn:
            query = sa.select(sa.func.count()).where(ledger.c.object == job, ledger.c.action == "job_observed")
            return int(conn.execute(query).scalar_one())

    async def until(self, reached: Callable[[], object], seconds: float = 60.0) -> None:
        """Let the agent and the workers work until it is so."""
        stop = asyncio.Event()
        running = asyncio.create_task(self._run(stop))
        deadline = time.monotonic() + seconds
        try:
            while not await asyncio.to_thread(reached):
                assert not running.done(), "the agent has ended"
                assert time.monotonic() < deadline, "it did not happen in time"
                await asyncio.to_thread(run_steps, self.house)
                await asyncio.sleep(0.05)
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def _run(self, stop: asyncio.Event) -> None:
        agent = self.agent
        while not stop.is_set():
            await agent.turn()
            await asyncio.sleep(0.1)
