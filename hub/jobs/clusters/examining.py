"""A look at a cluster as one's own account: signed in, the scheduler asked once, a file written and removed.

Nothing stays there, and nothing is changed here but one line of the ledger that says who looked.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from typing import Any

import msgspec

from hub.core.actions import Action, handles
from hub.core.context import Actor, Context, Scope
from hub.core.errors import Unavailable
from hub.core.house import House
from hub.core.roles import Allowed
from hub.jobs import quotas
from hub.jobs.clusters import diagnosis, kubernetes_diagnosis, kubernetes_examining, reports, rules, views
from hub.jobs.clusters.actions import Name, known
from hub.jobs.clusters.diagnosis import Bound, Level, Line, Refused, Seen
from hub.jobs.clusters.views import ClusterView
from hub.jobs.shell import SshError

SECONDS = 60.0
# As far as there is such a folder; what is written is removed at once.
LOOK = r"""(
LC_ALL=C; export LC_ALL
echo "now $(date +%s)"
for c in sbatch squeue scancel scontrol tar base64 find gzip; do command -v "$c" >/dev/null || echo "missing $c"; done
echo "version $(sbatch --version 2>/dev/null)"
scontrol show config 2>/dev/null | sed -n 's/^\(AccountingStorageType\) *= */\1 /p'
cd; r={root}
case $r in /*) ;; *) r=$PWD/$r;; esac
echo "root $r"
d=$r
while [ ! -d "$d" ] && [ "$d" != / ]; do d=${{d%/*}}; d=${{d:-/}}; done
echo "folder $d"
w=$( {{ t=$(mktemp "$d/.collegium.XXXXXX") && {{
    dd if=/dev/zero of="$t" bs=65536 count=16; e=$?; rm -f -- "$t"; exit "$e"; }}; }} 2>&1 ) && echo "written yes" ||
    echo "written no $(printf '%s\n' "$w" | head -n 1)"
df -Pk "$d" 2>/dev/null | awk 'NR == 2 {{ print "space", $2, $4 }}'
df -Pi "$d" 2>/dev/null | awk 'NR == 2 {{ print "files", $2, $4 }}'
)"""
PING = r"""echo "ping $(LC_ALL=C scontrol ping 2>&1 | tr '\n' ';')" """


class ExamineCluster(Action, frozen=True, tag="cluster_doctor"):
    """Look at what is wrong with a cluster: sign in with your account, ask its scheduler, and say it line by line."""

    cluster: Name


class Examination(msgspec.Struct, frozen=True):
    """What was found, in the order in which it can go wrong, and the worst of it."""

    cluster: str
    worst: Level
    lines: list[Line]


def _looked(act: ExamineCluster, house: House, actor: Actor) -> list[Line]:
    """What only the cluster itself can say."""
    with house.scope(actor) as scope:
        scope.access.hub("cluster:join")
        row = known(scope, act.cluster)
        mine, of = views.own_account(scope, row.id), views.kubernetes(scope, row.id)
        operates = isinstance(scope.access.explain_hub("cluster:add"), Allowed)
        own = None if of is None else views.service_account(scope, row.id)
    if of is not None:
        return kubernetes_examining.looked(house, row, of, own) if operates and own is not None else []
    if mine is None or mine.kind == "agent":
        return _from_outside(row, mine)
    seen = asyncio.run(_signed_in(house, row, mine))
    lines = list(diagnosis.of_connection(row.name, mine.login, seen))
    return lines if seen.refused is not None else [*lines, *diagnosis.of_site(row.name, seen)]


async def _signed_in(house: House, row: Any, mine: Any) -> Seen:
    from hub.jobs.backends import far_side
    from hub.jobs.clusters import reaching  # SSH is loaded where it is used, which is seldom here
    from hub.jobs.ssh import HostKeyChanged, KeyRefused

    backend = reaching.backend_of(house, row, mine)
    connection, began = backend.connection, time.monotonic()
    try:
        try:
            await connection.run(":", seconds=SECONDS)
        except (SshError, OSError) as error:
            changed, no_key = isinstance(error, HostKeyChanged), isinstance(error, KeyRefused)
            return Seen(refused=Refused("host_key" if changed else "key" if no_key else "unreachable", str(error)))
        took = time.monotonic() - began
        told: dict[str, str] = {}
        missing: list[str] = []
        off, queued, said = None, None, ""
        try:
            before = time.time()
            look = LOOK.format(root=shlex.quote(row.root or far_side.below_home(mine.id)))
            done = await connection.run(look, seconds=SECONDS)
            told, missing = _told(done.out.decode(errors="replace"))
            if told.get("now", "").isdigit():
                off = diagnosis.apart(float(told["now"]), before, time.time())
            began = time.monotonic()
            await backend.queue()
            queued = time.monotonic() - began
        except (SshError, OSError) as error:
            said = str(error).removeprefix("squeue: ")
        if said:
            told |= await _pinged(connection)
        return Seen(
            signed_in=took, told=told, missing=tuple(missing), clock_off=off, queue_seconds=queued, queue_said=said,
            root=told.get("root", ""),
        )  # fmt: skip
    finally:
        await connection.close()


async def _pinged(connection: Any) -> dict[str, str]:
    try:
        return _told((await connection.run(PING, seconds=SECONDS)).out.decode(errors="replace"))[0]
    except (SshError, OSError):
        return {}


def _told(out: str) -> tuple[dict[str, str], list[str]]:
    """The words of a look by their names, and the programs that are missing."""
    pairs = [(name, rest.strip()) for line in out.splitlines() for name, _, rest in [line.partition(" ")]]
    told = {name: rest for name, rest in pairs if name != "missing"}
    told["version"] = told.get("version", "").removeprefix("slurm-wlm ").removeprefix("slurm ")
    return told, [rest for name, rest in pairs if name == "missing"]


def _from_outside(row: Any, mine: Any) -> list[Line]:
    """As far as anybody sees it who cannot sign in: whether it answers, and with which host key."""
    from hub.jobs.clusters import reaching

    if row.jump:
        found = []
    else:
        try:
            shown = reaching.shown_key(row.host, row.port)
            known_keys = {rules.fingerprint(each) for each in row.host_keys}
            changed = rules.fingerprint(shown) not in known_keys
            said = f"{row.host} answers with another host key than the one that was confirmed"
            seen = Seen(only_key=True, refused=Refused("host_key", said) if changed else None)
        except Unavailable as error:
            seen = Seen(only_key=True, refused=Refused("unreachable", error.message))
        found = list(diagnosis.of_connection(row.name, "", seen))
    if mine is None:
        words, hint = f"You have no account on {row.name}.", "`cluster join NAME LOGIN` makes one."
        return [*found, Line(name="sign-in", level="warning", words=words, hint=hint)]
    if found and found[0].level == "failed":
        # An agent may stand where this hub does not reach.
        hint = "Your agent may reach it all the same, from where it runs."
        found[0] = msgspec.structs.replace(found[0], level="warning", hint=hint)
    return found


@handles(ExamineCluster, needs="cluster:join", before=_looked)
def examine_cluster(act: ExamineCluster, ctx: Context) -> Examination:
    """Beside what the cluster said stands what the hub knows: its agent, how often it asks, quotas."""
    ctx.access.hub("cluster:join")
    row = known(ctx, act.cluster)
    lines: list[Line] = [*ctx.prepared, *_of_hub(ctx, views.cluster_view(ctx, row)), *diagnosis.of_quota(_bounds(ctx))]
    worst = diagnosis.worst(lines)
    ctx.about("cluster", row.id, found=worst)
    return Examination(row.name, worst, lines)


def _of_hub(scope: Scope, one: ClusterView) -> list[Line]:
    mine, now = one.account, scope.now.timestamp()
    if mine is None and one.service is None:
        return []
    work = reports.work(scope, one)
    watched = work.watched_until is not None and work.watched_until > scope.now
    if mine is None:
        assert one.service is not None
        return list(kubernetes_diagnosis.of_hub(one.service, alive=work.alive, watched=watched, now=now))
    return list(diagnosis.of_hub(mine.standing, kind=mine.kind, alive=work.alive, watched=watched, now=now))


def _bounds(scope: Scope) -> list[Bound]:
    if scope.actor.kind != "person":
        return []
    return [
        Bound(each.of, amount.what.replace("_", " "), amount.most, amount.used, each.hard, each.who)
        for each in quotas.mine(scope).quotas
        for amount in each.amounts
    ]
