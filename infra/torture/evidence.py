"""Everything that a run leaves, read once when all is quiet; the checks read nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import psycopg
from psycopg import sql
from psycopg.rows import class_row

from infra.torture import archived, checkpoint_moves
from infra.torture.children import Ended
from infra.torture.ledger import Id, Ledger
from infra.torture.log import StoredRecord, read_topic
from infra.torture.subscribers import Subscriber
from infra.torture.world import World
from projections import incident_rows
from projections.connections import parameters
from projections.incident_rows import IncidentRow
from streams.archive.verifying import Verified
from streams.codec import cloudevents
from streams.domain.envelope import Envelope
from streams.runtime.settings import KafkaSettings

LOOKUP, READ_S = 500, 120.0
SMALLEST = 5
"""How many violations of one invariant are told in full; the rest is counted."""


class Decoded(NamedTuple):
    """A record with what it says."""

    record: StoredRecord
    envelope: Envelope
    data: Any


class TimelineRow(NamedTuple):
    """A row of the timeline, as far as it is checked."""

    tenant: str
    incident_id: str
    sequence: int
    tenantsequence: int
    event_id: str
    hash: str


@dataclass(slots=True)
class Finding:
    """What a check found: each violation with its evidence, and counts for the report."""

    invariant: str
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, violation: str, **counts: int) -> None:
        """Note a violation."""
        self.violations.append(violation)
        self.counts.update(counts)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The log by topic, the rows, the fake's account, and what senders and subscribers remember.

    ``dispositions`` is what REST answers for every id of the ledger (absent: not found). ``outbox`` holds each intent's
    state by id, ``moves_back`` the checkpoints that went back, ``verified`` what `incidents verify` finds.
    ``replayed`` holds, by the place of each dead letter put back after a fix, the fingerprint of its alert.
    """

    kafka: KafkaSettings
    ledger: Ledger
    intake: Mapping[int, Sequence[StoredRecord]]
    events: Sequence[Decoded]
    intents: Sequence[Decoded]
    results: Sequence[Decoded]
    letters: Sequence[StoredRecord]
    state: Mapping[int, Mapping[bytes, bytes]]
    incidents: Sequence[IncidentRow]
    timeline: Sequence[TimelineRow]
    dispositions: Mapping[Id, str]
    outbox: Mapping[str, str]
    account: Mapping[str, Any]
    subscribers: Sequence[Subscriber]
    ends: Sequence[Ended]
    peak_bytes: Mapping[str, int]
    verified: Verified
    moves_back: Sequence[str] = ()
    replayed: Mapping[str, str] = field(default_factory=dict)


def collect(world: World, ledger: Ledger, subscribers: Sequence[Subscriber], replayed: Mapping[str, str]) -> Evidence:
    """Read everything; the world must be quiet."""
    kafka = world.kafka
    intake: dict[int, list[StoredRecord]] = {}
    for record in read_topic(kafka, "incident-intake"):
        intake.setdefault(record.partition, []).append(record)
    state: dict[int, dict[bytes, bytes]] = {}
    for record in read_topic(kafka, "orchestrator-state"):
        items = state.setdefault(record.partition, {})
        if record.value is None:
            items.pop(record.key or b"", None)
        else:
            items[record.key or b""] = record.value
    incidents, timeline, outbox, moves_back = _rows(world)
    with httpx.Client(base_url=world.fake_url, timeout=READ_S) as client:
        account = client.get("/_effects").json()
    return Evidence(
        kafka=kafka,
        ledger=ledger,
        intake=intake,
        events=_decoded(kafka, "incident-events"),
        intents=_decoded(kafka, "outbox-intents"),
        results=_decoded(kafka, "command-results"),
        letters=list(read_topic(kafka, "incident-intake-dlq")),
        state=state,
        incidents=incidents,
        timeline=timeline,
        dispositions=_looked_up(world, ledger),
        outbox=outbox,
        account=account,
        subscribers=subscribers,
        ends=world.children.ends,
        peak_bytes=world.children.peak_bytes,
        verified=archived.verify(world.archive, kafka, world.database, world.signing),
        moves_back=moves_back,
        replayed=replayed,
    )


def _decoded(kafka: KafkaSettings, topic: str) -> list[Decoded]:
    return [Decoded(record, *cloudevents.decode(record.headers, record.value)) for record in read_topic(kafka, topic)]


def _rows(world: World) -> tuple[list[IncidentRow], list[TimelineRow], dict[str, str], list[str]]:
    columns = sql.SQL(", ").join(map(sql.Identifier, incident_rows.COLUMNS))
    with psycopg.connect(**parameters(world.database, "owner", "torture")) as connection:
        with connection.cursor(row_factory=class_row(IncidentRow)) as cursor:
            cursor.execute(sql.SQL("SELECT {} FROM read.incidents").format(columns))
            incidents = cursor.fetchall()
        found = connection.execute(
            "SELECT tenant_id, incident_id, sequence, tenantsequence, event_id, hash FROM read.timeline_entries"
        )
        timeline = [TimelineRow(*row) for row in found]
        outbox: dict[str, str] = dict(connection.execute("SELECT intent_id, state FROM ops.outbox_events").fetchall())
        moves_back = checkpoint_moves.found(connection)
    return incidents, timeline, outbox, moves_back


def _looked_up(world: World, ledger: Ledger) -> dict[Id, str]:
    """Every id of the ledger, as the REST API answers it to the tenant's viewer."""
    found: dict[Id, str] = {}
    for tenant in world.tenants:
        ids = [id_ for id_ in (*ledger.accepted, *ledger.raw.values()) if id_.tenant == tenant.name]
        headers = {"Authorization": f"Bearer {tenant.viewer_token}"}
        with httpx.Client(base_url=world.base_url, timeout=READ_S, headers=headers) as client:
            for start in range(0, len(ids), LOOKUP):
                part = [{"source": id_.source, "id": id_.id} for id_ in ids[start : start + LOOKUP]]
                answer = client.post("/api/v1/alerts/lookup", json={"items": part})
                answer.raise_for_status()
                for item in answer.json()["items"]:
                    found[Id(tenant.name, item["source"], item["id"])] = item["disposition"]
    return found
