"""What a live process counts, for Prometheus and for whoever looks for a leak."""

import asyncio
import hmac
from collections.abc import Iterator

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hub.live.node import Node

SAID = {
    "skipped_ticks": "Ticks of cursors that a slow member was spared.",
    "conflated": "Changes of presence that were merged for a slow member.",
    "lagging": "Times a member was found lagging.",
    "cut": "Connections cut off because they were too far behind.",
    "writes": "Writes to sockets.",
}


class Measures(Collector):
    """One node's rooms, as they are at the moment of asking."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        places = list(self._node.places.values())
        gauges = {
            "rooms": ("Rooms that somebody is in, or was a minute ago.", len(places)),
            "members": ("Sockets that are in a room.", sum(len(place.room.members) for place in places)),
            "drafts": ("Drafts that somebody follows.", sum(place.drafts.open for place in places)),
            "tasks": ("Tasks of the event loop.", len(asyncio.all_tasks())),
            "lag_seconds": ("How late the event loop is.", self._node.lag_ms / 1000),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"collegium_live_{name}", text, value=value)
        for name, value in msgspec.structs.asdict(self._node.counters).items():
            yield CounterMetricFamily(f"collegium_live_{name}", SAID[name], value=value)


async def metrics(request: Request) -> Response:
    """GET /live/metrics, by who has the live process's own token."""
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {request.app.state.token}".encode()):
        return PlainTextResponse("the token of the live process is needed\n", 401)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Measures(request.app.state.node))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
