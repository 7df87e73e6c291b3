"""Which Kubernetes cluster a submission goes to: one that its session may use, under the hub's account there.

Nobody has an account of their own on such a cluster, so what counts is the session, as an operator said it.
"""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Scope
from hub.core.errors import InvalidInput, NotAllowed, Unavailable
from hub.jobs.backends import kubernetes_rules, slurm_wish
from hub.jobs.backends.kubernetes_rules import Cluster
from hub.jobs.clusters import rules
from hub.jobs.clusters.rules import Account, Target
from hub.jobs.clusters.tables import cluster_accounts, clusters, kubernetes_clusters
from hub.jobs.requests import Environment, Resources
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import jobs

KIND = "kubernetes"
NONE = "no Kubernetes cluster is registered with this hub"


_KIND = sa.select(clusters.c.kind).where(clusters.c.name == sa.bindparam("name"), clusters.c.removed_at.is_(None))


def kind_of(scope: Scope, cluster: str) -> str | None:
    """Of which kind a cluster is; None when none is called so."""
    found: str | None = scope.execute(_KIND, {"name": cluster}).scalar()
    return found


def _rows(scope: Scope) -> list[Any]:
    """Every Kubernetes cluster, with the hub's account on it."""
    alive = (
        sa.select(sa.func.count())
        .where(jobs.c.account == cluster_accounts.c.id, jobs.c.state.not_in(TERMINAL))
        .scalar_subquery()
    )
    return list(
        scope.execute(
            sa.select(
                cluster_accounts.c.id,
                cluster_accounts.c.standing,
                cluster_accounts.c.tested_at,
                clusters.c.name,
                clusters.c.price_per_core_hour,
                clusters.c.price_per_gpu_hour,
                kubernetes_clusters.c.described,
                kubernetes_clusters.c.sessions,
                alive.label("alive"),
            )
            .join(clusters, clusters.c.id == cluster_accounts.c.cluster)
            .join(kubernetes_clusters, kubernetes_clusters.c.cluster == clusters.c.id)
            .where(cluster_accounts.c.removed_at.is_(None), clusters.c.removed_at.is_(None))
            .order_by(clusters.c.name)
        )
    )


def _serves(row: Any, session: str | None) -> bool:
    """Whether jobs of a session may go there; `session` None asks whether anybody's may."""
    return row.sessions is None or session is None or session in row.sessions


def offered(
    scope: Scope, session: str, resources: Resources, environment: Environment
) -> list[tuple[Account, tuple[str, ...]]]:
    """Those that jobs of this session may go to, each with why what is asked cannot be had there."""
    return [
        (
            _account(row),
            tuple(
                f"{each.path} {each.reason}"
                for each in kubernetes_rules.refusals(resources, environment, msgspec.convert(row.described, Cluster))
            ),
        )
        for row in _rows(scope)
        if row.tested_at is not None and _serves(row, session)
    ]


def names(scope: Scope, session: str) -> list[str]:
    """Those that jobs of this session can go to."""
    return [row.name for row in _rows(scope) if row.tested_at is not None and _serves(row, session)]


def usable(scope: Scope, session: str | None) -> bool:
    """Whether a job of this session can go to any of them."""
    return any(row.tested_at is not None and _serves(row, session) for row in _rows(scope))


def on_kubernetes(
    scope: Scope,
    session: str | None,
    cluster: str | None,
    resources: Resources,
    environment: Environment,
    step: str = "",
) -> Target:
    """Where it goes. Raises Unavailable, NotAllowed, and InvalidInput for what none of them can honour."""
    row = _chosen(scope, session, cluster)
    refused = kubernetes_rules.refusals(resources, environment, msgspec.convert(row.described, Cluster))
    if refused:
        of = f" of step {step}" if step else ""
        raise InvalidInput(
            f"{row.name} cannot honour what was asked{of}: {refused[0].path} {refused[0].reason}",
            code="cannot_honour",
            path=f"$.params.{refused[0].path}",
            errors=[f"$.params.{each.path} {each.reason}" for each in refused],
        )
    return Target(row.name, row.id)


def _chosen(scope: Scope, session: str | None, cluster: str | None) -> Any:
    known = [row for row in _rows(scope) if cluster is None or row.name == cluster]
    if not known:
        said = NONE if cluster is None else f"no Kubernetes cluster is called {cluster[:60]!r}"
        raise _away(said, "ask the operator to register one")
    tested = [row for row in known if row.tested_at is not None]
    if not tested:
        names = ", ".join(row.name for row in known)
        raise _away(f"{names} has not been tried yet", "ask the operator, whose `cluster test NAME` tries it")
    mine = [row for row in tested if _serves(row, session)]
    if not mine:
        names = ", ".join(row.name for row in tested)
        raise NotAllowed(
            f"jobs of this session may not go to {names}; nothing was recorded",
            code="cluster_not_for_session",
            path="$.params.cluster" if cluster else "$.params.job_type",
            hint="ask the operator, whose `cluster change NAME --attest --session OWNER/NAME` says which may",
        )
    return _first(mine)


def _first(rows: list[Any]) -> Any:
    best = rules.first_choice([_account(row) for row in rows])
    return next(row for row in rows if row.id == best.id)


def _account(row: Any) -> Account:
    return Account(
        id=row.id,
        cluster=row.name,
        reached=(row.standing or {}).get("reached", True),
        price_per_core_hour=row.price_per_core_hour,
        price_per_gpu_hour=row.price_per_gpu_hour,
        alive=row.alive,
        kind=KIND,
    )


def _away(said: str, hint: str) -> Unavailable:
    return Unavailable(
        f"{said}; nothing was recorded",
        code="backend_unavailable",
        path="$.params.job_type",
        errors=[said],
        hint=f"submit with `job_type` local, or {hint}",
    )


def told(head: str) -> tuple[str, ...]:
    """What a submitter is told of `#SBATCH` lines, which mean nothing there; a name among them is the job's name."""
    try:
        said = [each for each in slurm_wish.directives(head) if each.name != "job-name"]
    except ValueError:
        return ("The `#SBATCH` lines of the script were passed over: they mean something to Slurm only.",)
    if not said:
        return ()
    options = ", ".join(f"`{each}`" for each in said)
    return (f"On Kubernetes {options} of the script's `#SBATCH` lines means nothing; `resources` says what it needs.",)
