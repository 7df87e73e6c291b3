"""The line with which somebody reaches a port of their own running job: made here, typed by them; nothing is opened."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Scope
from hub.core.errors import Conflict, NotAllowed
from hub.jobs import rules
from hub.jobs.clusters.rules import HOST, LOGIN, Jump
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.tables import jobs

USUAL_PORT = 8888
_FIRST_UNPRIVILEGED = 1024


class ConnectionView(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach `port` of the job's node from one's own machine, at `url` then.

    `command` signs in to the node; `by_login_node` is for clusters that let nobody do that.
    """

    job: str
    node: str
    port: int
    command: str
    by_login_node: str
    url: str
    portal_url: str


class Hop(msgspec.Struct, frozen=True):
    """One sign-in on the way."""

    user: str
    host: str
    port: int = 22

    @property
    def shown(self) -> str:
        """As `ssh -J` reads it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" + (f":{self.port}" if self.port != 22 else "")


def first_node(nodes: str) -> str:
    """The node on which a batch script itself runs: `fox[03-07,9],owl1` -> `fox03`."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes.strip())
    assert first is not None
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0])


def lines(way: list[Hop], node: str, port: int) -> tuple[str, str]:
    """To sign in to the node over every hop, and to stop at the last hop. Raises ValueError for what is no name."""
    for hop in way:
        if not HOST.fullmatch(hop.host) or not LOGIN.fullmatch(hop.user):
            raise ValueError(f"{hop.user}@{hop.host}"[:100])
    if not HOST.fullmatch(node):
        raise ValueError(node[:100])
    here, last = local_port(port), way[-1]
    jumps = ",".join(hop.shown for hop in way)
    to_node = ["ssh", "-J", jumps, "-L", f"{here}:localhost:{port}", f"{last.user}@{node}"]
    before = ["-J", ",".join(hop.shown for hop in way[:-1])] if len(way) > 1 else []
    at = ["-p", str(last.port)] if last.port != 22 else []
    to_login = ["ssh", *before, "-L", f"{here}:{node}:{port}", *at, f"{last.user}@{last.host}"]
    return shlex.join(to_node), shlex.join(to_login)


def local_port(port: int) -> int:
    """The same on one's own machine, unless only its administrator could open that."""
    return port if port >= _FIRST_UNPRIVILEGED else port + 10_000


def connection(scope: Scope, ref: str, port: int = USUAL_PORT) -> ConnectionView:
    """For one's own job that runs on a cluster. Raises NotAllowed and Conflict with the reason."""
    job = scope.execute(sa.select(jobs).where(jobs.c.id == scope.access.find("job", ref, "job:read"))).one()
    if job.submitted_by != scope.actor.id:
        raise NotAllowed(f"job {job.number} is somebody else's; only its submitter has a way in", code="not_your_job")
    where = _where(scope, job)
    if job.state in rules.TERMINAL or job.state == "COLLECTING":
        raise Conflict(f"job {job.number} has ended already", code="job_is_over")
    if job.state != "RUNNING" or not job.nodes:
        said = rules.sentence(job.state, job.reason, waits_for=job.waits_for)
        raise Conflict(
            f"job {job.number} has no node yet: {said}",
            code="no_node_yet",
            hint="ask again once it runs, a minute later",
        )
    way = [Hop(where.login, where.host, where.port)]
    if where.jump:
        jump = msgspec.convert(where.jump, Jump)
        way.insert(0, Hop(jump.user or where.login, jump.host, jump.port))
    node = first_node(job.nodes)
    try:
        command, by_login_node = lines(way, node, port)
    except ValueError as odd:
        raise Conflict(f"no line can be made with the name {odd}", code="odd_name") from None
    return ConnectionView(
        job=job.id,
        node=node,
        port=port,
        command=command,
        by_login_node=by_login_node,
        url=f"http://localhost:{local_port(port)}/",
        portal_url=where.portal_url,
    )


def _where(scope: Scope, job: Any) -> Any:
    """The account's login and its cluster's address. Raises Conflict for a job that is on none that is reached so."""
    wanted = (clusters.c.kind, clusters.c.host, clusters.c.port, clusters.c.jump, clusters.c.portal_url)
    query = sa.select(*wanted, cluster_accounts.c.login).join(
        cluster_accounts, cluster_accounts.c.cluster == clusters.c.id
    )
    row = scope.execute(query.where(cluster_accounts.c.id == job.account)).first()
    if row is None:
        raise Conflict(f"job {job.number} is on this hub's own machine, not on a cluster", code="not_on_cluster")
    if row.kind != "slurm":
        raise Conflict(
            f"job {job.number} runs in a pod, which is not reached over SSH",
            code="cannot_honour",
            hint="`kubectl port-forward`, if you have an account there",
        )
    return row
