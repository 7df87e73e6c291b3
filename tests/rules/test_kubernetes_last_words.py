"""A run whose pod is gone is called lost only once its last words could have come."""

from __future__ import annotations

from typing import Any, cast

from hub.jobs.backends import kubernetes
from hub.jobs.backends.kubernetes import KubernetesBackend
from hub.jobs.backends.kubernetes_rules import WIND_UP_SECONDS, Cluster
from hub.jobs.port import Observation

IMAGE = f"python@sha256:{'a' * 64}"
LOST = Observation("lost", detail="its pod was deleted on the cluster, and with it what it knew", native="uid")


def test_it_is_said_to_run_until_nothing_can_come_any_more_and_what_comes_meanwhile_is_believed() -> None:
    now = [100.0]
    cluster = Cluster(namespace="jobs", claim="workspace", porter_image=IMAGE, grace_seconds=7)
    backend = KubernetesBackend(cast(Any, None), "hub", cluster, lambda: now[0])
    look = lambda seen: backend._not_yet_lost("job", 1, seen, now[0])  # noqa: E731
    first = look(LOST)
    assert (first.sight, first.native) == ("started", "uid") and first.trouble.startswith("Its pod was deleted")
    now[0] += 7 + WIND_UP_SECONDS + kubernetes.LAST_WORDS_SECONDS
    assert look(LOST).sight == "started"
    now[0] += 1
    assert look(LOST) == LOST
    # Once it was seen, it is waited for anew; another run has a time of its own.
    assert look(Observation("started")) == Observation("started")
    assert look(LOST).sight == "started"
    assert backend._not_yet_lost("job", 2, LOST, now[0]).sight == "started"
