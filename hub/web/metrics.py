"""What is counted, in Prometheus' text form at /metrics."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUESTS = Counter("collegium_requests_total", "HTTP requests by method and class of status", ["method", "status"])
SECONDS = Histogram("collegium_request_seconds", "Time to answer an HTTP request")
ACTIONS = Counter("collegium_actions_total", "Actions by tag and outcome", ["action", "outcome"])
