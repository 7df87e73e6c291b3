"""What can be done with Kubernetes clusters: make one known with the hub's account there, and change what was said.

The hub has one account in a namespace there, for everybody it serves. So an operator attests that the site allows it,
and says whose jobs may go there; each job carries its person in its labels. Trying and removing one are done as with
every cluster (`account_actions.py`, `actions.py`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import sqlalchemy as sa
from msgspec import UNSET, Meta, UnsetType

from hub.core.actions import Action, handles
from hub.core.context import SYSTEM, Context
from hub.core.errors import InvalidInput, NotFound
from hub.core.ids import looks_like_id, new_id
from hub.jobs.backends.kubernetes_rules import Cluster
from hub.jobs.clusters import kubernetes_reaching, views
from hub.jobs.clusters import kubernetes_rules as rules
from hub.jobs.clusters.actions import Name, Price, Text, free_name, keep, known
from hub.jobs.clusters.kubernetes_rules import Server, Token
from hub.jobs.clusters.tables import cluster_accounts, clusters, kubernetes_clusters
from hub.jobs.clusters.views import ClusterView
from hub.people.tables import persons
from hub.sessions.tables import sessions

Pem = Annotated[str, Meta(min_length=1, max_length=rules.AUTHORITY_BYTES)]
Secret = Annotated[str, Meta(min_length=1, max_length=rules.TOKEN_BYTES)]
SessionRefs = Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=1000)]
Image = Annotated[str, Meta(min_length=1, max_length=1024)]
IN_CLUSTER = Server("", "in-cluster", 443)


class AddKubernetesCluster(Action, frozen=True, tag="cluster_add"):
    """Make a namespace of a Kubernetes cluster known, where the hub has an account whose token it is given.

    With `in_cluster` it is the one the hub itself runs on, as its own pod's account. `attest` says that the site allows
    one account to serve many people, and `sessions` or `every_session` whose jobs may go there.
    """

    secret_fields: ClassVar[tuple[str, ...]] = ("token",)

    name: Name
    described: Cluster
    kind: Literal["kubernetes"] = "kubernetes"
    server: Text = ""
    authority: Pem | None = None
    token: Secret | None = None
    in_cluster: bool = False
    attest: bool = False
    sessions: SessionRefs = ()
    every_session: bool = False
    price_per_core_hour: Price | None = None
    price_per_gpu_hour: Price | None = None
    portal_url: Text = ""


class ChangeKubernetesCluster(Action, frozen=True, tag="cluster_change"):
    """Change what is known of a Kubernetes cluster: a new token, another authority, other sessions, another image.

    After a new token, authority or address it is tried again before jobs go there.
    """

    secret_fields: ClassVar[tuple[str, ...]] = ("token",)

    name: Name
    server: Text | None = None
    authority: Pem | None = None
    token: Secret | None = None
    image: Image | None = None
    porter_image: Image | None = None
    attest: bool = False
    sessions: SessionRefs = ()
    every_session: bool = False
    price_per_core_hour: Price | UnsetType | None = UNSET
    price_per_gpu_hour: Price | UnsetType | None = UNSET


@handles(AddKubernetesCluster, needs="cluster:add", when="described")
def add_kubernetes_cluster(act: AddKubernetesCluster, ctx: Context) -> ClusterView:
    """Store it under a name nobody has; nobody is spoken to before it is tried."""
    ctx.access.hub("cluster:add")
    before = free_name(ctx, act.name)
    server, authority, token, says = _credential(act, ctx.now)
    _check(act.described)
    if act.portal_url and not act.portal_url.startswith("https://"):
        raise InvalidInput("a portal's address begins with https://", path="$.params.portal_url")
    allowed = _allowed(ctx, act.attest, act.sessions, act.every_session)
    values = {
        "kind": "kubernetes",
        "host": server.host,
        "port": server.port,
        "host_keys": [],
        "jump": None,
        "root": "",
        "path": [],
        "defaults": {},
        "price_per_core_hour": act.price_per_core_hour,
        "price_per_gpu_hour": act.price_per_gpu_hour,
        "portal_url": act.portal_url,
        "made_by": ctx.actor.id,
        "made_at": ctx.now,
        "removed_at": None,
    }
    cluster = keep(ctx, act.name, before, values)
    ctx.execute(
        sa.insert(kubernetes_clusters).values(
            cluster=cluster,
            server=server.url,
            authority=authority,
            described=msgspec.to_builtins(act.described),
            token_until=_moment(says),
            attested_by=ctx.actor.id,
            attested_at=ctx.now,
            sessions=allowed,
        )
    )
    account = new_id("acc")
    ctx.execute(
        sa.insert(cluster_accounts).values(
            id=account,
            cluster=cluster,
            person=SYSTEM.id,
            login=says.login[:64] or ("" if server.url else "in-cluster"),
            public_key="",
            private_sealed=kubernetes_reaching.sealed_token(ctx, account, token) if token else None,
            made_at=ctx.now,
        )
    )
    ctx.about(
        "cluster",
        cluster,
        authority=list(rules.authority(authority) if authority else ()),
        account=account,
        sessions=allowed,
    )
    return _shown(ctx, cluster)


@handles(ChangeKubernetesCluster, needs="cluster:add")
def change_kubernetes_cluster(act: ChangeKubernetesCluster, ctx: Context) -> ClusterView:
    """What is not said stays as it was."""
    ctx.access.hub("cluster:add")
    row = known(ctx, act.name)
    of, own = views.kubernetes(ctx, row.id), views.service_account(ctx, row.id)
    if of is None or own is None:
        raise InvalidInput(f"{row.name} is no Kubernetes cluster", path="$.params.name")
    changed: dict[str, Any] = {}
    if act.server is not None:
        changed |= {"server": _server(act.server).url}
    if act.authority is not None:
        changed |= {"authority": _authority(act.authority)}
    if (act.server, act.authority, act.token) != (None, None, None) and not of.server:
        raise InvalidInput(
            f"{row.name} is the cluster the hub runs on, as its own pod's account; it has neither token nor address",
            path="$.params.name",
            hint="remove it and add it again",
        )
    if act.sessions or act.every_session:
        allowed = _allowed(ctx, act.attest, act.sessions, act.every_session)
        changed |= {"sessions": allowed, "attested_by": ctx.actor.id, "attested_at": ctx.now}
    images = {"image": act.image, "porter_image": act.porter_image}
    if fresh := {name: said for name, said in images.items() if said is not None}:
        described = msgspec.convert({**of.described, **fresh}, Cluster)
        _check(described)
        changed |= {"described": msgspec.to_builtins(described)}
    if act.token is not None:
        token, says = _token(act.token, ctx.now)
        changed |= {"token_until": _moment(says)}
        sealed = kubernetes_reaching.sealed_token(ctx, own.id, token)
        _of_account(ctx, own.id, private_sealed=sealed, login=says.login[:64] or own.login)
    said = {"price_per_core_hour": act.price_per_core_hour, "price_per_gpu_hour": act.price_per_gpu_hour}
    if prices := {name: price for name, price in said.items() if price is not UNSET}:
        ctx.execute(sa.update(clusters).where(clusters.c.id == row.id).values(**prices))
    if changed:
        ctx.execute(sa.update(kubernetes_clusters).where(kubernetes_clusters.c.cluster == row.id).values(**changed))
    if changed.keys() & {"server", "authority", "token_until"}:
        _of_account(ctx, own.id, tested_at=None, standing=None)
    facts = {name: changed[name] for name in ("sessions",) if name in changed}
    ctx.about("cluster", row.id, changed=sorted(changed), account=own.id, **facts)
    return _shown(ctx, row.id)


def _shown(ctx: Context, cluster: str) -> ClusterView:
    row = ctx.execute(sa.select(clusters).where(clusters.c.id == cluster)).one()
    return views.cluster_view(ctx, row)


def _of_account(ctx: Context, account: str, **values: Any) -> None:
    ctx.execute(sa.update(cluster_accounts).where(cluster_accounts.c.id == account).values(**values))


# --- what an operator says, read


def _credential(act: AddKubernetesCluster, now: dt.datetime) -> tuple[Server, str, str, Token]:
    """(where, who signs for it, the token, what the token says of itself)."""
    if act.in_cluster:
        if act.server or act.authority or act.token:
            said = "the cluster the hub runs on has no address, no authority and no token of its own"
            raise InvalidInput(said, path="$.params.in_cluster")
        return IN_CLUSTER, "", "", Token()
    if not act.server:
        raise InvalidInput("the address of its API server is missing", path="$.params.server")
    if act.authority is None:
        raise InvalidInput(
            "who signs for its API server is missing: without it anybody could answer in its place",
            path="$.params.authority",
            hint=f"`kubectl get configmap kube-root-ca.crt --namespace {act.described.namespace} "
            "-o jsonpath='{.data.ca\\.crt}'` prints the certificate",
        )
    if act.token is None:
        raise InvalidInput(
            "the token of the hub's account is missing",
            path="$.params.token",
            hint=f"after {rules.MANIFEST} was applied, `kubectl create token collegium-hub "
            f"--namespace {act.described.namespace} --duration 8760h` makes one",
        )
    token, says = _token(act.token, now)
    return _server(act.server), _authority(act.authority), token, says


def _server(said: str) -> Server:
    try:
        return rules.server(said)
    except ValueError as fault:
        raise InvalidInput(str(fault), path="$.params.server") from None


def _authority(said: str) -> str:
    try:
        rules.authority(said)
    except ValueError as fault:
        raise InvalidInput(str(fault), path="$.params.authority") from None
    return said


def _token(said: str, now: dt.datetime) -> tuple[str, Token]:
    try:
        token, says = rules.token(said)
    except ValueError as fault:
        raise InvalidInput(str(fault), path="$.params.token") from None
    until = _moment(says)
    if until is not None and until <= now:
        raise InvalidInput(f"the token lapsed on {until:%Y-%m-%d %H:%M} UTC", path="$.params.token")
    return token, says


def _moment(says: Token) -> dt.datetime | None:
    try:
        return None if says.until is None else dt.datetime.fromtimestamp(says.until, dt.UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _check(described: Cluster) -> None:
    if found := rules.faults(described):
        raise InvalidInput(
            f"{found[0][0]}: {found[0][1]}",
            path=f"$.params.described.{found[0][0]}",
            errors=[f"$.params.described.{field}: {said}" for field, said in found],
        )


def _allowed(ctx: Context, attest: bool, said: Sequence[str], everyone: bool) -> list[str] | None:
    """Whose jobs may go there, by session; None for everybody's. Raises InvalidInput while it is not said."""
    if not attest:
        raise InvalidInput(
            "on Kubernetes the hub has one account for all its people: say `attest`, that the site allows this",
            code="not_attested",
            path="$.params.attest",
            hint="ask the site first; jobs carry their person in the label collegium/person",
        )
    if bool(said) == everyone:
        raise InvalidInput(
            "say whose jobs may go there: either `sessions`, or `every_session` of this hub",
            code="sessions_missing",
            path="$.params.sessions",
        )
    if everyone:
        return None
    return sorted({_session(ctx, ref, f"$.params.sessions[{index}]") for index, ref in enumerate(said)})


def _session(ctx: Context, ref: str, path: str) -> str:
    """The id of a session by `OWNER/NAME`: an operator need not be in it to let its jobs go somewhere."""
    query = sa.select(sessions.c.id)
    if looks_like_id(ref):
        query = query.where(sessions.c.id == ref)
    else:
        owner, _, name = ref.partition("/")
        query = query.join(persons, persons.c.id == sessions.c.owner)
        query = query.where(persons.c.handle == owner, sessions.c.name == name)
    found: str | None = ctx.execute(query).scalar()
    if found is None:
        raise NotFound(
            f"there is no session {ref[:100]!r}; it is named in full, as OWNER/NAME",
            code="session_not_found",
            path=path,
        )
    return found
