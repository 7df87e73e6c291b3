"""Giving a certificate for one's account on a cluster, and being told before it ends and when it has.

A certificate is tried before it is kept: one that the cluster does not take changes nothing. When it ends, jobs go on
there by themselves; with the next one the hub asks again, and what happened meanwhile is seen then.
"""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core import limits, steps
from hub.core.actions import Action, handles
from hub.core.context import Actor, Context, Scope
from hub.core.errors import Conflict
from hub.core.house import House
from hub.jobs import transitions
from hub.jobs.backends.slurm import Site
from hub.jobs.clusters import rules, views
from hub.jobs.clusters.account_actions import SIGNS_IN, own
from hub.jobs.clusters.actions import Name, known
from hub.jobs.clusters.rules import Certificate, moment
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.clusters.views import AccountView
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import jobs
from hub.perform import record

TELL = "tell_of_certificate"
# How the words about a certificate begin on a job's card, by which they are found when they are no longer true.
NOTE = "Certificate for "


class CertifyCluster(Action, frozen=True, tag="cluster_certify"):
    """Give a short-lived certificate for the hub's key of your account on a cluster.

    It is checked and tried first; nothing is saved of one that does not let the hub in.
    """

    cluster: Name
    certificate: Annotated[str, Meta(min_length=1, max_length=limits.CERTIFICATE_CHARACTERS)]


class _Tried(NamedTuple):
    """What let the hub in, with the key it is for."""

    certificate: Certificate
    public_key: str
    site: Site


def _tried(act: CertifyCluster, house: House, actor: Actor) -> _Tried:
    """Raises HubError in words for whoever gave it."""
    with house.scope(actor) as scope:
        scope.access.hub("cluster:join")
        cluster = known(scope, act.cluster)
        mine = _by_certificates(scope, cluster)
        now = scope.now
    from hub.jobs.clusters import certificates, reaching  # SSH is loaded where it is used, which is seldom here

    found = certificates.check(act.certificate, mine.public_key, mine.login, now)
    candidate = SimpleNamespace(**{**mine._mapping, "certificate": msgspec.to_builtins(found)})
    return _Tried(found, mine.public_key, reaching.try_out(house, cluster, candidate))


def _by_certificates(scope: Scope, cluster: Any) -> Any:
    mine = own(scope, cluster)
    if mine.kind != "certificate":
        raise Conflict(
            f"for {mine.login} on {cluster.name} {SIGNS_IN[mine.kind]}, without a certificate",
            code="no_certificate_account",
            path="$.params.cluster",
            hint="`cluster leave`, then `cluster join NAME LOGIN --certificate`",
        )
    return mine


@handles(CertifyCluster, needs="cluster:join", before=_tried)
def certify_cluster(act: CertifyCluster, ctx: Context) -> AccountView:
    """It let the hub in: from now on it is used, and the agent of the account begins anew with it."""
    ctx.access.hub("cluster:join")
    cluster = known(ctx, act.cluster)
    mine = _by_certificates(ctx, cluster)
    tried: _Tried = ctx.prepared
    if mine.public_key != tried.public_key:
        raise Conflict("the account has another key by now; nothing was saved", code="account_changed")
    given = msgspec.structs.replace(tried.certificate, given=ctx.now)
    ctx.execute(
        sa.update(cluster_accounts)
        .where(cluster_accounts.c.id == mine.id)
        .values(
            certificate=msgspec.to_builtins(given),
            certificate_until=given.ends,
            tested_at=ctx.now,
            standing={"reached": True, "version": tried.site.version},
        )
    )
    digest = _digest(given)
    ctx.about("cluster_account", mine.id, cluster=cluster.id, certificate=digest, until=int(given.ends.timestamp()))
    _write_notes(ctx, mine.id, None)
    for due in (max(ctx.now, rules.warned_at(ctx.now, given.ends)), given.ends):
        ctx.enqueue(TELL, mine.id, due_at=due, certificate=digest)
    ctx.publish(f"agent:{mine.id}", {})
    return views.account_view(ctx, own(ctx, cluster), cluster.name)


def _digest(given: Certificate) -> str:
    return hashlib.sha256(given.line.encode()).hexdigest()


@steps.runs(TELL)
def tell(step: steps.Step, house: House) -> None:
    """On the cards of the jobs there, once before the certificate ends and once when it has."""

    def work(ctx: Context) -> None:
        row = ctx.execute(
            sa.select(cluster_accounts, clusters.c.name)
            .join(clusters, clusters.c.id == cluster_accounts.c.cluster)
            .where(cluster_accounts.c.id == step.object, cluster_accounts.c.removed_at.is_(None))
        ).first()
        seen = None if row is None else views.certificate_view(row, ctx.now)
        if row is None or seen is None or seen.state == "good":
            return
        if _digest(msgspec.convert(row.certificate, Certificate)) != step.args["certificate"]:
            return  # A new one was given, and has its own steps.
        _write_notes(ctx, row.id, note(row.name, seen))

    record(house, transitions.OBSERVED, work)


def note(cluster: str, seen: views.CertificateView) -> str:
    """What is said of a certificate that is ending or has ended, wherever it concerns somebody."""
    if seen.state == "ended":
        return (
            f"{NOTE}{cluster} ended at {moment(seen.ends)}: the job goes on there by itself, "
            "and the hub cannot ask until you give a new one."
        )
    return f"{NOTE}{cluster} ends at {moment(seen.ends)}; give a new one before."


def _write_notes(ctx: Context, account: str, said: str | None) -> None:
    """Put the newest word in the place of the one before, on jobs that have not ended."""
    alive = sa.and_(jobs.c.account == account, jobs.c.state.not_in(TERMINAL))
    for job_id in list(ctx.execute(sa.select(jobs.c.id).where(alive)).scalars()):
        job = transitions.lock(ctx, job_id)
        if job is None or job.state in TERMINAL:
            continue
        notes = [each for each in job.notes if not each.startswith(NOTE)] + ([said] if said else [])
        if notes == list(job.notes):
            continue
        ctx.execute(sa.update(jobs).where(jobs.c.id == job.id).values(notes=notes))
        ctx.about("job", job.id, job.session, action=transitions.OBSERVED, state=job.state, run=job.run)
