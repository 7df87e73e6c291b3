"""A look at a Kubernetes cluster as the hub's account there: each right asked about, a file written and removed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from hub.core.errors import HubError
from hub.core.house import House
from hub.jobs.clusters import diagnosis, kubernetes_diagnosis, kubernetes_reaching, views
from hub.jobs.clusters.diagnosis import Line
from hub.jobs.clusters.kubernetes_diagnosis import Refused, Seen

if TYPE_CHECKING:
    from hub.jobs.backends.kubernetes import KubernetesBackend

_WHY: dict[str, Any] = {
    "authority_changed": "authority",
    "token_refused": "token",
    "cluster_refused": "refused",
}


def looked(house: House, row: Any, of: Any, own: Any) -> list[Line]:
    """What only the cluster itself can say, for its operator."""
    service = views.service_view(of, own)
    return list(kubernetes_diagnosis.of_cluster(row.name, service, _look(house, row, of, own), house.clock.now()))


def _look(house: House, row: Any, of: Any, own: Any) -> Seen:
    try:
        backend = kubernetes_reaching.backend_of(house, of, own)
    except HubError as error:
        return Seen(refused=Refused("unreachable", error.message, error.hint))
    from hub.jobs.backends.kubernetes_api import ClusterAway
    from hub.jobs.backends.kubernetes_api import Refused as Denied

    try:
        before = time.time()
        version, told = backend.api.version_and_time()
        after = time.time()
        missing = kubernetes_reaching.missing_rights(backend.api)
        seen = Seen(
            seconds=after - before,
            version=version,
            clock_off=None if told is None else diagnosis.apart(told, before, after),
            missing=tuple(missing),
        )
        if missing:
            return seen
        return _workspace(backend, msgspec.structs.replace(seen, nodes=backend.nodes()))
    except (ClusterAway, Denied) as error:
        said = kubernetes_reaching.in_words(error, row.name, backend.api.namespace)
        return Seen(refused=Refused(_WHY.get(said.code, "unreachable"), said.message, said.hint))
    finally:
        backend.close()


def _workspace(backend: KubernetesBackend, seen: Seen) -> Seen:
    from hub.jobs.backends.kubernetes_api import ClusterAway

    backend.porter.ready_seconds = kubernetes_reaching.TRY_SECONDS
    try:
        said = backend.porter.try_out()
    except ClusterAway as away:
        return msgspec.structs.replace(seen, workspace=str(away))
    pairs = [(name, rest.strip()) for line in said.splitlines() for name, _, rest in [line.partition(" ")]]
    return msgspec.structs.replace(seen, wrote=True, told=dict(pairs))
