"""What is wrong between a hub and a Kubernetes cluster, line by line, and what to do: from what was just seen. Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from hub.jobs.clusters import diagnosis, kubernetes_rules
from hub.jobs.clusters.diagnosis import Level, Line, sentence
from hub.jobs.clusters.doctor import TOKEN_SOON
from hub.jobs.clusters.views import ServiceView

# Below it the cluster may start a failed task of an array again, which the run's lock then turns away.
OLDEST = (1, 29)
SLOW_SECONDS = 5.0


class Refused(msgspec.Struct, frozen=True):
    """Why nothing more could be found out, and what to do."""

    why: Literal["unreachable", "authority", "token", "refused"]
    said: str
    hint: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a cluster found; what came behind a refusal was not looked at."""

    refused: Refused | None = None
    seconds: float = 0.0  # until it answered
    version: str = ""
    clock_off: float | None = None
    missing: tuple[str, ...] = ()  # rights, in words
    workspace: str | None = None  # why it cannot be written to; None where nobody tried, or it can
    wrote: bool = False
    told: dict[str, str] = {}  # the volume's `space` and `files`
    nodes: tuple[int, int] | None = None  # how many take work, of how many; None where they may not be seen


def of_cluster(name: str, service: ServiceView, seen: Seen, now: dt.datetime) -> Iterator[Line]:
    """In the order in which it can go wrong."""
    refused = seen.refused
    if refused is not None and refused.why == "unreachable":
        hint = refused.hint or "See whether its address is right and whether it lets this hub in; it may be down."
        yield Line(name="API server", level="failed", words=sentence(refused.said), hint=hint)
        return
    yield _answers(name, service, seen)
    if refused is not None and refused.why == "authority":
        yield Line(name="certificate", level="failed", words=sentence(refused.said), hint=refused.hint)
        return
    if service.server:
        yield Line(name="certificate", level="ok", words="The authority that was pinned has signed for it.")
    if refused is not None and refused.why == "token":
        gone = f" Is the account {service.login} there, and the namespace {service.namespace}?"
        yield Line(name="token", level="failed", words=sentence(refused.said), hint=f"{sentence(refused.hint)}{gone}")
        return
    if refused is not None:
        yield Line(name="API server", level="failed", words=sentence(refused.said), hint=refused.hint)
        return
    yield _token(name, service, now)
    yield _version(seen.version)
    if seen.clock_off is not None:
        yield diagnosis.clock_line(seen.clock_off)
    yield _rights(service, seen.missing)
    yield from _workspace(service, seen)
    if seen.nodes is not None:
        yield _nodes(*seen.nodes)


def _answers(name: str, service: ServiceView, seen: Seen) -> Line:
    where = service.server or "The API server of the cluster this hub runs on"
    if seen.refused is not None:
        return Line(name="API server", level="ok", words=f"{where} answers.")
    slow = seen.seconds > SLOW_SECONDS
    hint = f"{name} is busy or far away; jobs are handed to it the slower." if slow else ""
    words = f"{where} answers within {max(seen.seconds, 0.1):.1f} s."
    return Line(name="API server", level="warning" if slow else "ok", words=words, hint=hint)


def _token(name: str, service: ServiceView, now: dt.datetime) -> Line:
    who = f"{name} knows the hub as {service.login}"
    if not service.server:
        return Line(name="token", level="ok", words=f"{name} knows the hub by the account of its own pod.")
    if service.token_until is None:
        return Line(name="token", level="ok", words=f"{who}, by a token that does not say when it lapses.")
    words = f"{who}, by a token that lapses on {service.token_until:%Y-%m-%d}."
    if service.token_until - now < TOKEN_SOON:
        hint = (
            f"Make the next one before: `kubectl create token {service.login} --namespace {service.namespace} "
            f"--duration 8760h`, and `collegium cluster change {name} --account-token FILE`."
        )
        return Line(name="token", level="warning", words=words, hint=hint)
    return Line(name="token", level="ok", words=words)


def _version(said: str) -> Line:
    found = re.match(r"v?(\d+)\.(\d+)", said)
    if found is None:
        words = f"It does not say which Kubernetes it is ({said[:60] or 'nothing'})."
        return Line(name="version", level="warning", words=words, hint="Is the address that of an API server?")
    if (int(found[1]), int(found[2])) < OLDEST:
        words = f"Kubernetes {said}, which is older than {OLDEST[0]}.{OLDEST[1]}."
        hint = "A task of an array that fails may be started again there; it is turned away, and seems to fail twice."
        return Line(name="version", level="warning", words=words, hint=hint)
    return Line(name="version", level="ok", words=f"Kubernetes {said}.")


def _rights(service: ServiceView, missing: tuple[str, ...]) -> Line:
    where = f"in the namespace {service.namespace}"
    if not missing:
        return Line(name="rights", level="ok", words=f"The hub may do there what it has to, {where}.")
    words = f"The hub's account may not {kubernetes_rules.joined(missing)} {where}."
    hint = f"Apply {kubernetes_rules.MANIFEST} there, with the namespace's name in it."
    if len(missing) == len(kubernetes_rules.wanted()):
        hint = f"Is the namespace {service.namespace} there, and its RoleBinding? {hint}"
    return Line(name="rights", level="failed", words=words, hint=hint)


def _workspace(service: ServiceView, seen: Seen) -> Iterator[Line]:
    if seen.workspace is not None:
        hint = f"Is the claim {service.claim} there and bound, can the image that carries files be pulled, and is there"
        hint = f"{hint} room for its pod? An image that is still being pulled needs a moment."
        yield Line(name="workspace", level="failed", words=sentence(seen.workspace), hint=hint)
    if not seen.wrote:
        return
    words = f"A file was written to the claim {service.claim} by a pod of the hub's, and taken away."
    yield Line(name="workspace", level="ok", words=words)
    if (space := diagnosis.space_line(seen.told)) is not None:
        yield space


def _nodes(able: int, of: int) -> Line:
    if able == of:
        return Line(name="nodes", level="ok", words=f"{of} {'takes' if of == 1 else 'take'} work.")
    words = f"{able} of {of} take work; the others are not ready, or are kept from it."
    level: Level = "failed" if not able else "warning"
    return Line(name="nodes", level=level, words=words, hint="`kubectl get nodes` tells which, its staff why.")


def of_hub(service: ServiceView, *, alive: int, watched: bool, now: float) -> Iterator[Line]:
    """What the hub knows of itself: whether jobs may go there, its agent's last word, how often it asks."""
    if service.tested is None:
        yield Line(
            name="tried", level="warning", words="No job goes there before it was tried.",
            hint="An operator tries it: `collegium cluster test NAME`.",
        )  # fmt: skip
    standing = service.standing
    yield diagnosis.agent_line(standing, kind="service", alive=alive, watched=watched, now=now)
    if standing is not None:
        asked = ", ".join(f"{each} {count}" for each, count in sorted(standing.per_minute.items())) or "none"
        yield Line(name="calls per minute", level="ok", words=sentence(asked))


__all__ = ["OLDEST", "Refused", "Seen", "of_cluster", "of_hub"]
