"""What is counted, in Prometheus' text form at /metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlalchemy as sa
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from hub.core.house import House
from hub.jobs import usage
from hub.jobs.clusters import loads
from hub.jobs.port import Load

log = structlog.get_logger()

REQUESTS = Counter("collegium_requests_total", "HTTP requests by method and class of status", ["method", "status"])
SECONDS = Histogram("collegium_request_seconds", "Time to answer an HTTP request")
ACTIONS = Counter("collegium_actions_total", "Actions by tag and outcome", ["action", "outcome"])


class Measures:
    """What the hub is busy with, looked up when it is asked for. Without its database it says only that."""

    def __init__(self, house: House) -> None:
        self._house = house

    def collect(self) -> Iterator[Metric]:
        try:
            with self._house.db.read() as conn:
                now = usage.measured(conn, self._house.settings, self._house.clock.now())
                busy = loads.known(conn)
        except sa.exc.SQLAlchemyError:
            log.warning("metrics.unmeasured", exc_info=True)
            yield GaugeMetricFamily("collegium_measured", "Whether the hub's database could be asked.", value=0)
            return
        yield GaugeMetricFamily("collegium_measured", "Whether the hub's database could be asked.", value=1)
        alive = GaugeMetricFamily("collegium_jobs", "Jobs that have not ended.", labels=["backend", "state"])
        oldest = GaugeMetricFamily(
            "collegium_queue_oldest_seconds", "How long the first in the queue has waited.", labels=["backend"]
        )
        watched = GaugeMetricFamily(
            "collegium_backend_watched", "Whether an agent watches over a backend.", labels=["backend"]
        )
        for queue in now.queues:
            alive.add_metric([queue.backend, "waiting"], queue.waiting)
            alive.add_metric([queue.backend, "running"], queue.running)
            oldest.add_metric([queue.backend], queue.oldest_seconds or 0)
            watched.add_metric([queue.backend], queue.watched)
        yield from (alive, oldest, watched)
        yield from _clusters(busy)
        here = now.machine
        gauges = {
            "job_places": ("Local jobs that may run at once.", now.places),
            "steps_due": ("Steps of work that nobody has taken yet.", now.steps_due),
            "steps_held": ("Steps of work that a worker is at.", now.steps_held),
            "workers": ("Workers that the launcher is set to start.", now.workers),
            "machine_cores": ("Cores of this machine.", here.cores),
            "machine_load": ("Processes that want to run, over the last minute.", here.load),
            "machine_memory_bytes": ("Memory of this machine.", here.memory_bytes),
            "machine_memory_free_bytes": ("Memory that programs can still get.", here.memory_free_bytes),
            "disk_bytes": ("Size of the disk that the hub's data is on.", here.disk_bytes),
            "disk_free_bytes": ("What is free of it.", here.disk_free_bytes),
        }
        for name, (text, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(f"collegium_{name}", text, value=value)


_ROOMS = {
    "nodes": ("nodes", "Nodes that take work."),
    "nodes_idle": ("idle_nodes", "Nodes on which nothing runs."),
    "cpus": ("cpus", "Cores of the nodes."),
    "cpus_taken": ("cpus_taken", "Cores that jobs hold."),
    "memory_bytes": ("memory_bytes", "Memory of the nodes."),
    "memory_taken_bytes": ("memory_taken_bytes", "Memory that jobs hold."),
}


def _clusters(busy: Mapping[str, Load]) -> Iterator[Metric]:
    """How busy the clusters were when their agents looked last; what an agent may not see has no sample."""
    waiting = GaugeMetricFamily("collegium_cluster_waiting", "Jobs of anybody's that wait there.", labels=["cluster"])
    told = GaugeMetricFamily("collegium_cluster_told_seconds", "When that was told (Unix).", labels=["cluster"])
    for cluster, load in busy.items():
        told.add_metric([cluster], load.told_at)
        if load.waiting is not None:
            waiting.add_metric([cluster], load.waiting)
    yield from (waiting, told)
    for name, (field, text) in _ROOMS.items():
        family = GaugeMetricFamily(f"collegium_cluster_{name}", text, labels=["cluster", "part"])
        for cluster, load in busy.items():
            for room in load.rooms:
                if (value := getattr(room, field)) is not None:
                    family.add_metric([cluster, room.name], value)
        yield family


def written(house: House) -> bytes:
    """All of it, as Prometheus reads it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Measures(house))
    return generate_latest() + generate_latest(registry)
