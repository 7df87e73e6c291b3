"""`cluster`: the clusters of this hub, and your own account on each. In the shell, never in a chat."""

from typing import Any

import click

from bot.cards import Field, Next, Reply, Row, Table, fields
from bot.cluster_views import Cleared, Cluster, ClusterAccount, Examination
from bot.door import Door
from bot.grammar import Hours, KeyValue, Noun
from bot.problems import UNAVAILABLE, usage
from bot.verbs import certifying, kubernetes
from bot.words import counted, listed, moment, size


@click.group("cluster", cls=Noun)
def cluster() -> None:
    """Clusters that jobs can go to, and your own account on each."""


@cluster.command("list", in_shell_only=True)
@click.pass_obj
def list_clusters(door: Door) -> Reply:
    """List the clusters, and how your account on each of them stands."""
    known = door.hub.clusters()
    rows = tuple(
        Row(
            (
                one.name,
                one.host,
                _account(one),
                kubernetes.price(one.price_per_core_hour),
                kubernetes.price(one.price_per_gpu_hour),
            ),
            f"{one.name} ({one.host}): {_account(one)}",
        )
        for one in known.clusters
    )
    return Reply(
        sentence=f"This hub knows {counted(len(known.clusters), 'cluster')}.",
        table=Table(("cluster", "host", "your account", "a core-hour", "a GPU-hour"), rows),
        next=(Next("sign your account up", ("cluster", "join", "NAME", "LOGIN")),),
        data=known,
    )


SIGNS = {True: "✓", False: "✗", None: "○"}
WORDS = {True: "holds", False: "fails", None: "to do"}


@cluster.command("show", in_shell_only=True, fields={"name": "NAME"})
@click.argument("name")
@click.pass_obj
def show_cluster(door: Door, name: str) -> Reply:
    """Show cluster NAME: where it is, what holds between your account and it, and what to do about the rest."""
    found = door.hub.cluster(name)
    one = found.cluster
    rows = tuple(
        Row(
            (SIGNS[each.holds], each.name, f"{each.words} {each.hint}".strip()),
            f"{each.name}: {WORDS[each.holds]}. {each.words} {each.hint}".strip(),
        )
        for each in found.findings
    )
    wrong = [each.name for each in found.findings if each.holds is False]
    stands = f"{listed(wrong)} {'fails' if len(wrong) == 1 else 'fail'}" if wrong else "nothing is wrong"
    return Reply(
        sentence=f"{one.name} is a {'Kubernetes' if one.kind == 'kubernetes' else 'Slurm'} cluster: {stands}.",
        fields=kubernetes.told(one) or _told(one),
        table=Table(("", "looked at", "found"), rows) if rows else None,
        data=found,
    )


LEVELS = {"ok": "✓", "warning": "○", "failed": "✗"}


@cluster.command("doctor", in_shell_only=True, fields={"cluster": "NAME"})
@click.argument("name")
@click.pass_obj
def examine_cluster(door: Door, name: str) -> Reply:
    """Look at what is wrong with cluster NAME: sign in with your account, ask its scheduler, write and remove a file.

    The exit code is 0 unless something fails. On Kubernetes operators look, as the hub's account there.
    """
    found = door.hub.act("cluster_doctor", Examination, cluster=name)
    rows = tuple(
        Row(
            (LEVELS.get(each.level, ""), each.name, f"{each.words} {each.hint}".strip()),
            f"{each.name}: {each.level}. {each.words} {each.hint}".strip(),
        )
        for each in found.lines
    )
    failed = [each.name for each in found.lines if each.level == "failed"]
    warns = [each.name for each in found.lines if each.level == "warning"]
    stands = f"fails: {', '.join(failed)}" if failed else f"look at: {', '.join(warns)}" if warns else "all is well"
    return Reply(
        sentence=f"{found.cluster}: {stands}.",
        table=Table(("", "looked at", "found"), rows) if rows else None,
        exit_code=UNAVAILABLE if failed else 0,
        data=found,
    )


def _told(one: Cluster) -> tuple[Field, ...]:
    stands = one.account.standing if one.account is not None else None
    calls = sum(stands.per_minute.values()) if stands is not None else 0
    rates = [f"{each.begin} to {each.end} at most {each.mbit:g} Mbit/s" for each in one.rate]
    return fields(
        host=f"{one.host}:{one.port}",
        fingerprint=", ".join(one.fingerprints),
        through=one.through,
        folder=one.root,
        defaults=", ".join(f"{name}={value}" for name, value in one.defaults.items()),
        a_core_hour=kubernetes.price(one.price_per_core_hour),
        a_GPU_hour=kubernetes.price(one.price_per_gpu_hour),
        portal=one.portal_url,
        your_account=_account(one),
        certificate=certifying.told(one.account),
        purges=f"files after {counted(one.purge_days, 'day')}" if one.purge_days else "",
        results_come=f"{', '.join(rates)}; {one.rate_clock}" if rates else "",
        asked=f"{counted(calls, 'time')} in the last minute" if calls else "",
    )


def _account(one: Cluster) -> str:
    if one.service is not None:
        return f"the hub's own, {kubernetes.standing(one.service)}"
    mine = one.account
    if mine is None:
        return "none"
    if mine.tested is None:
        return f"{mine.login}, not tried yet"
    if mine.connected is False:
        return f"{mine.login}, your agent is not connected"
    if mine.kind == "certificate" and (given := mine.certificate) is not None and given.state != "good":
        over = given.state == "ended"
        return f"{mine.login}, the certificate {'ended' if over else 'ends'} at {moment(given.ends)}"
    stands = mine.standing
    return f"{mine.login}, not reached: {stands.said}" if stands is not None and not stands.reached else mine.login


@cluster.command(
    "add",
    in_shell_only=True,
    fields={
        "name": "NAME", "host": "HOST", "fingerprint": "--fingerprint", "host_key": "--host-key", "path": "--path",
        "server": "HOST", "authority": "--ca", "token": "--account-token", "attest": "--attest",
        "sessions": "--session",
        "described.image": "--image", "described.porter_image": "--porter-image",
        "described.namespace": "--namespace", "described.claim": "--claim",
    },
)  # fmt: skip
@click.argument("name")
@click.argument("host", required=False)
@click.option(
    "--kind", type=click.Choice(["slurm", "kubernetes"]), default="slurm", show_default=True, help="What manages it."
)
@click.option("--port", type=click.IntRange(1, 65535), default=22, show_default=True, help="Where its sshd listens.")
@click.option("--fingerprint", metavar="SHA256:…", help="Its host key's fingerprint, after you compared it.")
@click.option("--root", metavar="FOLDER", help="Where jobs lie there; without it, below each person's home.")
@click.option("--path", "folders", metavar="FOLDER", multiple=True, help="Where its scheduler's commands lie.")
@click.option(
    "--default", "defaults", type=KeyValue(), multiple=True, help="An option of sbatch, such as partition=short."
)
@click.option("--price", type=click.FloatRange(0), help="What a core-hour costs.")
@click.option("--gpu-price", type=click.FloatRange(0), help="What a GPU-hour costs.")
@click.option("--portal", metavar="URL", help="The site's own web portal.")
@kubernetes.described
@kubernetes.credential
@kubernetes.who_may_use
@click.pass_obj
def add_cluster(
    door: Door,
    /,
    name: str,
    host: str | None,
    kind: str,
    port: int,
    fingerprint: str | None,
    root: str | None,
    folders: tuple[str, ...],
    defaults: tuple[tuple[str, str], ...],
    price: float | None,
    gpu_price: float | None,
    portal: str | None,
    **of_kubernetes: Any,
) -> Reply:
    """Make the cluster NAME known, whose login node or API server is HOST. For operators.

    On Slurm, without --fingerprint its host key is only shown: compare it with what the cluster's own pages say.
    On Kubernetes (--kind kubernetes) HOST is a URL; deploy/kubernetes.md says what is made there first.
    """
    if kind == "kubernetes":
        return _add_kubernetes(
            door,
            name,
            host,
            {"price_per_core_hour": price, "price_per_gpu_hour": gpu_price, "portal_url": portal},
            of_kubernetes,
        )
    if host is None:
        raise usage("Which host is its login node?", fix=f"cluster add {name} HOST")
    made = door.hub.act(
        "cluster_add",
        Cluster,
        name=name,
        host=host,
        port=port,
        fingerprint=fingerprint,
        root=root,
        path=folders or None,
        defaults=dict(defaults) or None,
        price_per_core_hour=price,
        price_per_gpu_hour=gpu_price,
        portal_url=portal,
    )
    return Reply(
        sentence=f"Cluster {made.name} is known, with the host key that you compared.",
        fields=fields(host=made.host, fingerprint=", ".join(made.fingerprints)),
        body="\n".join(
            ("Everybody signs up in the first of these ways that the site allows:", *certifying.ways(made.name))
        ),
        next=(Next("sign your account up", ("cluster", "join", made.name, "LOGIN", "--agent")),),
        data=made,
    )


def _add_kubernetes(door: Door, name: str, url: str | None, plain: dict[str, Any], said: dict[str, Any]) -> Reply:
    made = door.hub.act(
        "cluster_add",
        Cluster,
        name=name,
        **plain,
        **kubernetes.parameters(door, url, said),
    )
    return Reply(
        sentence=f"Cluster {made.name} is known. Try it, so that jobs can go there.",
        fields=kubernetes.told(made),
        next=(Next("try every right it needs", ("cluster", "test", made.name)),),
        data=made,
    )


cluster.add_command(kubernetes.change_cluster)


@cluster.command("policy", in_shell_only=True, fields={"name": "NAME", "purge_days": "--purge-days", "rate": "--rate"})
@click.argument("name")
@click.option("--purge-days", type=click.IntRange(0, 3650), help="Days after which it removes files; 0: never.")
@click.option("--rate", "rates", type=Hours(), multiple=True, help="How fast results may come, by the hub's clock.")
@click.option("--no-rate", is_flag=True, help="Results come as fast as they can.")
@click.pass_obj
def set_policy(
    door: Door, name: str, purge_days: int | None, rates: tuple[dict[str, Any], ...], no_rate: bool
) -> Reply:
    """Say when cluster NAME purges files, and how fast results may come from it at which hours. For operators."""
    if no_rate and rates:
        raise click.UsageError("--rate and --no-rate exclude each other")
    rate = rates or (() if no_rate else None)
    made = door.hub.act("cluster_policy", Cluster, name=name, purge_days=purge_days, rate=rate)
    return Reply(sentence=f"Cluster {made.name} is changed.", fields=_told(made), data=made)


@cluster.command("trust", in_shell_only=True, fields={"name": "NAME", "fingerprint": "--fingerprint"})
@click.argument("name")
@click.option("--fingerprint", metavar="SHA256:…", help="The new host key's fingerprint, after you compared it.")
@click.pass_obj
def trust_cluster(door: Door, name: str, fingerprint: str | None) -> Reply:
    """Trust the new host key of cluster NAME, after you compared its fingerprint. For operators."""
    made = door.hub.act("cluster_trust", Cluster, name=name, fingerprint=fingerprint)
    return Reply(sentence=f"Cluster {made.name} is trusted by its new host key.", data=made)


@cluster.command("remove", in_shell_only=True, fields={"name": "NAME", "abandon": "--abandon"})
@click.argument("name")
@click.option("--abandon", is_flag=True, help="It is gone for good: give up the jobs that have not ended there.")
@click.pass_obj
def remove_cluster(door: Door, name: str, abandon: bool) -> Reply:
    """Forget cluster NAME and erase the keys of all accounts on it. For operators."""
    gone = door.hub.act("cluster_remove", Cluster, idempotency_key=door.key(), name=name, abandon=abandon or None)
    certificates = "\n".join(each.certificate for each in gone.cleared if each.certificate)
    of_kubernetes = gone.kind == "kubernetes"
    what = "its token is" if of_kubernetes else "the keys of all accounts on it are"
    lines = "\n".join(each.line for each in gone.cleared if each.line)
    still = "\n".join(("Still there, for its administrator to delete:", *(f"- {each}" for each in gone.left)))
    said = " Their lines in ~/.ssh/authorized_keys there can be deleted." if lines else ""
    return Reply(
        sentence=f"Cluster {gone.name} is forgotten; {what} erased.{said}",
        fields=fields(**_cleared(*gone.cleared)),
        body=still if gone.left else "\n".join(each for each in (lines, certificates) if each),
        data=gone,
    )


@cluster.command(
    "join",
    in_shell_only=True,
    fields={"cluster": "NAME", "login": "LOGIN", "agent": "--agent", "certificate": "--certificate"},
)
@click.argument("name")
@click.argument("login")
@click.option("--agent", is_flag=True, help="An agent on your own machine signs in there, and the hub cannot.")
@click.option("--certificate", is_flag=True, help="Your site signs a key of the hub's, for hours at a time.")
@click.pass_obj
def join_cluster(door: Door, name: str, login: str, agent: bool, certificate: bool) -> Reply:
    """Sign up your account LOGIN on cluster NAME, in the first of three ways that your site allows.

    With --agent nothing is stored: you run `collegium agent` where you can sign in to the cluster. With --certificate
    the hub makes a key that is good only with a short-lived certificate, which `cluster certify` gives it. With neither
    it makes a key pair, and you add one line there.
    """
    if agent and certificate:
        raise click.UsageError("--agent and --certificate exclude each other")
    wish: dict[str, Any] = {"cluster": name, "login": login, "agent": agent, "certificate": certificate}
    made = door.hub.act("cluster_join", ClusterAccount, idempotency_key=door.key(), **wish)
    if made.kind == "agent":
        return _agent_reply(door, made)
    if made.kind == "certificate":
        return certifying.to_be_signed(made)
    return Reply(
        sentence=f"A key is made for {made.login} on {made.cluster}. Add its line to ~/.ssh/authorized_keys there.",
        body=made.line,
        next=(Next("try it, once the line is there", ("cluster", "test", made.cluster)),),
        data=made,
    )


def _agent_reply(door: Door, made: ClusterAccount) -> Reply:
    """How to start the agent; its token is in this answer, and in none after it."""
    start = f"collegium agent --hub {door.hub.url} --cluster {made.cluster}"
    if made.secret is None:
        return Reply(
            sentence=f"{made.login} on {made.cluster} is signed up with an agent of yours; its token was shown before.",
            body=start,
            next=(Next("make a new token", ("cluster", "token", made.cluster)),),
            data=made,
        )
    return Reply(
        sentence=f"Start your agent where you can sign in to {made.cluster}; it asks for this token once, "
        "which is not shown again.",
        body=f"{start}\n{made.secret}",
        next=(Next("see how it fares, once it runs", ("cluster", "test", made.cluster)),),
        data=made,
    )


cluster.add_command(certifying.certify)


@cluster.command("token", in_shell_only=True, fields={"cluster": "NAME", "revoke": "--revoke"})
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Only end the one there is: the agent stops within a second.")
@click.pass_obj
def renew_token(door: Door, name: str, revoke: bool) -> Reply:
    """Make a new token for your agent on cluster NAME; the one before ends at once."""
    made = door.hub.act("cluster_token", ClusterAccount, idempotency_key=door.key(), cluster=name, revoke=revoke)
    if revoke:
        return Reply(
            sentence=f"The token of your agent for {made.cluster} is revoked. Its jobs go on there, unwatched.",
            next=(Next("make a new one", ("cluster", "token", made.cluster)),),
            data=made,
        )
    return _agent_reply(door, made)


@cluster.command("test", in_shell_only=True, fields={"cluster": "NAME"})
@click.argument("name")
@click.pass_obj
def try_cluster(door: Door, name: str) -> Reply:
    """Sign in with your account on cluster NAME and look around; after that your jobs can go there.

    On Kubernetes it is the hub's account, which an operator tries: every right it needs, and its volume.
    """
    made = door.hub.act("cluster_test", ClusterAccount, cluster=name)
    version = made.standing.version if made.standing is not None else ""
    return Reply(
        sentence=f"{made.cluster} lets {made.login or 'the hub'} in. Jobs can go there now.",
        fields=fields(version=version, tested=moment(made.tested) if made.tested else ""),
        next=(Next("send one", ("job", "submit", "SCRIPT", "--cluster", made.cluster)),),
        data=made,
    )


@cluster.command("leave", in_shell_only=True, fields={"cluster": "NAME"})
@click.argument("name")
@click.pass_obj
def leave_cluster(door: Door, name: str) -> Reply:
    """Erase the key of your account on cluster NAME; then delete its line there."""
    gone = door.hub.act("cluster_leave", ClusterAccount, idempotency_key=door.key(), cluster=name)
    if gone.kind == "agent":
        said = f"Your account on {gone.cluster} is forgotten, and its agent's token opens nothing any more."
        return Reply(sentence=said, data=gone)
    if gone.kind == "certificate":
        return Reply(
            sentence=f"The key for {gone.login} on {gone.cluster} is erased, and its certificate is good for nothing.",
            fields=fields(**_cleared(*([gone.cleared] if gone.cleared is not None else []))),
            body=gone.cleared.certificate if gone.cleared is not None else "",
            data=gone,
        )
    return Reply(
        sentence=f"The key is erased. Delete its line from ~/.ssh/authorized_keys on {gone.cluster}, too.",
        fields=fields(**_cleared(*([gone.cleared] if gone.cleared is not None else []))),
        body=gone.line,
        data=gone,
    )


def _cleared(*accounts: Cleared) -> dict[str, str]:
    """What went with them, and what stays there and why."""
    went = sum(each.folders for each in accounts)
    taken = sum(each.size_bytes for each in accounts)
    kept, left = sum(each.kept for each in accounts), sum(each.left for each in accounts)
    said = "; ".join(sorted({each.said for each in accounts if each.said}))
    return {
        "removed_there": f"{counted(went, 'folder')}, {size(taken)}" if went else "",
        "stays_there": f"{counted(kept, 'folder')} with files that did not come home" if kept else "",
        "not_removed": f"{counted(left, 'folder')}" + (f": {said}" if said else "") if left else said,
    }
