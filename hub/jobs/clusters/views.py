"""What can be read of clusters: which there are, and how one's own account on each of them stands."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec
import sqlalchemy as sa

from hub.core.context import SYSTEM, Scope
from hub.core.errors import NotFound
from hub.core.roles import Allowed
from hub.jobs.backends.timetable import Period
from hub.jobs.clusters import keys
from hub.jobs.clusters.kubernetes_rules import authority
from hub.jobs.clusters.rules import Certificate, fingerprint, warned_at
from hub.jobs.clusters.tables import cluster_accounts, clusters, kubernetes_clusters
from hub.jobs.port import Standing
from hub.jobs.tables import backends
from hub.sessions.names import full_name


class Cleared(msgspec.Struct, frozen=True, kw_only=True):
    """What was cleared away of one account, and `line`, which only its person can delete on the cluster.

    `kept` are the folders that stay because of files that did not come home; `left` those that could not be removed;
    `said` why nothing could be done.
    """

    line: str
    folders: int = 0
    size_bytes: int = 0
    kept: int = 0
    left: int = 0
    root: str = ""
    said: str = ""
    certificate: str = ""  # what there is to say of one, instead of the line


# So long a page names the lines that are to be deleted on clusters.
ERASED_FOR = dt.timedelta(days=30)


class CertificateView(msgspec.Struct, frozen=True, kw_only=True):
    """The certificate that lets the hub in: by what its authority knows it, and when it ends.

    `state` is `ending` from `warned` on, and `ended` when nothing can be asked any more.
    """

    key_id: str
    serial: str
    signer: str
    principals: tuple[str, ...]
    begins: dt.datetime
    ends: dt.datetime
    warned: dt.datetime
    state: Literal["good", "ending", "ended"]
    addresses: tuple[str, ...] = ()


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """One's own account. `line` is what `~/.ssh/authorized_keys` there must hold, where this hub signs in itself.

    Where it does by certificates (`kind` certificate), `public_key` is what is to be signed. Where an agent of one's
    own does (`kind` agent), `secret` is its token, shown once.
    """

    account: str
    cluster: str
    login: str
    line: str
    tested: dt.datetime | None
    standing: Standing | None = None
    cleared: Cleared | None = None  # when it was left
    kind: Literal["key", "certificate", "agent"] = "key"
    connected: bool | None = None  # of an agent of one's own
    secret: str | None = None
    public_key: str = ""
    certificate: CertificateView | None = None


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's own account in a namespace of a Kubernetes cluster; `sessions` are told to operators only."""

    server: str
    login: str
    namespace: str
    claim: str
    image: str
    attested: dt.datetime
    every_session: bool
    sessions: tuple[str, ...] = ()
    token_until: dt.datetime | None = None
    tested: dt.datetime | None = None
    standing: Standing | None = None


class ClusterView(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster, and one's own account on it, if there is one; or the hub's, for all.

    `left` says, of one that was removed, what is still there for its administrator to delete.
    """

    cluster: str
    name: str
    kind: str
    host: str
    port: int
    fingerprints: tuple[str, ...]
    through: str = ""
    root: str = ""
    path: tuple[str, ...] = ()
    defaults: dict[str, str] = {}
    price_per_core_hour: float | None = None
    price_per_gpu_hour: float | None = None
    portal_url: str = ""
    purge_days: int | None = None
    rate: tuple[Period, ...] = ()
    rate_clock: str = ""  # the time zone that the hours of `rate` are in: the hub's
    account: AccountView | None = None
    service: ServiceView | None = None
    left: tuple[str, ...] = ()
    cleared: tuple[Cleared, ...] = ()  # of each account, when it was removed


class ErasedView(msgspec.Struct, frozen=True, kw_only=True):
    """A key of one's own that was erased, whose line may still be on the cluster."""

    cluster: str
    host: str
    login: str
    line: str
    removed: dt.datetime


class ClustersView(msgspec.Struct, frozen=True):
    """All of them, by name."""

    clusters: list[ClusterView]


def all_clusters(scope: Scope) -> ClustersView:
    """The clusters of this hub; nobody sees another's account."""
    scope.access.hub("hub:read")
    rows = scope.execute(sa.select(clusters).where(clusters.c.removed_at.is_(None)).order_by(clusters.c.name))
    return ClustersView([cluster_view(scope, row) for row in rows])


def one_cluster(scope: Scope, name: str) -> ClusterView:
    """A cluster by its name. Raises NotFound."""
    scope.access.hub("hub:read")
    row = scope.execute(sa.select(clusters).where(clusters.c.name == name, clusters.c.removed_at.is_(None))).first()
    if row is None:
        raise NotFound(f"no cluster is called {name[:60]!r}", code="cluster_not_found")
    return cluster_view(scope, row)


def erased(scope: Scope) -> list[ErasedView]:
    """The lines that one should have deleted lately, by giving an account up or because a cluster was removed."""
    rows = scope.execute(
        sa.select(cluster_accounts, clusters.c.name, clusters.c.host)
        .join(clusters, clusters.c.id == cluster_accounts.c.cluster)
        .where(
            cluster_accounts.c.person == scope.actor.id,
            cluster_accounts.c.kind == "key",
            cluster_accounts.c.removed_at > scope.now - ERASED_FOR,
        )
        .order_by(cluster_accounts.c.removed_at.desc())
    )
    return [
        ErasedView(
            cluster=row.name,
            host=row.host,
            login=row.login,
            line=keys.authorized_line(row.public_key, scope.settings.ssh_from),
            removed=row.removed_at,
        )
        for row in rows
    ]


def cluster_view(scope: Scope, row: Any, left: tuple[str, ...] = ()) -> ClusterView:
    mine, of = own_account(scope, row.id), kubernetes(scope, row.id)
    return ClusterView(
        cluster=row.id,
        name=row.name,
        kind=row.kind,
        host=row.host,
        port=row.port,
        fingerprints=authority(of.authority)
        if of is not None and of.authority
        else tuple(fingerprint(each) for each in row.host_keys),
        through=(row.jump or {}).get("host", ""),
        root=row.root,
        path=tuple(row.path),
        defaults=row.defaults,
        price_per_core_hour=row.price_per_core_hour,
        price_per_gpu_hour=row.price_per_gpu_hour,
        portal_url=row.portal_url,
        purge_days=row.purge_days,
        rate=msgspec.convert(row.rate or [], tuple[Period, ...]),
        rate_clock=scope.now.astimezone().strftime("%Z (UTC%z)") if row.rate else "",
        account=None if mine is None else account_view(scope, mine, row.name),
        service=None if of is None else _service_view(scope, row.id, of),
        left=left,
    )


def _service_view(scope: Scope, cluster: str, of: Any) -> ServiceView | None:
    own = service_account(scope, cluster)
    if own is None:
        return None
    sessions: list[str] = of.sessions or []
    may_know = isinstance(scope.access.explain_hub("cluster:add"), Allowed)
    return service_view(of, own, tuple(sorted(full_name(scope, each) for each in sessions)) if may_know else ())


def service_view(of: Any, own: Any, sessions: tuple[str, ...] = ()) -> ServiceView:
    return ServiceView(
        server=of.server,
        login=own.login,
        namespace=of.described["namespace"],
        claim=of.described["claim"],
        image=of.described.get("image", ""),
        attested=of.attested_at,
        every_session=of.sessions is None,
        sessions=sessions,
        token_until=of.token_until,
        tested=own.tested_at,
        standing=_standing(own),
    )


def _standing(row: Any) -> Standing | None:
    return None if row.standing is None else msgspec.convert(row.standing, Standing)


def account_view(scope: Scope, row: Any, cluster: str, secret: str | None = None) -> AccountView:
    by_key = row.kind == "key" and row.public_key
    return AccountView(
        account=row.id,
        cluster=cluster,
        login=row.login,
        line=keys.authorized_line(row.public_key, scope.settings.ssh_from) if by_key else "",
        tested=row.tested_at,
        standing=_standing(row),
        public_key=row.public_key if row.kind == "certificate" else "",
        certificate=certificate_view(row, scope.now),
        kind=row.kind,
        connected=is_connected(scope, row.id) if row.kind == "agent" else None,
        secret=secret,
    )


def certificate_view(row: Any, now: dt.datetime) -> CertificateView | None:
    """How the certificate of an account stands at this moment; None where there is none."""
    if row.kind != "certificate" or row.certificate is None:
        return None
    given = msgspec.convert(row.certificate, Certificate)
    warned = warned_at(given.given or given.begins, given.ends)
    return CertificateView(
        key_id=given.key_id,
        serial=given.serial,
        signer=given.signer,
        principals=given.principals,
        begins=given.begins,
        ends=given.ends,
        warned=warned,
        state="ended" if now >= given.ends else "ending" if now >= warned else "good",
        addresses=given.addresses,
    )


def is_connected(scope: Scope, account: str) -> bool:
    """Whether an agent holds the account's lease now."""
    until = scope.execute(sa.select(backends.c.lease_until).where(backends.c.name == account)).scalar()
    return until is not None and until > scope.house.clock.now()


# Asked for every job that is shown, and so built once.
_KIND = (
    sa.select(clusters.c.kind)
    .join(cluster_accounts, cluster_accounts.c.cluster == clusters.c.id)
    .where(cluster_accounts.c.id == sa.bindparam("account"))
)


def kind_of(scope: Scope, account: str | None) -> str:
    """What kind of cluster an account is on; empty for this machine."""
    if account is None:
        return ""
    return str(scope.execute(_KIND, {"account": account}).scalar() or "")


def own_account(scope: Scope, cluster: str) -> Any | None:
    """The row of the actor's own account on a cluster."""
    return scope.execute(
        sa.select(cluster_accounts).where(
            cluster_accounts.c.cluster == cluster,
            cluster_accounts.c.person == scope.actor.id,
            cluster_accounts.c.removed_at.is_(None),
        )
    ).first()


def kubernetes(scope: Scope, cluster: str) -> Any | None:
    """What there is to say of a cluster beside its row, if it is a Kubernetes one."""
    return scope.execute(sa.select(kubernetes_clusters).where(kubernetes_clusters.c.cluster == cluster)).first()


def service_account(scope: Scope, cluster: str) -> Any | None:
    """The row of the hub's own account on a cluster."""
    return scope.execute(
        sa.select(cluster_accounts).where(
            cluster_accounts.c.cluster == cluster,
            cluster_accounts.c.person == SYSTEM.id,
            cluster_accounts.c.removed_at.is_(None),
        )
    ).first()
