"""How one cluster stands for the reader, as `doctor` puts it into words."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa

from hub.core.context import Scope
from hub.jobs.clusters import doctor, views
from hub.jobs.clusters.doctor import Finding, Work
from hub.jobs.clusters.views import ClusterView
from hub.jobs.rules import TERMINAL
from hub.jobs.tables import backends, jobs


class ClusterReport(msgspec.Struct, frozen=True):
    """A cluster, and what holds between it and one's own account."""

    cluster: ClusterView
    findings: list[Finding]


def report(scope: Scope, name: str) -> ClusterReport:
    """GET /api/clusters/{name}. Raises NotFound."""
    one = views.one_cluster(scope, name)
    return ClusterReport(one, doctor.findings(one, work(scope, one), scope.now))


def work(scope: Scope, one: ClusterView) -> Work:
    """One's own jobs there that have not ended, and until when they are watched."""
    count = sa.select(sa.func.count()).where(jobs.c.state.not_in(TERMINAL))
    if one.account is not None:
        account = one.account.account
    elif one.service is not None and (own := views.service_account(scope, one.cluster)) is not None:
        account, count = own.id, count.where(jobs.c.submitted_by == scope.actor.id)
    else:
        return Work()
    alive = scope.execute(count.where(jobs.c.account == account)).scalar_one()
    lease = scope.execute(sa.select(backends.c.lease_until).where(backends.c.name == account)).scalar()
    return Work(alive=int(alive), watched_until=lease)
