"""Clusters as pages: all of them as cards, and each with how one's account on it stands and what can be done.

A form that was refused is drawn again with what was wrong beside its field; so is one that asks to compare a host key.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec

from hub.core.context import Scope
from hub.core.roles import Allowed
from hub.jobs.clusters import doctor, reports, views
from hub.jobs.clusters.diagnosis import Line
from hub.jobs.clusters.doctor import Finding
from hub.jobs.clusters.rules import moment
from hub.jobs.clusters.views import AccountView, ClusterView
from hub.jobs.port import Load, Standing
from hub.web.pages import frames, own, render, words
from hub.web.pages.faces import Crumb, Fact, State
from hub.web.pages.forms import Asked, full

NOT_JOINED = State("No account", "later")
TO_TEST = State("To be tested", "waiting", "wait")
READY = State("Ready", "good", "ok")
AWAY = State("Not reached", "failed", "bad")
_KINDS = {"slurm": "Slurm", "kubernetes": "Kubernetes"}
TO_CERTIFY = State("To be certified", "waiting", "wait")
ENDING = State("Certificate ends soon", "waiting", "wait")
ENDED = State("Certificate ended", "failed", "bad")
_HOLDS = {True: State("Holds", "good", "ok"), False: State("Fails", "failed", "bad"), None: State("To do", "waiting")}
_LEVELS = {
    "ok": State("Ok", "good", "ok"),
    "warning": State("Warning", "waiting", "wait"),
    "failed": State("Failed", "failed", "bad"),
}
HERE = "/clusters"


class Card(msgspec.Struct, frozen=True):
    """One cluster among all."""

    href: str
    name: str
    text: str
    state: State
    facts: list[Fact]


class Found(msgspec.Struct, frozen=True):
    """A finding with the face that goes with it."""

    finding: Finding | Line
    state: State


class Said(msgspec.Struct, frozen=True):
    """What came of a deed on one cluster's page: of `deed`, in words, with what to do; keys to compare."""

    deed: str = ""
    words: str = ""
    hint: str = ""
    wrong: str = ""  # beside the one field of the form
    value: str = ""
    compare: str = ""
    way: str = ""  # how somebody wanted to sign up
    secret: str = ""  # of an agent, shown once


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /clusters"""
    own.require_person(scope)
    all_of_them = views.all_clusters(scope).clusters
    adds = may_add(scope)
    return render.html(
        "clusters.html",
        frames.plain(scope, "Clusters", (Crumb("Clusters"),)),
        now=scope.now,
        says=_says(all_of_them, may_add=adds),
        cards=[_card(each, scope.settings.currency, scope.now) for each in all_of_them],
        erased=views.erased(scope),
        may_add=adds,
        asked=Asked(),
        next="",
    )


def add(scope: Scope, asked: Asked, onward: str) -> str:
    """The page a form to add a cluster comes back as."""
    return render.html(
        "cluster_add.html",
        frames.plain(scope, "Add a cluster", (Crumb("Clusters", HERE), Crumb("Add"))),
        now=scope.now,
        asked=asked,
        next=onward,
        back=onward or HERE,
    )


def one(scope: Scope, params: dict[str, str], said: Said | None = None, looked: Sequence[Line] | None = None) -> str:
    """GET /clusters/{name}; `looked` is what was found just now by looking there."""
    own.require_person(scope)
    found = reports.report(scope, params["name"])
    cluster = found.cluster
    given = cluster.account.certificate if cluster.account is not None else None
    return render.html(
        "cluster.html",
        frames.plain(scope, cluster.name, (Crumb("Clusters", HERE), Crumb(cluster.name))),
        now=scope.now,
        cluster=cluster,
        at=at(cluster.name),
        mine=cluster.account,
        state=_state_of(cluster),
        says=_lede(cluster),
        found=[Found(each, _HOLDS[each.holds]) for each in found.findings]
        if looked is None
        else [Found(each, _LEVELS[each.level]) for each in looked],
        looked=looked is not None,
        facts=_facts(cluster, scope.settings.currency, scope.now),
        said=said or Said(),
        may_add=may_add(scope),
        restricted=bool(scope.settings.ssh_from),
        ends=moment(given.ends) if given is not None else "",
        start=f"collegium agent --hub {scope.settings.origin} --cluster {cluster.name}",
    )


def may_add(scope: Scope) -> bool:
    """Whether the reader may make clusters known; for pages that hide what would be refused."""
    return isinstance(scope.access.explain_hub("cluster:add"), Allowed)


def at(name: str) -> str:
    """The path of a cluster's page."""
    return f"{HERE}/{quote(name, safe='')}"


def state(mine: AccountView | None) -> State:
    """How one's account on a cluster stands, as a face."""
    if mine is None:
        return NOT_JOINED
    if mine.kind == "certificate" and mine.certificate is None:
        return TO_CERTIFY
    if mine.certificate is not None and mine.certificate.state == "ended":
        return ENDED
    if mine.tested is None:
        return TO_TEST
    if mine.standing is not None and not mine.standing.reached:
        return AWAY
    return ENDING if mine.certificate is not None and mine.certificate.state == "ending" else READY


def _says(known: list[ClusterView], *, may_add: bool) -> str:
    if not known:
        who = "add one below" if may_add else "an operator can add one"
        return f"This hub knows no cluster yet; {who}. Until then, jobs run on the hub’s own machine."
    usable = sum(_state_of(each) in (READY, ENDING) for each in known)
    count = words.sentence(words.count(len(known), "cluster"))
    if not usable:
        return f"{count}; jobs of yours can go to none yet. Open one to sign your account up."
    return f"{count}; jobs of yours can go to {words.number(usable)}."


def _prices(one: ClusterView, currency: str) -> list[Fact]:
    """What hours cost, where its operator has said."""
    said = (("A core-hour", one.price_per_core_hour), ("A GPU-hour", one.price_per_gpu_hour))
    return [Fact(term, f"{words.money(price)} {currency}") for term, price in said if price is not None]


def _card(one: ClusterView, currency: str, now: dt.datetime) -> Card:
    mine, standing = one.account, standing_of(one)
    facts = [Fact("Host", f"{one.host}:{one.port}" if one.port != 22 else one.host, code=True)]
    facts += _prices(one, currency)
    if mine is not None:
        facts.append(Fact("Your account", mine.login, code=True))
        if mine.standing is not None and mine.standing.per_minute:
            facts.append(Fact("Calls in a minute", f"{doctor.calls_per_minute(mine.standing)}"))
    elif one.service is not None:
        facts.append(Fact("The hub’s account", one.service.login, code=True))
    facts += _load_facts(None if standing is None else standing.load, now)
    return Card(at(one.name), one.name, _card_text(one), _state_of(one), facts)


def standing_of(one: ClusterView) -> Standing | None:
    """How the account stands by which the reader's jobs go there: their own, or the hub's for all."""
    if one.account is not None:
        return one.account.standing
    return None if one.service is None else one.service.standing


def _state_of(one: ClusterView) -> State:
    if one.account is not None or one.service is None:
        return state(one.account)
    if one.service.tested is None:
        return TO_TEST
    return READY if one.service.standing is None or one.service.standing.reached else AWAY


def _load_facts(load: Load | None, now: dt.datetime) -> list[Fact]:
    """How busy it is; what its account may not see is said and not guessed."""
    if load is None:
        return []
    facts = []
    for room in load.rooms:
        if room.nodes is not None:
            idle = "" if room.idle_nodes is None else f", {room.idle_nodes} idle"
            facts.append(Fact(f"Nodes ({room.name})" if room.name != "nodes" else "Nodes", f"{room.nodes}{idle}"))
        facts += _share("Cores taken", room.cpus_taken, room.cpus, lambda cores: f"{cores:g}")
        facts += _share("Memory taken", room.memory_taken_bytes, room.memory_bytes, words.size)
    if load.waiting is not None:
        facts.append(Fact("Jobs that wait", f"{load.waiting}"))
    facts += [Fact("Not seen", load.said)] if load.said else []
    return [*facts, Fact("Looked at", words.ago(dt.datetime.fromtimestamp(load.told_at, dt.UTC), now))]


def _share(term: str, taken: float | None, whole: float | None, shown: Callable[[float], str]) -> list[Fact]:
    if taken is None:
        return []
    return [Fact(term, shown(taken) if whole is None else f"{shown(taken)} of {shown(whole)}")]


def _card_text(one: ClusterView) -> str:
    kind, standing = _KINDS.get(one.kind, one.kind), standing_of(one)
    if standing is not None:
        if not standing.reached:
            return full(f"{kind}. {standing.said}")
        if standing.version:
            return f"{kind} {standing.version}."
    return f"{kind}."


def _lede(one: ClusterView) -> str:
    mine = one.account
    if one.service is not None:
        where = f"in its namespace {one.service.namespace}"
        return f"Jobs of the sessions that an operator named go here as pods, {where}, under the hub’s own account."
    if mine is None:
        return "You have no account here yet. Jobs go there under your own login, and nobody else’s go under it."
    if mine.kind == "agent" and mine.tested is None:
        return f"Start your agent where you can sign in to {one.name}; then see how it fares."
    if mine.kind == "certificate" and mine.certificate is None:
        return f"A key is made for {mine.login}. It is good for nothing until your site signs its public half."
    if mine.certificate is not None and mine.certificate.state == "ended":
        return f"The certificate ended at {moment(mine.certificate.ends)}; give a new one. What runs there goes on."
    if mine.tested is None:
        return f"One line is to be added for {mine.login}; then the hub tests whether {one.name} lets it in."
    if mine.standing is not None and not mine.standing.reached:
        return "The hub does not reach it for you just now; what is wrong stands below."
    if mine.certificate is not None and mine.certificate.state == "ending":
        return f"Jobs of yours can go here until {moment(mine.certificate.ends)}; give a new certificate before."
    return f"Jobs of yours can go here, as {mine.login}."


def _facts(one: ClusterView, currency: str, now: dt.datetime) -> list[Fact]:
    facts = [
        Fact("Kind", _KINDS.get(one.kind, one.kind)),
        Fact("Host", one.host, code=True),
        Fact("Port", str(one.port)),
    ]
    if one.through:
        facts.append(Fact("Through", one.through, code=True))
    facts += [Fact("Host key", each, code=True) for each in one.fingerprints]
    facts += _prices(one, currency)
    standing = standing_of(one)
    facts += _load_facts(None if standing is None else standing.load, now)
    facts += [Fact("Jobs lie in", one.root, code=True)] if one.root else []
    facts += [Fact("Commands in", each, code=True) for each in one.path]
    facts += [Fact("Unless said", f"--{name}={value}", code=True) for name, value in sorted(one.defaults.items())]
    return [*facts, *([Fact("Portal", one.portal_url, href=one.portal_url)] if one.portal_url else [])]
