"""What a cluster has of ours, kept beside us: Jobs and pods by list and watch, listed again when the thread is lost.

A mirror is only ever a little late. It knows how late: once nothing has been heard for too long, not even that nothing
happens, it says so instead of showing what may be gone.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from hub.jobs.backends.kubernetes_api import Api, ClusterAway, Json, Refused

log = structlog.get_logger()

WATCH_SECONDS = 240
# What a thing said when it went is kept for so long, for whoever looks a little later.
REMEMBERED_SECONDS, REMEMBERED = 600.0, 1000
LIST_AGAIN_SECONDS = 900.0
STALE_SECONDS = 120.0
FIRST_WAIT, LONGEST_WAIT = 0.2, 15.0
GONE = 410


class Kind:
    """All things of one kind under one label."""

    def __init__(self, api: Api, kind: str, selector: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._api, self._kind, self._selector, self._clock = api, kind, selector, clock
        self._lock = threading.Lock()
        self._seen: dict[str, Json] = {}
        self._gone: dict[str, tuple[float, Json]] = {}
        self._heard_at = float("-inf")
        self._listed_at = float("-inf")
        self._version = ""
        self.lists = 0
        self.said = ""  # why nothing is heard, while nothing is
        self.first = threading.Event()

    def all(self) -> Mapping[str, Json]:
        """By name. Raises ClusterAway while nothing certain is known."""
        with self._lock:
            if self._clock() - self._heard_at > STALE_SECONDS:
                raise ClusterAway(f"nothing has been heard of the cluster for a while{_because(self)}")
            return dict(self._seen)

    def gone(self) -> list[Json]:
        """What went lately, as it was at its end; what went while nobody watched is not among it."""
        with self._lock:
            return [thing for at, thing in self._gone.values() if self._clock() - at < REMEMBERED_SECONDS]

    def follow(self, stop: threading.Event) -> None:
        """List and watch until told to stop."""
        wait = FIRST_WAIT
        while not stop.is_set():
            try:
                if not self._version or self._clock() - self._listed_at > LIST_AGAIN_SECONDS:
                    self.list()
                self._watch(stop)
                wait = FIRST_WAIT
            except Refused as refused:
                # What is no longer kept cannot be told; what there is now can.
                self._version = ""
                if refused.status != GONE:
                    self.said = str(refused)
                    log.warning("kubernetes.watch_refused", kind=self._kind, status=refused.status, said=str(refused))
                    stop.wait(wait := min(wait * 2, LONGEST_WAIT))
            except ClusterAway as away:
                self.said = str(away)
                log.info("kubernetes.away", kind=self._kind, said=str(away)[:300])
                # Many agents must not come back in the same instant.
                stop.wait(wait * (0.5 + random.random()))  # noqa: S311  (no secret)
                wait = min(wait * 2, LONGEST_WAIT)
            except Exception:
                log.warning("kubernetes.mirror_failed", kind=self._kind, exc_info=True)
                self._version = ""
                stop.wait(wait := min(wait * 2, LONGEST_WAIT))

    def list(self) -> None:
        """Look at everything. Raises ClusterAway or Refused."""
        began = self._clock()
        found, version = self._api.items(self._kind, labelSelector=self._selector)
        with self._lock:
            self._seen = {each["metadata"]["name"]: each for each in found}
            self._version, self._heard_at, self._listed_at = version, began, began
            self.lists += 1
            self.said = ""
        self.first.set()

    def _watch(self, stop: threading.Event) -> None:
        seconds = WATCH_SECONDS
        for event in self._api.watch(self._kind, self._version, seconds, labelSelector=self._selector):
            self._apply(event)
            if stop.is_set():
                return

    def _apply(self, event: Json) -> None:
        thing = event["object"]
        head = thing["metadata"]
        with self._lock:
            self._heard_at = self._clock()
            self._version = head["resourceVersion"]
            if event["type"] == "DELETED":
                self._seen.pop(head["name"], None)
                self._gone[head["uid"]] = (self._heard_at, thing)
                while len(self._gone) > REMEMBERED:
                    del self._gone[next(iter(self._gone))]
            elif event["type"] in ("ADDED", "MODIFIED"):
                self._seen[head["name"]] = thing


class Mirror:
    """The Jobs and the pods of one hub in one namespace, followed by two threads."""

    def __init__(self, api: Api, selector: str) -> None:
        self.jobs, self.pods = Kind(api, "jobs", selector), Kind(api, "pods", selector)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=kind.follow, args=(self._stop,), name=f"kubernetes-{name}", daemon=True)
            for name, kind in (("jobs", self.jobs), ("pods", self.pods))
        ]

    def start(self, seconds: float = 30.0) -> None:
        """Begin, and wait for the first look. Raises ClusterAway."""
        for thread in self._threads:
            if not thread.is_alive():
                thread.start()
        deadline = time.monotonic() + seconds
        for kind in (self.jobs, self.pods):
            if not kind.first.wait(max(0.0, deadline - time.monotonic())):
                raise ClusterAway(f"the cluster has not told yet what it has{_because(kind)}")

    def job(self, name: str) -> Json | None:
        return self.jobs.all().get(name)

    def pods_of(self, job_uid: str) -> list[Json]:
        """The pods of one Job, the oldest first, and those that went after they ended."""
        return owned({**{pod["metadata"]["name"]: pod for pod in self.ended()}, **self.pods.all()}, job_uid)

    def ended(self) -> list[Json]:
        """The pods that went lately, after their program had ended."""
        return [pod for pod in self.pods.gone() if _has_ended(pod)]

    def close(self) -> None:
        """Be done; a watch that is open ends when its connection does."""
        self._stop.set()


def _because(kind: Kind) -> str:
    return f": {kind.said[:300]}" if kind.said else ""


def marked(pods: Iterable[Json], labels: Mapping[str, str]) -> list[Json]:
    """Those that bear these labels."""
    return [pod for pod in pods if labels.items() <= (pod["metadata"].get("labels") or {}).items()]


def _has_ended(pod: Json) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return any("terminated" in (each.get("state") or {}) for each in statuses)


def owned(pods: Mapping[str, Any], job_uid: str) -> list[Json]:
    """Those that belong to the Job of that uid, the oldest first."""
    mine = [
        pod
        for pod in pods.values()
        if any(each.get("uid") == job_uid for each in pod["metadata"].get("ownerReferences") or [])
    ]
    return sorted(mine, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))
