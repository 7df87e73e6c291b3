"""What is wrong between a person's account and its cluster, and what to do, from what the hub has seen. Pure.

Nothing is asked of the cluster for it: what it answers when somebody signs in is found out by testing the account.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from hub.jobs.clusters.rules import moment
from hub.jobs.clusters.views import CertificateView, ClusterView, ServiceView
from hub.jobs.port import Standing

# A cluster's scheduler is asked how its jobs are no more often than this, by one account.
MOST_QUESTIONS = 6
# A token of the hub's account that lapses within this time is spoken of.
TOKEN_SOON = dt.timedelta(days=30)
QUESTIONS = frozenset({"squeue", "sacct"})


class Work(msgspec.Struct, frozen=True):
    """One's jobs on a cluster that have not ended, and until when an agent is sure to watch them."""

    alive: int = 0
    watched_until: dt.datetime | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `holds` is None where there is nothing to hold yet."""

    name: str
    holds: bool | None
    words: str
    hint: str = ""


def findings(one: ClusterView, work: Work, now: dt.datetime) -> list[Finding]:
    """All that can be said, in the order in which it can go wrong."""
    if one.service is not None:
        return _of_service(one, one.service, work, now)
    keys = ", ".join(one.fingerprints)
    found = [Finding(name="host key", holds=True, words=f"Pinned after it was compared: {keys}.")]
    mine = one.account
    if mine is None:
        hint = "Name your login there, and choose how it signs in."
        return [*found, Finding(name="your account", holds=None, words=f"You have none on {one.name}.", hint=hint)]
    if mine.kind == "agent" and not mine.connected:
        words = f"An agent of yours signs in as {mine.login}, and it is not connected."
        hint = (
            f"Start it where you can sign in: collegium agent --cluster {one.name}, with --hub and this hub's address."
        )
        return [*found, Finding(name="your account", holds=False, words=words, hint=hint)]
    if mine.kind == "agent" and mine.tested is None:
        said = mine.standing.said.rstrip(".") if mine.standing is not None else "it has not said yet how it fared"
        words = f"Your agent is connected, and {one.name} has not let it in yet: {said}."
        return [*found, Finding(name="your account", holds=None, words=words)]
    if mine.kind == "certificate" and mine.certificate is None:
        words = f"A key is made for {mine.login}, and no certificate for it was given yet."
        hint = f"Have its public half signed by your site for {mine.login}, then give the certificate."
        return [*found, Finding(name="your account", holds=None, words=words, hint=hint)]
    if mine.tested is None:
        words = f"A key is made for {mine.login}, and {one.name} has not let it in yet."
        hint = "Add the line to ~/.ssh/authorized_keys there, then test."
        return [*found, Finding(name="your account", holds=None, words=words, hint=hint)]
    let_in = f"{one.name} let {mine.login} in when it was tested."
    found.append(Finding(name="your account", holds=True, words=let_in))
    if mine.certificate is not None:
        found.append(_certificate(mine.certificate, now))
        if mine.certificate.state == "ended":
            return [*found, _unasked(work)]
    found.append(_connection(one.name, mine.standing))
    if mine.standing is not None and mine.standing.version:
        found.append(Finding(name="scheduler", holds=True, words=f"Slurm {mine.standing.version}."))
    if mine.standing is not None and mine.standing.per_minute:
        found.append(_calls(mine.standing))
    return [*found, _jobs(work, now)]


def _of_service(one: ClusterView, service: ServiceView, work: Work, now: dt.datetime) -> list[Finding]:
    """The same where the hub has one account for all: a namespace of a Kubernetes cluster."""
    keys = ", ".join(one.fingerprints)
    whose = f"Pinned: {keys}." if service.server else "It is the cluster this hub runs on."
    found = [Finding(name="authority", holds=True, words=whose)]
    if service.tested is None:
        words = f"The hub works there as {service.login}, and no job goes there before that was tried."
        hint = f"An operator tries it: `collegium cluster test {one.name}`."
        return [*found, Finding(name="hub's account", holds=None, words=words, hint=hint)]
    words = f"{one.name} gave {service.login} every right the hub needs when it was tried."
    found.append(Finding(name="hub's account", holds=True, words=words))
    if service.token_until is not None and service.token_until - now < TOKEN_SOON:
        over = service.token_until <= now
        words = f"It {'lapsed' if over else 'lapses'} at {moment(service.token_until)}."
        hint = f"An operator hands in the next one: `collegium cluster change {one.name} --account-token FILE`."
        found.append(Finding(name="token", holds=False if over else None, words=words, hint=hint))
    stands = service.standing
    if stands is None or stands.reached:
        words = f"{one.name} answered when it was asked last. Without jobs there, nobody asks."
        found.append(Finding(name="connection", holds=True, words=words))
    else:
        hint = "The hub tries again by itself; pods that have started run on meanwhile. An operator finds out why: "
        hint = f"{hint}`collegium cluster doctor {one.name}`."
        said = stands.said.rstrip(".")
        found.append(Finding(name="connection", holds=False, words=f"Not reached: {said}.", hint=hint))
    if stands is not None and stands.version:
        found.append(Finding(name="version", holds=True, words=f"Kubernetes {stands.version}."))
    if stands is not None and stands.per_minute:
        found.append(Finding(name="calls", holds=True, words=f"In a minute: {_by_kind(stands)}."))
    return [*found, _jobs(work, now)]


def _certificate(given: CertificateView, now: dt.datetime) -> Finding:
    """Holds while it is good; one that is about to end is told with what to do."""
    shown = f"{given.key_id or 'without an id'}, serial {given.serial}"
    if given.state == "ended":
        words = f"It ended at {moment(given.ends)} ({shown}). Nobody signs in until you give a new one."
        return Finding(name="certificate", holds=False, words=words, hint=RENEW)
    only = f" It may be used from {', '.join(given.addresses)} only." if given.addresses else ""
    words = f"Good until {moment(given.ends)}, {_left(given.ends - now)} from now ({shown}).{only}"
    if given.state == "ending":
        return Finding(name="certificate", holds=None, words=words, hint=f"It ends soon. {RENEW}")
    return Finding(name="certificate", holds=True, words=words)


RENEW = "Have the public key signed again and give the certificate: nothing that runs there is lost meanwhile."


def _left(time: dt.timedelta) -> str:
    minutes = max(1, int(time.total_seconds() // 60))
    if minutes < 120:
        return f"{minutes} minute{'' if minutes == 1 else 's'}"
    return f"{minutes // 60} hours" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"


def _unasked(work: Work) -> Finding:
    if not work.alive:
        return Finding(name="jobs", holds=True, words="None of yours waits or runs there.")
    one = work.alive == 1
    words = f"{work.alive} of yours {'has' if one else 'have'} not ended there, as far as the hub knows."
    goes = "It goes on by itself; with a new certificate the hub sees what became of it."
    hint = goes if one else "They go on by themselves; with a new certificate the hub sees what became of them."
    return Finding(name="jobs", holds=None, words=words, hint=hint)


def calls_per_minute(standing: Standing) -> int:
    """All commands of a scheduler's that an account's agent ran in a minute."""
    return sum(standing.per_minute.values())


def _connection(cluster: str, standing: Standing | None) -> Finding:
    if standing is None or standing.reached:
        words = f"{cluster} answered when it was called last. Without jobs there, nobody signs in."
        return Finding(name="connection", holds=True, words=words)
    said = standing.said.rstrip(".")
    return Finding(name="connection", holds=False, words=f"Not reached: {said}.", hint=_remedy(said))


def _remedy(said: str) -> str:
    if "host key" in said:
        return "Ask an operator to compare the new fingerprint with what the cluster's own pages say, and to trust it."
    if "does not accept the certificate" in said:
        return "Ask your site whether it still trusts who signed it, or has revoked it; then give a new one."
    if "does not accept the key" in said:
        return "See that the line is still in ~/.ssh/authorized_keys there, in one piece; then test."
    return "The hub tries again by itself, ever more seldom. Jobs that Slurm has accepted run on there meanwhile."


def _calls(standing: Standing) -> Finding:
    asked = sum(count for kind, count in standing.per_minute.items() if kind in QUESTIONS)
    words = f"In a minute: {_by_kind(standing)}."
    if asked <= MOST_QUESTIONS:
        return Finding(name="calls", holds=True, words=words)
    words = f"{words} The scheduler is asked {asked} times, and {MOST_QUESTIONS} are the most it should be."
    return Finding(name="calls", holds=False, words=words, hint="Tell the operator of this hub.")


def _by_kind(standing: Standing) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(standing.per_minute.items()))


def _jobs(work: Work, now: dt.datetime) -> Finding:
    if not work.alive:
        return Finding(name="jobs", holds=True, words="None of yours waits or runs there.")
    one = work.alive == 1
    words = f"{work.alive} of yours {'has' if one else 'have'} not ended there."
    if work.watched_until is not None and work.watched_until > now:
        return Finding(name="jobs", holds=True, words=f"{words} The hub watches {'it' if one else 'them'}.")
    goes = "It goes on by itself" if one else "They go on by themselves"
    hint = f"{goes}. Ask the operator whether the hub's agents run."
    return Finding(name="jobs", holds=False, words=f"{words} Nobody watches {'it' if one else 'them'} now.", hint=hint)
