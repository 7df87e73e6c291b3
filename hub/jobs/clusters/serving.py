"""Agents for every account on every cluster, in one process: each has its lease, its connection and its breaker.

They share an event loop, because an agent waits nearly all of its time and a process for each would take up more
memory than the hub. What one of them runs into stays with it. A second such process stands by, account by account.
An account without jobs has no agent: nobody signs in to a cluster on which nothing is to be done.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa
import structlog

from hub.core.errors import HubError
from hub.core.house import House
from hub.jobs import estimates, sweeping
from hub.jobs.backends.throttle import Throttle
from hub.jobs.cluster_agent import ClusterAgent
from hub.jobs.clusters import kubernetes_reaching, reaching
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.clusters.tables import cluster_accounts, clusters, kubernetes_clusters
from hub.jobs.rules import OCCUPYING
from hub.jobs.tables import jobs

log = structlog.get_logger()
LOOK_SECONDS = 1.0
# So long after its last job an account's connection is kept warm for the next.
WARM_SECONDS = 300.0
# So often it is looked whether something may be cleared away for accounts that have no jobs.
SWEEP_SECONDS = 3600.0


class _Agent(Protocol):
    """What an account's agent does, whatever its cluster is."""

    async def run(self, stop: asyncio.Event) -> None: ...

    def wake(self) -> None: ...


class _Running(NamedTuple):
    """An agent at work, and what it was made of."""

    agent: _Agent
    made_of: tuple[Any, ...]
    stop: asyncio.Event
    task: asyncio.Task[None]


class Accounts:
    """Keeps one agent for each account that can be used."""

    def __init__(self, house: House, name: str) -> None:
        self._house, self._name = house, name
        self._running: dict[str, _Running] = {}
        self._busy_at: dict[str, float] = {}
        self._swept_at = float("-inf")
        self._throttles: dict[str, Throttle] = {}  # by cluster: its limit is for all accounts together

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; a cluster or an account that was changed gets a new agent."""
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def heard(channel: str, _: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self._wake, channel, woken)

        forget = self._house.bus.listen("agent:*", heard)
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                woken.clear()
                try:
                    await self.look()
                except Exception:
                    log.warning("accounts.failed", exc_info=True)
                waiting = asyncio.create_task(woken.wait())
                await asyncio.wait({stopping, waiting}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
        finally:
            forget()
            stopping.cancel()
            await asyncio.gather(*(self._end(account) for account in list(self._running)))

    def _wake(self, channel: str, look: asyncio.Event) -> None:
        """Something is to be done for an account: now, and not at the next turn."""
        if (running := self._running.get(channel.removeprefix("agent:"))) is not None:
            running.agent.wake()
        else:
            look.set()

    async def look(self) -> None:
        """Start, end and replace agents as the rows say."""
        usable, busy = await asyncio.to_thread(self._rows)
        now = time.monotonic()
        self._busy_at |= dict.fromkeys(busy, now)
        wanted = {each: of for each, of in usable.items() if now - self._busy_at.get(each, -1e9) < WARM_SECONDS}
        for account in [each for each, running in self._running.items() if wanted.get(each) != running.made_of]:
            await self._end(account)
        for account, made_of in wanted.items():
            if account not in self._running or self._running[account].task.done():
                await self._start(account, made_of)

    async def _start(self, account: str, made_of: tuple[Any, ...]) -> None:
        try:
            agent = await asyncio.to_thread(self._agent, account)
        except HubError as error:
            log.warning("accounts.unusable", account=account, error=error.message)
            return
        stop = asyncio.Event()
        task = asyncio.create_task(agent.run(stop), name=f"agent {account}")
        self._running[account] = _Running(agent, made_of, stop, task)

    async def _end(self, account: str) -> None:
        running = self._running.pop(account)
        running.stop.set()
        await asyncio.gather(running.task, return_exceptions=True)

    def _rows(self) -> tuple[dict[str, tuple[Any, ...]], set[str]]:
        """What each agent is made of (when any of it changes, it is made anew), and which have something to do."""
        with self._house.db.read() as conn:
            rows = conn.execute(_usable(self._house.clock.now()).with_only_columns(*_MADE_OF)).all()
            busy = set(conn.execute(_BUSY).scalars())
            busy |= set(conn.execute(estimates.asked_accounts(self._house.clock.now())).scalars())
            if time.monotonic() - self._swept_at >= SWEEP_SECONDS:
                self._swept_at = time.monotonic()
                busy |= set(sweeping.accounts_due(conn, self._house.settings, self._house.clock.now()))
        return {row.id: tuple(repr(each) for each in row) for row in rows}, busy

    def _agent(self, account: str) -> _Agent:
        with self._house.db.read() as conn:
            mine = conn.execute(sa.select(cluster_accounts).where(cluster_accounts.c.id == account)).one()
            cluster = conn.execute(sa.select(clusters).where(clusters.c.id == mine.cluster)).one()
            within = sa.select(kubernetes_clusters).where(kubernetes_clusters.c.cluster == cluster.id)
            of = conn.execute(within).first()
        port = ClusterHousePort(self._house, account)
        if of is None:
            backend = reaching.backend_of(self._house, cluster, mine)
            throttle = self._throttles.setdefault(cluster.name, Throttle())
            return ClusterAgent(port, backend, self._name, cluster.name, throttle)
        there = kubernetes_reaching.backend_of(self._house, of, mine)
        from hub.jobs.kubernetes_agent import KubernetesAgent  # an extra of the package

        return KubernetesAgent(port, there, self._name, cluster.name)


_MADE_OF = (
    cluster_accounts.c.id,
    cluster_accounts.c.login,
    cluster_accounts.c.public_key,
    clusters.c.host,
    clusters.c.port,
    clusters.c.host_keys,
    clusters.c.jump,
    clusters.c.root,
    clusters.c.path,
    cluster_accounts.c.private_sealed,
    cluster_accounts.c.certificate,
    kubernetes_clusters.c.server,
    kubernetes_clusters.c.authority,
    kubernetes_clusters.c.described,
)


def _usable(now: dt.datetime) -> sa.Select[Any]:
    """Accounts that this hub can sign in with now: not those whose certificate has ended.

    Their agents stop as if the hub did. So nothing that fails meanwhile is held against a job, and the one that comes
    with the next certificate looks at the same places.
    """
    in_force = sa.and_(cluster_accounts.c.kind == "certificate", cluster_accounts.c.certificate_until > now)
    return (
        sa.select(cluster_accounts)
        .join(clusters, clusters.c.id == cluster_accounts.c.cluster)
        .outerjoin(kubernetes_clusters, kubernetes_clusters.c.cluster == clusters.c.id)
        .where(
            # An agent elsewhere has what lets it in, and this hub has not.
            sa.or_(cluster_accounts.c.kind == "key", in_force),
            cluster_accounts.c.tested_at.is_not(None),
            cluster_accounts.c.removed_at.is_(None),
            clusters.c.removed_at.is_(None),
        )
    )


_BUSY = (
    sa.select(jobs.c.account)
    .where(
        jobs.c.account.is_not(None),
        sa.or_(jobs.c.state.in_(OCCUPYING), sa.and_(jobs.c.state == "COLLECTING", jobs.c.fetched_run < jobs.c.run)),
    )
    .distinct()
)
