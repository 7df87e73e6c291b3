"""What operators do with clusters: make one known, trust a new host key, say its policy, forget it.

A host key is trusted only after a person compared its fingerprint. What talks to the network is done before the unit of
work, after the right to do it was checked. People's own accounts are in `account_actions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import credentials
from hub.core.actions import Action, handles
from hub.core.context import Actor, Context, Scope
from hub.core.errors import Conflict, InvalidInput, NotFound
from hub.core.house import House
from hub.core.ids import new_id
from hub.jobs import transitions
from hub.jobs.backends import timetable
from hub.jobs.backends.slurm_wish import DEFAULTS_ALLOWED
from hub.jobs.backends.timetable import Period
from hub.jobs.clusters import kubernetes_reaching, leaving, rules, views
from hub.jobs.clusters.rules import Jump
from hub.jobs.clusters.tables import cluster_accounts, clusters, kubernetes_clusters
from hub.jobs.clusters.views import Cleared, ClusterView
from hub.jobs.rules import OCCUPYING, TERMINAL
from hub.jobs.tables import jobs

# What an account that was given up keeps of what let anybody in.
NOTHING_LEFT = {
    "private_sealed": None, "tested_at": None, "token": None, "token_digest": None, "certificate": sa.null(),
    "certificate_until": None,
}  # fmt: skip

Name = Annotated[str, Meta(min_length=1, max_length=41)]
Host = Annotated[str, Meta(min_length=1, max_length=253)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Fingerprint = Annotated[str, Meta(min_length=10, max_length=100)]
Price = Annotated[float, Meta(ge=0, le=1e6)]
Days = Annotated[int, Meta(ge=1, le=3650)]
Timetable = Annotated[tuple[Period, ...], Meta(max_length=20)]
Text = Annotated[str, Meta(max_length=1024)]


class AddCluster(Action, frozen=True, tag="cluster_add"):
    """Make a cluster known to this hub. Without `fingerprint` its host key is only shown, to be compared."""

    name: Name
    host: Host
    kind: Literal["slurm"] = "slurm"
    port: Port = 22
    fingerprint: Fingerprint | None = None
    # For a cluster behind another host, which cannot be asked from here.
    host_key: Annotated[str, Meta(max_length=4000)] | None = None
    jump: Jump | None = None
    root: Text = ""
    path: Annotated[tuple[Text, ...], Meta(max_length=20)] = ()
    defaults: Annotated[dict[str, Text], Meta(max_length=20)] = msgspec.field(default_factory=dict)
    price_per_core_hour: Price | None = None
    price_per_gpu_hour: Price | None = None
    portal_url: Text = ""
    purge_days: Days | None = None
    rate: Timetable = ()


class TrustCluster(Action, frozen=True, tag="cluster_trust"):
    """Trust the host key that a cluster answers with now, after its fingerprint was compared."""

    name: Name
    fingerprint: Fingerprint | None = None


class SetClusterPolicy(Action, frozen=True, tag="cluster_policy"):
    """Change what is known of a cluster: after how many days it purges files, and how fast results may come from it.

    What is not given stays. `purge_days` 0 says that it purges none; an empty `rate` sets no limit.
    """

    name: Name
    purge_days: Annotated[int, Meta(ge=0, le=3650)] | None = None
    rate: Timetable | None = None


class RemoveCluster(Action, frozen=True, tag="cluster_remove"):
    """Forget a cluster and erase the keys of every account on it.

    With `abandon`, which is for one that is gone for good, jobs that have not ended there are given up: nobody can
    account for them any more, and they are never run again.
    """

    name: Name
    abandon: bool = False


def _shown(act: AddCluster, house: House, actor: Actor) -> str:
    """The host key to be compared: asked for here, or given where it cannot be."""
    with house.scope(actor) as scope:
        scope.access.hub("cluster:add")
        if (before := named(scope, act.name)) is not None and before.removed_at is None:
            raise _known_already(act.name)
    _refuse_nonsense(act)
    if not rules.HOST.fullmatch(act.host):
        raise InvalidInput("this is no name or address of a host", path="$.params.host")
    if act.jump is not None or act.host_key is not None:
        if act.host_key is None:
            said = "a cluster behind another host cannot be asked from here"
            raise InvalidInput(f"{said}: give its `host_key`", path="$.params.host_key")
        return _checked_key(act.host_key, "$.params.host_key")
    from hub.jobs.clusters import reaching  # SSH is loaded where it is used, which is seldom here

    return _confirmed(reaching.shown_key(act.host, act.port), act.fingerprint, act.host)


def _refuse_nonsense(act: AddCluster) -> None:
    """What can be told without asking anybody. Raises InvalidInput."""
    credentials.refuse_private_keys(_said(act))
    if not rules.NAME.fullmatch(act.name) or act.name in ("local", "kubernetes", "auto"):
        raise InvalidInput("a cluster's name has small letters, digits and dashes", path="$.params.name")
    if unknown := sorted(set(act.defaults) - DEFAULTS_ALLOWED):
        raise InvalidInput(
            f"{', '.join(unknown)} cannot be a default; {', '.join(sorted(DEFAULTS_ALLOWED))} can",
            path="$.params.defaults",
        )
    for where, folders in (("root", [act.root] if act.root else []), ("path", act.path)):
        if any(not each.startswith("/") or "\n" in each for each in folders):
            raise InvalidInput("a folder on a cluster is given in full", path=f"$.params.{where}")
    if act.portal_url and not act.portal_url.startswith("https://"):
        raise InvalidInput("a portal's address begins with https://", path="$.params.portal_url")
    if act.jump is not None:
        _checked_jump(act.jump)


def _known_already(name: str) -> Conflict:
    return Conflict(f"a cluster is called {name} already", code="cluster_known", path="$.params.name")


def _said(act: AddCluster) -> list[tuple[str, str]]:
    """Every text that could hold what belongs elsewhere, with where it stands."""
    jump = [] if act.jump is None else [("jump.host_keys", each) for each in act.jump.host_keys]
    plain = [(name, getattr(act, name)) for name in ("host", "root", "portal_url")]
    said = [*plain, ("host_key", act.host_key or ""), *jump, *(("defaults", each) for each in act.defaults.values())]
    return [(f"$.params.{field}", text) for field, text in said]


def _confirmed(host_key: str, said: str | None, host: str) -> str:
    """Raises Conflict while nobody has compared it, or when it is another."""
    shown = rules.fingerprint(host_key)
    if said is None:
        raise Conflict(
            f"{host} shows the host key {shown} ({host_key.partition(' ')[0]}); nothing is stored yet",
            code="compare_fingerprint",
            path="$.params.fingerprint",
            errors=[shown],
            hint="compare it with what the cluster's own pages say, and send it along as `fingerprint`",
        )
    if not rules.same_fingerprint(said, shown):
        raise Conflict(
            f"{host} shows the host key {shown}, which is not the one you gave; somebody may stand between",
            code="fingerprint_differs",
            path="$.params.fingerprint",
            errors=[shown],
        )
    return host_key


def _checked_key(line: str, where: str) -> str:
    try:
        return rules.key_line(line)
    except ValueError as fault:
        raise InvalidInput(str(fault), path=where) from None


def _checked_jump(jump: Jump) -> Jump:
    if not rules.HOST.fullmatch(jump.host):
        raise InvalidInput("this is no name or address of a host", path="$.params.jump.host")
    if jump.user and not rules.LOGIN.fullmatch(jump.user):
        raise InvalidInput("this is no name of an account", path="$.params.jump.user")
    if not jump.host_keys:
        raise InvalidInput("give its host key, to be pinned", path="$.params.jump.host_keys")
    keys_of = tuple(_checked_key(each, "$.params.jump.host_keys") for each in jump.host_keys)
    return msgspec.structs.replace(jump, host_keys=keys_of)


@handles(AddCluster, needs="cluster:add", before=_shown)
def add_cluster(act: AddCluster, ctx: Context) -> ClusterView:
    """Store what was compared, under a name nobody has."""
    ctx.access.hub("cluster:add")
    jump = None if act.jump is None else _checked_jump(act.jump)
    before = free_name(ctx, act.name)
    values = {
        "kind": act.kind,
        "host": act.host,
        "port": act.port,
        "host_keys": [ctx.prepared],
        "jump": None if jump is None else msgspec.to_builtins(jump),
        "root": act.root,
        "path": list(act.path),
        "defaults": dict(act.defaults),
        "price_per_core_hour": act.price_per_core_hour,
        "price_per_gpu_hour": act.price_per_gpu_hour,
        "portal_url": act.portal_url,
        "purge_days": act.purge_days,
        "rate": _checked_rate(act.rate),
        "made_by": ctx.actor.id,
        "made_at": ctx.now,
        "removed_at": None,
    }
    cluster = keep(ctx, act.name, before, values)
    ctx.about("cluster", cluster, host_key=rules.fingerprint(ctx.prepared))
    return views.cluster_view(ctx, _row(ctx, cluster))


def free_name(scope: Scope, name: str) -> Any | None:
    """The row of a cluster that was removed and had this name, if one had. Raises InvalidInput or Conflict."""
    if not rules.NAME.fullmatch(name) or name in ("local", "kubernetes", "auto"):
        raise InvalidInput("a cluster's name has small letters, digits and dashes", path="$.params.name")
    before = named(scope, name)
    if before is not None and before.removed_at is None:
        raise _known_already(name)
    return before


def keep(ctx: Context, name: str, before: Any | None, values: dict[str, Any]) -> str:
    """Store a cluster under a free name; returns its id."""
    if before is None:
        cluster = new_id("cl")
        ctx.execute(sa.insert(clusters).values(id=cluster, name=name, **values))
        return cluster
    ctx.execute(sa.update(clusters).where(clusters.c.id == before.id).values(**values))
    return str(before.id)


def _checked_rate(rate: Iterable[Period]) -> list[dict[str, Any]]:
    periods = tuple(rate)
    if fault := timetable.fault(periods):
        raise InvalidInput(fault, path="$.params.rate")
    return list(msgspec.to_builtins(periods))


@handles(SetClusterPolicy, needs="cluster:add")
def set_cluster_policy(act: SetClusterPolicy, ctx: Context) -> ClusterView:
    """What was given takes the place of what was known."""
    ctx.access.hub("cluster:add")
    row = known(ctx, act.name)
    values: dict[str, Any] = {}
    if act.purge_days is not None:
        values["purge_days"] = act.purge_days or None
    if act.rate is not None:
        values["rate"] = _checked_rate(act.rate)
    if not values:
        raise InvalidInput("say what is to be changed: `purge_days`, `rate`", path="$.params")
    ctx.execute(sa.update(clusters).where(clusters.c.id == row.id).values(**values))
    ctx.about("cluster", row.id)
    return views.cluster_view(ctx, _row(ctx, row.id))


def _shown_again(act: TrustCluster, house: House, actor: Actor) -> str:
    with house.scope(actor) as scope:
        scope.access.hub("cluster:add")
        row = known(scope, act.name)
    if row.kind == "kubernetes":
        raise InvalidInput(
            f"{row.name} is a Kubernetes cluster, which has no host key", path="$.params.name",
            hint="`cluster change NAME --ca FILE` pins another authority",
        )  # fmt: skip
    if row.jump:
        raise InvalidInput("a cluster behind another host is removed and added again", path="$.params.name")
    from hub.jobs.clusters import reaching

    return _confirmed(reaching.shown_key(row.host, row.port), act.fingerprint, row.host)


@handles(TrustCluster, needs="cluster:add", before=_shown_again)
def trust_cluster(act: TrustCluster, ctx: Context) -> ClusterView:
    """The new host key takes the place of the old one; every account's agent signs in anew."""
    ctx.access.hub("cluster:add")
    row = known(ctx, act.name)
    ctx.execute(sa.update(clusters).where(clusters.c.id == row.id).values(host_keys=[ctx.prepared]))
    ctx.about("cluster", row.id, host_key=rules.fingerprint(ctx.prepared))
    return views.cluster_view(ctx, _row(ctx, row.id))


class Gone(NamedTuple):
    """What became of what the hub had on a cluster that is removed: of people's accounts, and of a namespace."""

    cleared: tuple[Cleared, ...] = ()
    left: tuple[str, ...] = ()


def _cleared_all(act: RemoveCluster, house: House, actor: Actor) -> Gone:
    with house.scope(actor) as scope:
        scope.access.hub("cluster:add")
        row = named(scope, act.name)
        if row is None or row.removed_at is not None:
            return Gone()  # Asked again, perhaps, after it was done.
        of, own = views.kubernetes(scope, row.id), views.service_account(scope, row.id)
        if not act.abandon:
            _refuse_while_alive(scope, row.name)
    if of is None:
        return Gone(cleared=leaving.clear_all(house, row))
    return Gone() if own is None else Gone(left=kubernetes_reaching.leave(house, of, own).still_there)


@handles(RemoveCluster, needs="cluster:add", before=_cleared_all)
def remove_cluster(act: RemoveCluster, ctx: Context) -> ClusterView:
    """Only when no job of anybody's is there any more; what jobs left there goes first."""
    ctx.access.hub("cluster:add")
    row = known(ctx, act.name)
    if act.abandon:
        _abandon(ctx, row.name)
    _refuse_while_alive(ctx, row.name)
    gone: Gone = ctx.prepared
    shown = views.cluster_view(ctx, row, gone.left)  # with one's own account, whose line is to be deleted there
    ctx.execute(
        sa.update(cluster_accounts)
        .where(cluster_accounts.c.cluster == row.id, cluster_accounts.c.removed_at.is_(None))
        .values(removed_at=ctx.now, **NOTHING_LEFT)
    )
    ctx.execute(sa.update(clusters).where(clusters.c.id == row.id).values(removed_at=ctx.now))
    ctx.about("cluster", row.id, **summed(gone.cleared))
    ctx.execute(sa.delete(kubernetes_clusters).where(kubernetes_clusters.c.cluster == row.id))
    return msgspec.structs.replace(shown, cleared=gone.cleared)


def summed(cleared: Iterable[Cleared]) -> dict[str, Any]:
    """What the ledger is told of it."""
    each = list(cleared)
    return {
        "folders": sum(one.folders for one in each),
        "bytes": sum(one.size_bytes for one in each),
        "kept": sum(one.kept + one.left for one in each),
    }


def _refuse_while_alive(scope: Scope, name: str) -> None:
    gone = f"if {name} is gone for good, `collegium cluster remove {name} --abandon` gives them up"
    refuse_alive(scope, jobs.c.backend == name, f"on {name}", f"wait for them, or cancel them first; {gone}")


def _abandon(ctx: Context, name: str) -> None:
    """End what has not ended there as far as it is known, and no further."""
    mine = sa.and_(jobs.c.backend == name, jobs.c.account.is_not(None), jobs.c.state.not_in(TERMINAL))
    for (job_id,) in ctx.execute(sa.select(jobs.c.id).where(mine).order_by(jobs.c.id)).all():
        job = transitions.lock(ctx, job_id)
        if job is None or job.state in TERMINAL:  # ended with another that it waited for
            continue
        if job.state == "COLLECTING":
            notes = [*job.notes, f"Its outputs were not fetched before {name} was removed."]
            transitions.happen(ctx, job, job.outcome or "lost", job.reason, notes=notes, fetched_run=job.run)
        elif job.state in OCCUPYING:
            said = f"Nobody can account for this job: {name} was removed before it had ended."
            transitions.happen(ctx, job, "lost", f"{said} It may have run, wholly or in part.", ended_at=ctx.now)
        else:
            transitions.happen(ctx, job, "cancelled", f"Cancelled, because {name} was removed.", ended_at=ctx.now)


def refuse_alive(
    ctx: Scope, which: sa.ColumnElement[bool], where: str, hint: str = "wait for them, or cancel them first"
) -> None:
    """Raises Conflict while jobs that have not ended need what is to go."""
    alive = ctx.execute(
        sa.select(sa.func.count()).where(which, jobs.c.account.is_not(None), jobs.c.state.not_in(TERMINAL))
    ).scalar_one()
    if alive:
        raise Conflict(f"{alive} jobs {where} have not ended", code="jobs_alive", hint=hint)


def _row(scope: Scope, cluster: str) -> Any:
    return scope.execute(sa.select(clusters).where(clusters.c.id == cluster)).one()


def named(scope: Scope, name: str) -> Any | None:
    """The row of a cluster, one that was removed too."""
    return scope.execute(sa.select(clusters).where(clusters.c.name == name)).first()


def known(scope: Scope, name: str) -> Any:
    """The row of a cluster. Raises NotFound."""
    row = named(scope, name)
    if row is None or row.removed_at is not None:
        raise NotFound(f"no cluster is called {name[:60]!r}", code="cluster_not_found", path="$.params.cluster")
    return row
