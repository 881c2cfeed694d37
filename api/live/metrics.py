"""Metrics of the API process (names as in ``streams/runtime/metrics.py``)."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from streams.runtime.metrics import LATENCY_S

REQUEST_SECONDS = Histogram(
    "incidents_api_request_seconds",
    "HTTP requests by route and status",
    ["route", "method", "status"],
    buckets=LATENCY_S,
)
SUBSCRIBERS = Gauge("incidents_api_subscribers", "Streams that are open (SSE and GraphQL)")
SLOW_SUBSCRIBERS = Counter("incidents_api_slow_subscribers_total", "Streams cut off because they took nothing")
SEQUENCE_GAPS = Counter("incidents_api_sequence_gaps_total", "Gaps seen in a tenant's sequence; never expected")
HELD_EVENTS = Gauge("incidents_api_held_events", "Events held until the projections have passed them")
RELEASED_EVENTS = Counter("incidents_api_released_events_total", "Events released to subscribers")
COMMANDS = Counter("incidents_api_commands_total", "Commands by outcome", ["outcome"])
