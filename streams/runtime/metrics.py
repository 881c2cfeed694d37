"""Every metric of the product, in one place: ``docs/metrics.md`` is generated from this list and compared with it.

Names are ``incidents_<area>_<what>_<unit>`` (Prometheus naming, https://prometheus.io/docs/practices/naming/).
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

ORCHESTRATOR_MESSAGES = Counter(
    "incidents_orchestrator_messages_total", "Intake messages by what became of them", ["outcome"]
)
ORCHESTRATOR_EVENTS = Counter("incidents_orchestrator_events_total", "Events written to the record", ["type"])
ORCHESTRATOR_TRANSACTION_SECONDS = Histogram(
    "incidents_orchestrator_transaction_seconds",
    "From the first record of a batch to its commit",
    buckets=LATENCY_S,
)
ORCHESTRATOR_BATCH_RECORDS = Histogram(
    "incidents_orchestrator_batch_records", "Records in a batch", buckets=(1, 10, 100, 500, 1000, 2000)
)
ORCHESTRATOR_BATCH_FAILURES = Counter(
    "incidents_orchestrator_batch_failures_total", "Batches rolled back and tried again", ["partition"]
)
ORCHESTRATOR_POSITION = Gauge("incidents_orchestrator_position_offset", "Next intake offset to decide", ["partition"])
ORCHESTRATOR_INTAKE_LAG_SECONDS = Gauge(
    "incidents_orchestrator_intake_lag_seconds",
    "Age of the newest decided intake record when decided",
    ["partition"],
)
ORCHESTRATOR_PARKED_TENANTS = Gauge("incidents_orchestrator_parked_tenants", "Tenants parked for poison", ["partition"])
ORCHESTRATOR_RESTORE_SECONDS = Gauge(
    "incidents_orchestrator_restore_seconds", "Time that the last restore of a partition took", ["partition"]
)
DEAD_LETTERS = Counter("incidents_dead_letters_total", "Messages written to a dead-letter topic", ["topic", "reason"])

INGEST_REQUESTS = Counter(
    "incidents_ingest_requests_total", "Webhooks and event requests by their answer", ["connector", "status"]
)
INGEST_MESSAGES = Counter("incidents_ingest_messages_total", "Messages put on the intake", ["connector"])
INGEST_SECONDS = Histogram(
    "incidents_ingest_seconds",
    "From the request to its answer, the acknowledgement of Kafka included",
    buckets=LATENCY_S,
)
DISPATCHER_ATTEMPTS = Counter(
    "incidents_dispatcher_attempts_total", "Intents attempted, by result", ["connector", "action", "result"]
)
DISPATCHER_SECONDS = Histogram(
    "incidents_dispatcher_seconds", "One attempt, the look-up included", ["connector"], buckets=LATENCY_S
)
DISPATCHER_IN_FLIGHT = Gauge("incidents_dispatcher_in_flight", "Intents that are being carried out")
DISPATCHER_OPEN_CIRCUITS = Gauge("incidents_dispatcher_open_circuits", "Integrations held back because they fail")
PROJECTOR_LAG_SECONDS = Gauge(
    "incidents_projector_lag_seconds", "Age of the newest written record when written", ["topic", "partition"]
)
PROJECTOR_BATCH_RECORDS = Histogram(
    "incidents_projector_batch_records", "Records in a batch", buckets=(1, 10, 100, 500, 1000, 2000)
)
PROJECTOR_TRANSACTION_SECONDS = Histogram(
    "incidents_projector_transaction_seconds", "Time to write and commit a batch", buckets=LATENCY_S
)
PROJECTOR_ROWS = Counter("incidents_projector_rows_total", "Rows written", ["projection"])
PROJECTOR_PAUSED_PARTITIONS = Gauge(
    "incidents_projector_paused_partitions", "Partitions paused at a schema newer than this process"
)
POLLER_ROUNDS = Counter("incidents_poller_rounds_total", "Lists of changed tickets read", ["connector", "result"])
POLLER_MESSAGES = Counter(
    "incidents_poller_messages_total", "Tickets and notes put on the intake by polling", ["connector"]
)
POLLER_SECONDS = Histogram(
    "incidents_poller_seconds", "Time to read one list to its end", ["connector"], buckets=LATENCY_S
)
POLLER_OLDEST_SECONDS = Gauge(
    "incidents_poller_oldest_seconds", "Time since the list that was read longest ago was read"
)
SCHEDULER_FIRED = Counter("incidents_scheduler_fired_total", "Due timers turned into commands", ["timer"])
ARCHIVER_RECORDS = Counter("incidents_archiver_records_total", "Records put into archive files", ["topic"])
ARCHIVER_LAG_SECONDS = Gauge(
    "incidents_archiver_lag_seconds", "Age of the oldest record of the last file when it was archived", ["topic"]
)
ARCHIVER_COMPLETE_SECONDS = Gauge(
    "incidents_archiver_complete_seconds", "Unix time at which the last complete round ended"
)
API_REQUEST_SECONDS = Histogram(
    "incidents_api_request_seconds",
    "HTTP requests by route and status",
    ["route", "method", "status"],
    buckets=LATENCY_S,
)
API_SUBSCRIBERS = Gauge("incidents_api_subscribers", "Streams that are open (SSE and GraphQL)")
API_SLOW_SUBSCRIBERS = Counter("incidents_api_slow_subscribers_total", "Streams cut off because they took nothing")
API_SEQUENCE_GAPS = Counter("incidents_api_sequence_gaps_total", "Gaps seen in a tenant's sequence; never expected")
API_HELD_EVENTS = Gauge("incidents_api_held_events", "Events held until the projections have passed them")
API_RELEASED_EVENTS = Counter("incidents_api_released_events_total", "Events released to subscribers")
API_COMMANDS = Counter("incidents_api_commands_total", "Commands by outcome", ["outcome"])
ORCHESTRATOR_OLDEST_UNDECIDED_SECONDS = Gauge(
    "incidents_orchestrator_oldest_undecided_seconds", "Age of the oldest intake record that is not decided"
)
PROJECTOR_STILL_SECONDS = Gauge(
    "incidents_projector_still_seconds", "Time for which a partition has stood still although records wait"
)
API_PROJECTION_LAG_SECONDS = Gauge(
    "incidents_api_projection_lag_seconds", "Age of the oldest event that the read models do not show"
)
DISPATCHER_OLDEST_UNSENT_SECONDS = Gauge(
    "incidents_dispatcher_oldest_unsent_seconds", "Age of the oldest intent that is not finished"
)
PROCESS_RESTARTS = Gauge("incidents_process_restarts", "How often the supervisor has started this process again")
