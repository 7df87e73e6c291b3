"""Where a submission goes: this machine, or one of the submitter's own accounts; nobody ever lends another's."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from hub.core.context import Scope
from hub.core.errors import InvalidInput, Unavailable
from hub.jobs.asked import Free
from hub.jobs.backends.slurm_wish import directives, wish
from hub.jobs.clusters import rules, views
from hub.jobs.clusters.rules import Account, Target
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.requests import Environment, Resources
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import jobs

WHERE = "$.params.job_type"


_USABLE = (
    sa.select(
        cluster_accounts.c.id,
        cluster_accounts.c.standing,
        cluster_accounts.c.kind.label("served_by"),
        cluster_accounts.c.certificate_until,
        clusters.c.name,
        clusters.c.kind,
        clusters.c.defaults,
        clusters.c.price_per_core_hour,
        clusters.c.price_per_gpu_hour,
        sa.select(sa.func.count())
        .where(jobs.c.account == cluster_accounts.c.id, jobs.c.state.not_in(TERMINAL))
        .scalar_subquery()
        .label("alive"),
    )
    .join(clusters, clusters.c.id == cluster_accounts.c.cluster)
    .where(
        cluster_accounts.c.person == sa.bindparam("person"),
        cluster_accounts.c.tested_at.is_not(None),
        cluster_accounts.c.removed_at.is_(None),
        clusters.c.removed_at.is_(None),
    )
)


def usable(scope: Scope, person: str) -> list[Account]:
    """The accounts of this person that jobs can go to; looked up once in a unit of work, as they were then."""
    return scope.once(
        ("usable", person), lambda: [_account(scope, row) for row in scope.execute(_USABLE, {"person": person})]
    )


def _account(scope: Scope, row: Any) -> Account:
    standing = row.standing or {}
    is_there = row.served_by != "agent" or views.is_connected(scope, row.id)
    if row.served_by == "certificate":
        is_there = row.certificate_until is not None and row.certificate_until > scope.now
    return Account(
        id=row.id,
        cluster=row.name,
        reached=standing.get("reached", True) and is_there,
        price_per_core_hour=row.price_per_core_hour,
        alive=row.alive,
        kind=row.kind,
        price_per_gpu_hour=row.price_per_gpu_hour,
        defaults=row.defaults,
        idle=msgspec.convert(standing.get("partitions", []), tuple[Free, ...]),
        told_at=standing.get("told_at", 0.0),
    )


def account(scope: Scope, cluster: str | None) -> Account:
    """The submitter's account on this cluster, or on the one that suits best. Raises Unavailable."""
    mine = usable(scope, scope.actor.id)
    found = [each for each in mine if cluster is None or each.cluster == cluster]
    if found:
        return rules.first_choice(found)
    rows = scope.execute(sa.select(clusters.c.name, clusters.c.kind).where(clusters.c.removed_at.is_(None))).all()
    names, known = {row.name for row in rows}, [row.name for row in rows if row.kind == "slurm"]
    if names and cluster is not None and cluster not in names:
        said, hint = f"no cluster is called {cluster[:60]!r}", f"this hub knows {', '.join(sorted(names))}"
    elif not known:
        said, hint = "no Slurm cluster is registered with this hub", "ask the operator to register a cluster"
    else:
        on = cluster or "any of them: " + ", ".join(sorted(known))
        said, hint = f"you have no tested account on {on}", "`cluster join NAME LOGIN` makes one"
    raise Unavailable(
        f"{said}; nothing was recorded",
        code="backend_unavailable",
        path=WHERE,
        errors=[said],
        hint=f"submit with `job_type` local, or {hint}",
    )


def on_cluster(
    scope: Scope, cluster: str | None, resources: Resources, environment: Environment, step: str = ""
) -> Target:
    """The account a job goes to. Raises Unavailable, and InvalidInput for what no cluster can honour."""
    chosen = account(scope, cluster)
    of = f" of step {step}" if step else ""
    if faults := rules.environment_faults(environment):
        raise InvalidInput(
            f"the cluster cannot honour what was asked{of}: {faults[0][0]} {faults[0][1]}",
            code="cannot_honour",
            path=f"$.params.{faults[0][0]}",
            errors=[f"$.params.{field} {said}" for field, said in faults],
        )
    told(resources, "", step)
    return Target(chosen.cluster, chosen.id)


def told(resources: Resources, head: str, step: str = "") -> tuple[str, ...]:
    """What a submitter is told of what Slurm is asked in the end: which of two contradicting words won."""
    try:
        return wish(resources, directives(head)).notes
    except ValueError as fault:
        of = f" of step {step}" if step else ""
        raise InvalidInput(f"{fault}{of}", code="cannot_honour", path="$.params.resources") from None
