"""A person's tested account on a cluster that nobody has to reach, and its agent's side of the port."""

from __future__ import annotations

import datetime as dt
from typing import Any

import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.core.ids import new_id
from hub.jobs.clusters.house_port import ClusterHousePort
from hub.jobs.clusters.tables import cluster_accounts, clusters, kubernetes_clusters
from hub.jobs.port import Answer, Observation, Report, Watched
from hub.jobs.tables import jobs


def account_on(house: House, who: Actor, name: str, **more: Any) -> str:
    """`more` are columns of the cluster; the same cluster may be named again for another person.

    Of the kind kubernetes it serves every session.
    """
    now = house.clock.now()
    with house.db.read() as conn:
        cluster = conn.execute(sa.select(clusters.c.id).where(clusters.c.name == name)).scalar()
    account = new_id("acc")
    row = {"name": name, "kind": "slurm", "host": f"{name}.example", "port": 22, "host_keys": [], "path": []}
    row |= {"defaults": {}, "made_by": who.id, "made_at": now, "price_per_core_hour": 0.1, "price_per_gpu_hour": 1.0}
    own = {"person": who.id, "login": who.handle, "public_key": "-", "made_at": now, "tested_at": now}
    if cluster is None:
        cluster = new_id("cl")
        house.db.write(lambda tx: tx.execute(sa.insert(clusters).values(id=cluster, **(row | more))))
        if more.get("kind") == "kubernetes":
            digest = f"python@sha256:{'a' * 64}"
            of = {"namespace": "jobs", "claim": "workspace", "porter_image": digest, "image": digest}
            of = {"server": "", "authority": "", "described": of, "attested_by": who.id, "attested_at": now}
            house.db.write(lambda tx: tx.execute(sa.insert(kubernetes_clusters).values(cluster=cluster, **of)))
    house.db.write(lambda tx: tx.execute(sa.insert(cluster_accounts).values(id=account, cluster=cluster, **own)))
    return account


def answers(house: House, account: str, starts_in: float | None = None, refusal: str = "") -> int:
    """The account's agent answers every question that is open; says how many there were."""
    port = ClusterHousePort(house, account)
    epoch = port.lease("agent-1")
    assert epoch is not None
    asked = port.questions(epoch)
    at = None if starts_in is None else (house.clock.now() + dt.timedelta(seconds=starts_in)).timestamp()
    port.answer(epoch, [Answer(each.digest, at, refusal) for each in asked])
    return len(asked)


class PaperCluster:
    """What an agent would report, said by the test itself."""

    def __init__(self, house: House, person: Actor, name: str = "raven", **known: Any) -> None:
        self._house = house
        self.account = account_on(house, person, name, **known)
        self.port = ClusterHousePort(house, self.account)
        epoch = self.port.lease("agent-1")
        assert epoch is not None
        self.epoch = epoch

    def watched(self, job: str) -> Watched:
        """What the agent is told of this job."""
        return next(each for each in self.port.watched(self.epoch) if each.job == job)

    def tell(self, job: str, sight: Any, detail: str = "", native: str = "7", **more: Any) -> None:
        """Report what was seen of the job's newest run; `wish` and `attached` beside it, and `exit` within."""
        seen = Observation(sight, more.pop("exit", None), detail, native)
        self.port.report(self.epoch, [Report(job, self.row(job).run, seen, **more)])

    def row(self, job: str) -> Any:
        with self._house.db.read() as conn:
            return conn.execute(sa.select(jobs).where(jobs.c.id == job)).one()
