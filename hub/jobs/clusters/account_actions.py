"""What people do with their own accounts on clusters: sign one up, try it, renew its agent's token, give it up.

An account is used only after it was tried, by the hub or by the person's own agent. What talks to the network is done
before the unit of work, after the right to do it was checked.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.core.actions import Action, handles
from hub.core.context import Actor, Context, Scope
from hub.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from hub.core.house import House
from hub.core.ids import new_id, secret_digest
from hub.jobs.clusters import keys, kubernetes_reaching, leaving, rules, views
from hub.jobs.clusters.actions import NOTHING_LEFT, Name, known, named, refuse_alive, summed
from hub.jobs.clusters.tables import cluster_accounts
from hub.jobs.clusters.views import AccountView, Cleared
from hub.jobs.tables import jobs


class JoinCluster(Action, frozen=True, tag="cluster_join"):
    """Sign up your own account on a cluster, in one of three ways; answers with what is to be done next.

    With `agent`, an agent on your own machine signs in, and nothing is stored here. With `certificate`, the hub makes a
    key that is good only with a short-lived certificate of your site's. With neither, it makes a key pair for one line
    in `authorized_keys`.
    """

    cluster: Name
    login: Annotated[str, Meta(min_length=1, max_length=32)]
    agent: bool = False
    certificate: bool = False


class ClusterToken(Action, frozen=True, tag="cluster_token"):
    """Make a new token for the agent of your account on a cluster, or only `revoke` it; the one before ends at once."""

    cluster: Name
    revoke: bool = False


class TryCluster(Action, frozen=True, tag="cluster_test"):
    """Sign in with your account on a cluster and look around; after that jobs can go there.

    Where an agent of yours signs in, this tells how it fared.
    """

    cluster: Name


class LeaveCluster(Action, frozen=True, tag="cluster_leave"):
    """Erase the key of your account on a cluster; answers with the line to delete there."""

    cluster: Name


SIGNS_IN = {
    "agent": "an agent of yours signs in",
    "certificate": "this hub signs in by certificates",
    "key": "this hub signs in",
}


@handles(JoinCluster, needs="cluster:join")
def join_cluster(act: JoinCluster, ctx: Context) -> AccountView:
    """A key pair for this and nothing else; asked again, the answer is the same.

    For an agent elsewhere nothing is made that could sign in, only what the agent shows to this hub.
    """
    ctx.access.hub("cluster:join")
    cluster = known(ctx, act.cluster)
    if cluster.kind == "kubernetes":
        raise InvalidInput(
            f"jobs go to {cluster.name} under the hub's own account; there is nothing to join",
            code="no_own_accounts",
            path="$.params.cluster",
            hint="`job submit --cluster NAME` sends one, if your session may",
        )
    if not rules.LOGIN.fullmatch(act.login):
        raise InvalidInput("this is no name of an account on a cluster", path="$.params.login")
    if act.agent and act.certificate:
        raise InvalidInput(
            "an agent of your own needs no certificate here", path="$.params.certificate", hint="give one of the two"
        )
    way = "agent" if act.agent else "certificate" if act.certificate else "key"
    if (mine := views.own_account(ctx, cluster.id)) is not None:
        if mine.login != act.login:
            raise Conflict(
                f"you have the account {mine.login} on {cluster.name}", code="account_known",
                path="$.params.login", hint="`cluster leave` gives it up",
            )  # fmt: skip
        if mine.kind != way:
            raise Conflict(
                f"for {mine.login} on {cluster.name} {SIGNS_IN[mine.kind]}", code="account_known",
                path="$.params.agent", hint="`cluster leave` gives it up",
            )  # fmt: skip
        ctx.about("cluster_account", mine.id, cluster=cluster.id)
        return views.account_view(ctx, mine, cluster.name)
    account = new_id("acc")
    public, sealed = "", None
    if not act.agent:
        public, sealed = keys.make(ctx, account, f"collegium:{ctx.actor.handle}@{cluster.name}")
    ctx.execute(
        sa.insert(cluster_accounts).values(
            id=account,
            cluster=cluster.id,
            person=ctx.actor.id,
            login=act.login,
            kind=way,
            public_key=public,
            private_sealed=sealed,
            made_at=ctx.now,
        )
    )
    facts: dict[str, Any] = {} if way == "key" else {"signs_in": way}
    ctx.about("cluster_account", account, cluster=cluster.id, **facts)
    secret = _new_token(ctx, account) if act.agent else None
    return views.account_view(ctx, own(ctx, cluster), cluster.name, secret)


def _new_token(ctx: Context, account: str) -> str:
    """A token in the place of the one before; only its digest is kept."""
    token = new_id("agt")
    secret = ctx.reveal("secret", "clga", "cluster_token", token)
    ctx.execute(
        sa.update(cluster_accounts)
        .where(cluster_accounts.c.id == account)
        .values(token=token, token_digest=secret_digest(secret))
    )
    ctx.publish(f"agent:{account}", {})  # whoever waits with the one before is told at once
    return secret


@handles(ClusterToken, needs="cluster:join")
def renew_cluster_token(act: ClusterToken, ctx: Context) -> AccountView:
    """Where this hub signs in itself there is no token, and none is made."""
    ctx.access.hub("cluster:join")
    cluster = known(ctx, act.cluster)
    mine = own(ctx, cluster)
    if mine.kind != "agent":
        raise Conflict(
            f"for your account on {cluster.name} this hub signs in, not an agent of yours",
            code="no_agent_account",
            path="$.params.cluster",
            hint="`cluster leave`, then `cluster join NAME LOGIN --agent`",
        )
    secret = None
    if act.revoke:
        none = {"token": None, "token_digest": None}
        ctx.execute(sa.update(cluster_accounts).where(cluster_accounts.c.id == mine.id).values(**none))
        ctx.publish(f"agent:{mine.id}", {})
    else:
        secret = _new_token(ctx, mine.id)
    ctx.about("cluster_account", mine.id, cluster=cluster.id, token="revoked" if act.revoke else "made")
    return views.account_view(ctx, mine, cluster.name, secret)


def _tried(act: TryCluster, house: House, actor: Actor) -> Any:
    with house.scope(actor) as scope:
        scope.access.hub("cluster:join")
        cluster = known(scope, act.cluster)
        mine = _to_try(scope, cluster)
        of = views.kubernetes(scope, cluster.id)
        if of is None and mine.kind == "agent":
            return _agent_fared(scope, cluster, mine)
        if mine.kind == "certificate" and mine.certificate is None:
            raise Conflict(
                f"no certificate was given yet for {mine.login} on {cluster.name}", code="certificate_wanted",
                hint="have the public key signed by your site, and give the certificate: `cluster certify NAME FILE`",
            )  # fmt: skip
    if of is not None:
        return kubernetes_reaching.try_out(house, cluster, of, mine)
    from hub.jobs.clusters import reaching

    return reaching.try_out(house, cluster, mine)


def _agent_fared(scope: Scope, cluster: Any, mine: Any) -> None:
    """Raises HubError in words for the person whose agent it is; an agent that was let in has said so itself."""
    if not views.is_connected(scope, mine.id):
        raise Unavailable(
            f"your agent for {cluster.name} is not connected", code="agent_absent",
            hint=f"start it where you can sign in: `collegium agent --hub {scope.house.settings.origin} "
            f"--cluster {cluster.name}`",
        )  # fmt: skip
    stands = mine.standing or {}
    if mine.tested_at is None or not stands.get("reached", False):
        said = stands.get("said") or "it has not said yet how it fared"
        raise Unavailable(f"your agent is connected, but does not reach {cluster.name}: {said}", code="agent_stuck")


@handles(TryCluster, needs="cluster:join", before=_tried)
def try_cluster(act: TryCluster, ctx: Context) -> AccountView:
    """It was let in, with all that is needed in reach: from now on jobs can go there."""
    ctx.access.hub("cluster:join")
    cluster = known(ctx, act.cluster)
    mine = _to_try(ctx, cluster)
    values: dict[str, Any] = {"tested_at": ctx.now}
    if ctx.prepared is not None:
        values["standing"] = {"reached": True, "version": ctx.prepared.version}
    ctx.execute(sa.update(cluster_accounts).where(cluster_accounts.c.id == mine.id).values(**values))
    ctx.about("cluster_account", mine.id, cluster=cluster.id)
    return views.account_view(ctx, _to_try(ctx, cluster), cluster.name)


def _cleared(act: LeaveCluster, house: House, actor: Actor) -> Cleared | None:
    with house.scope(actor) as scope:
        scope.access.hub("cluster:join")
        cluster = named(scope, act.cluster)
        mine = None if cluster is None else views.own_account(scope, cluster.id)
        if cluster is None or mine is None:
            return None  # Asked again, perhaps, after it was done.
        refuse_alive(scope, jobs.c.account == mine.id, f"of yours on {cluster.name}")
    return leaving.clear(house, cluster, mine)


@handles(LeaveCluster, needs="cluster:join", before=_cleared)
def leave_cluster(act: LeaveCluster, ctx: Context) -> AccountView:
    """What jobs left there goes, then the private half or the token; only the person can take the line off."""
    ctx.access.hub("cluster:join")
    cluster = known(ctx, act.cluster)
    mine = own(ctx, cluster)
    refuse_alive(ctx, jobs.c.account == mine.id, f"of yours on {cluster.name}")
    ctx.execute(
        sa.update(cluster_accounts).where(cluster_accounts.c.id == mine.id).values(removed_at=ctx.now, **NOTHING_LEFT)
    )
    ctx.publish(f"agent:{mine.id}", {})
    ctx.about("cluster_account", mine.id, cluster=cluster.id, **summed([ctx.prepared] if ctx.prepared else []))
    return msgspec.structs.replace(views.account_view(ctx, mine, cluster.name), cleared=ctx.prepared)


def _to_try(scope: Scope, cluster: Any) -> Any:
    """One's own account; on a Kubernetes cluster the hub's, which only an operator tries."""
    if cluster.kind != "kubernetes":
        return own(scope, cluster)
    scope.access.hub("cluster:add")
    hubs = views.service_account(scope, cluster.id)
    assert hubs is not None
    return hubs


def own(scope: Scope, cluster: Any) -> Any:
    row = views.own_account(scope, cluster.id)
    if row is None:
        raise NotFound(
            f"you have no account on {cluster.name}", code="account_not_found", path="$.params.cluster",
            hint="`cluster join NAME LOGIN` makes one",
        )  # fmt: skip
    return row
