"""From rows to a Kubernetes cluster: the hub's account with its pinned authority, and a look at whether it may work.

The official client is loaded only where a hub has such a cluster; it is an extra of the package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from hub.core.context import SYSTEM, Context
from hub.core.errors import Conflict, HubError, Unavailable
from hub.core.house import House
from hub.core.keys import seal, unseal
from hub.jobs.backends.kubernetes_rules import Cluster, short
from hub.jobs.clusters import kubernetes_rules as rules
from hub.jobs.clusters.doctor import TOKEN_SOON
from hub.jobs.clusters.tables import cluster_accounts, clusters, kubernetes_clusters

if TYPE_CHECKING:
    from hub.jobs.backends.kubernetes import KubernetesBackend
    from hub.jobs.backends.kubernetes_api import Api

# So long somebody who tries a cluster waits for its porter; an image that is still being pulled takes longer.
TRY_SECONDS = 20.0
UNKNOWN, FORBIDDEN = 401, 403


class Tried(msgspec.Struct, frozen=True):
    """A cluster that lets the hub do all it has to do."""

    version: str


class Left(msgspec.Struct, frozen=True):
    """What was removed from a cluster, and what is still there for its administrator to delete."""

    removed: int
    still_there: tuple[str, ...]


def sealed_token(ctx: Context, account: str, token: str) -> bytes:
    """The token under a key domain of its own."""
    return seal(ctx.house.keys.domain_in(ctx.tx, account), token.encode(), _about(account))


def token_of(house: House, account: Any) -> str:
    """The token of the hub's account on a cluster. Raises TamperDetected."""
    return unseal(house.keys.domain(account.id), account.private_sealed, _about(account.id)).decode()


def _about(account: str) -> str:
    return f"cluster-token:{account}"


def need_client() -> None:
    """Raises Unavailable on a hub without the extra."""
    if importlib.util.find_spec("kubernetes") is None:
        raise Unavailable(
            "this hub cannot speak to Kubernetes: its package `kubernetes` is not installed",
            code="not_installed",
            hint="install collegium[hub,kubernetes], and start the hub again",
        )


def api_of(house: House, of: Any, account: Any) -> Api:
    """The API server as the hub's account. Raises Unavailable or TamperDetected."""
    need_client()
    from hub.jobs.backends import kubernetes_api

    described = msgspec.convert(of.described, Cluster)
    if not of.server:
        try:
            return kubernetes_api.Api(kubernetes_api.configuration(None), described.namespace)
        except kubernetes_api.ClusterAway as error:
            raise Unavailable(f"this hub runs on no Kubernetes: {error}", code="cluster_unreachable") from None
    pinned = _file(house, of.authority)
    configured = kubernetes_api.token_configuration(of.server, pinned, token_of(house, account))
    return kubernetes_api.Api(configured, described.namespace)


def backend_of(house: House, of: Any, account: Any) -> KubernetesBackend:
    """Its runs are known on the cluster by the account's id, which no other hub has."""
    api = api_of(house, of, account)
    from hub.jobs.backends.kubernetes import KubernetesBackend

    return KubernetesBackend(api, account.id, msgspec.convert(of.described, Cluster))


def _file(house: House, authority: str) -> Path:
    """The pinned certificates as a file, which is how the client takes them."""
    folder = house.settings.data.absolute() / "kubernetes"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"{hashlib.sha256(authority.encode()).hexdigest()[:32]}.pem"
    part = folder / f".{secrets.token_hex(8)}"
    # Written anew each time: what lies there decides whom the account's token is sent to.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(authority)
    part.replace(target)
    return target


class Look(msgspec.Struct, frozen=True):
    """How one cluster was found: whether it works, in words."""

    cluster: str
    works: bool
    words: str


def look_at(house: House) -> Iterator[Look]:
    """Every Kubernetes cluster that was tried before, its rights asked about again; nothing is made there."""
    with house.db.read() as conn:
        if not sa.inspect(conn).has_table(kubernetes_clusters.name):
            return
        rows = conn.execute(
            sa.select(clusters.c.name, clusters.c.id, kubernetes_clusters.c.token_until)
            .join(clusters, clusters.c.id == kubernetes_clusters.c.cluster)
            .order_by(clusters.c.name)
        ).all()
        found = [(row, *_rows_of(conn, row.id)) for row in rows]
    for row, of, own in found:
        if own is None or own.tested_at is None:
            yield Look(row.name, False, f"it was not tried yet: `collegium cluster test {row.name}`")
            continue
        try:
            tried = try_out(house, row, of, own, whole=False)
        except HubError as error:
            yield Look(row.name, False, f"{error.message} {error.hint}".strip())
            continue
        soon = row.token_until is not None and row.token_until - house.clock.now() < TOKEN_SOON
        lapses = f"; its token lapses on {row.token_until:%Y-%m-%d}" if soon else ""
        yield Look(row.name, True, f"{tried.version}, with every right that is needed{lapses}")


def _rows_of(conn: sa.Connection, cluster: str) -> tuple[Any, Any]:
    """What is known of a cluster, and the hub's account on it."""
    of = conn.execute(sa.select(kubernetes_clusters).where(kubernetes_clusters.c.cluster == cluster)).one()
    own = sa.select(cluster_accounts).where(
        cluster_accounts.c.cluster == cluster,
        cluster_accounts.c.person == SYSTEM.id,
        cluster_accounts.c.removed_at.is_(None),
    )
    return of, conn.execute(own).first()


def try_out(house: House, cluster: Any, of: Any, account: Any, *, whole: bool = True) -> Tried:
    """Try every right and, if `whole`, the workspace. Raises HubError in words for the operator."""
    need_client()
    from hub.jobs.backends.kubernetes_api import ClusterAway, Refused

    described = msgspec.convert(of.described, Cluster)
    try:
        backend = backend_of(house, of, account)
        try:
            version = backend.api.version()
            _try_rights(backend.api, cluster.name)
            if whole:
                backend.porter.ready_seconds = TRY_SECONDS
                backend.porter.try_out()
        finally:
            backend.close()
    except (ClusterAway, Refused) as error:
        raise in_words(error, cluster.name, described.namespace) from None
    return Tried(version)


def missing_rights(api: Api) -> list[str]:
    """What the account may not do that the hub does, in words. Raises ClusterAway or Refused."""
    return [rules.in_words(kind, verb) for group, kind, verb in rules.wanted() if not api.may(verb, kind, group=group)]


def _try_rights(api: Api, name: str) -> None:
    if missing := missing_rights(api):
        raise Conflict(
            f"{name}: the hub's account may not {rules.joined(missing)} in the namespace {api.namespace}",
            code="rights_missing",
            errors=missing,
            hint=f"apply {rules.MANIFEST} there, with the namespace's name in it",
        )


def in_words(error: Exception, name: str, namespace: str) -> HubError:
    """What went wrong over there, for the operator."""
    from hub.jobs.backends.kubernetes_api import Refused, Untrusted
    from hub.jobs.backends.porter import PorterAway

    if isinstance(error, Untrusted):
        return Conflict(
            f"{name}: whoever answers there is not signed for by the authority that was pinned, "
            f"so it was told nothing: {error}",
            code="authority_changed",
            hint="somebody may stand between; once you have compared the new certificate, "
            "`collegium cluster change NAME --ca FILE` pins it",
        )
    if isinstance(error, Refused) and error.status == UNKNOWN:
        return Conflict(
            f"{name} does not accept the token: it has lapsed, was revoked with its account or its namespace, "
            "or is of another cluster",
            code="token_refused",
            hint=f"`kubectl create token collegium-hub --namespace {namespace} --duration 8760h` makes one; "
            "`collegium cluster change NAME --account-token FILE` hands it in",
        )
    if isinstance(error, Refused):
        return Conflict(f"{name} refused: {error}", code="cluster_refused")
    if isinstance(error, PorterAway):
        return Unavailable(
            f"{name} lets the hub in, but the pod that carries files does not run: {error}",
            code="workspace_unusable",
            hint="is the claim there, and can the image be pulled? An image that is still being pulled needs a moment: "
            "try again",
        )
    return Unavailable(f"{name}: {error}", code="cluster_unreachable")


def leave(house: House, of: Any, account: Any) -> Left:
    """Remove what the hub made there, as far as it is reached, and say what is left."""
    described = msgspec.convert(of.described, Cluster)
    namespace, mark = described.namespace, short(account.id)
    removed, left = 0, []
    try:
        backend = backend_of(house, of, account)
        try:
            removed, running = backend.leave()
        finally:
            backend.close()
        left += [f"the Job {name}, which still runs" for name in running]
    except Exception as error:  # Whatever is wrong over there must not keep a cluster that is to be forgotten.
        why = str(error) or type(error).__name__
        jobs = f"kubectl delete jobs --namespace {namespace} --selector collegium/hub={mark}"
        left.append(f"the hub's Jobs, for it was not reached ({why[:200]}): {jobs}")
    left.append(f"the folder {mark} on the claim {described.claim}, with what jobs left there")
    if account.login and of.server:  # else it is the account of the hub's own pod
        account_gone = f"kubectl delete serviceaccount {account.login} --namespace {namespace}"
        left.append(f"the account and with it every token of it: {account_gone}")
    return Left(removed, tuple(left))
