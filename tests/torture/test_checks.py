"""Every invariant of the harness is tripped by evidence that breaks it, and by none that does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from infra.torture.checks import (
    archive,
    dead_letters,
    decisions,
    digests,
    dispositions,
    effects,
    groups,
    processes,
    sequences,
    subscribers,
)
from infra.torture.children import Ended
from infra.torture.evidence import Decoded, Evidence, Finding
from infra.torture.ledger import Alert, Id, Ledger
from infra.torture.log import StoredRecord
from infra.torture.subscribers import Subscriber
from streams.agents.orchestrator import Orchestrator
from streams.archive.verifying import Verified
from streams.codec import cloudevents
from streams.domain.catalogue import TYPE_OF
from streams.domain.checking import Damage
from streams.domain.envelope import Envelope, derive_id
from streams.domain.errors import Reason
from streams.domain.events import Archived
from streams.domain.outputs import CommandRejected, Intent
from streams.domain.signals import Signal
from streams.runtime.settings import KafkaSettings

TENANT, SOURCE = "acme", "/torture/test"
T0 = 1_790_000_000_000
KAFKA = KafkaSettings()
DAMAGE = Damage("deleted", TENANT, 3, "", "", "incident-events[0]@4", "the record goes on with 4")


def intake() -> list[StoredRecord]:
    """Two troubles of three alerts each, in two batches."""
    records = []
    for number in range(6):
        envelope = Envelope(f"s{number}", SOURCE, TYPE_OF[Signal], TENANT)
        service = f"service-{number % 2}"
        signal = Signal("Slow", fingerprint=f"f{number}", service=service, error_type="latency", event_time=T0)
        value, headers = cloudevents.encode(envelope, signal)
        records.append(StoredRecord("incident-intake", 0, number, T0 + number, TENANT.encode(), value, tuple(headers)))
    return records


def events_of(records: list[StoredRecord]) -> list[Decoded]:
    """What the orchestrator records of it."""
    orchestrator = Orchestrator(KAFKA, 0)
    found: list[Decoded] = []
    for part in (records[:3], records[3:]):
        turn = orchestrator.turn(part[0].offset, part[-1].offset)
        for record in part:
            turn.take(record)
        for write in turn.finish().outputs:
            if write.topic == "incident-events":
                stored = StoredRecord(write.topic, 0, len(found), T0, write.key, write.value, tuple(write.headers))
                found.append(Decoded(stored, *cloudevents.decode(stored.headers, stored.value)))
        orchestrator.committed()
    return found


@pytest.fixture
def evidence() -> Evidence:
    """A run in which everything is as it must be."""
    records = intake()
    events = events_of(records)
    ledger = Ledger()
    for number in range(6):
        alert = Alert(f"service-{number % 2}", f"f{number}", firing=True)
        ledger.accept(Id(TENANT, SOURCE, f"s{number}"), "signal", alert)
    subscriber = Subscriber(TENANT, "", "sse", "")
    subscriber.seen = [subscribers.as_shown(one.record, one.envelope) for one in events]
    intent = Intent("i1", "inc", "pagerduty", "int", "note", "P1", "key-1", "e1", T0)
    planned = Decoded(records[0], Envelope("i1", "", "", TENANT), intent)
    note = {"id": "N1", "content": "on it\n\n[incidents:key-1]"}
    return Evidence(
        kafka=KAFKA,
        ledger=ledger,
        intake={0: records},
        events=events,
        intents=[planned],
        results=[],
        letters=[],
        state={},
        incidents=[],
        timeline=[],
        dispositions=dict.fromkeys(ledger.accepted, "attached"),
        outbox={"i1": "delivered"},
        account={"effects": {"note": 1}, "incidents": {"P1": {"status": "triggered", "notes": [note]}}},
        subscribers=[subscriber],
        ends=[],
        peak_bytes={"worker-0": 10**8},
        verified=Verified(),
    )


Check = Callable[[Evidence], Finding]
CHECKS: tuple[Check, ...] = (
    dispositions.in_the_log,
    dispositions.at_the_api,
    sequences.of_the_record,
    sequences.of_the_numbers,
    digests.of_checkpoints,
    decisions.again,
    effects.at_the_provider,
    groups.as_without_faults,
    subscribers.saw_everything_once,
    dead_letters.only_poison,
    dead_letters.were_replayed,
    archive.is_whole,
    processes.memory_is_bounded,
    processes.ended_for_a_reason,
    processes.senders_were_treated_well,
)


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_whole_trips_nothing(check: Check, evidence: Evidence) -> None:
    assert not check(evidence).violations


def without(evidence: Evidence, place: int) -> Evidence:
    return replace(evidence, events=[*evidence.events[:place], *evidence.events[place + 1 :]])


def twice(evidence: Evidence, place: int) -> Evidence:
    return replace(evidence, events=[*evidence.events, evidence.events[place]])


def other_value(evidence: Evidence) -> Evidence:
    record, envelope, data = evidence.events[0]
    changed = Decoded(replace(record, value=(record.value or b"") + b"x"), envelope, data)
    return replace(evidence, events=[changed, *evidence.events[1:]])


def account(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, account={**evidence.account, **changes})


def one_trouble_only(evidence: Evidence) -> Evidence:
    for identity in evidence.ledger.alerts:
        evidence.ledger.alerts[identity] = replace(evidence.ledger.alerts[identity], trouble="one")
    return evidence


def skipped(evidence: Evidence) -> Evidence:
    del evidence.subscribers[0].seen[1]
    return evidence


def otherwise(evidence: Evidence) -> Evidence:
    seen = evidence.subscribers[0].seen
    seen[0] = seen[0]._replace(digest="other")
    return evidence


def letter(evidence: Evidence) -> Evidence:
    added = [("dlq_reason", b"x"), ("dlq_topic", b"t"), ("dlq_partition", b"0"), ("dlq_offset", b"0")]
    first = evidence.intake[0][0]
    return replace(evidence, letters=[replace(first, headers=(*first.headers, *added))])


def replayed(evidence: Evidence, fingerprint: str, state: bytes) -> Evidence:
    """The letter at 0:0 was replayed; its alert has this fingerprint."""
    mark = replace(evidence.intake[0][0], value=None, headers=(("dlq_ref", b"0:0"), ("dlq_state", state)))
    return replace(evidence, letters=[mark], replayed={"0:0": fingerprint})


def test_what_was_replayed_and_attached_trips_nothing(evidence: Evidence) -> None:
    finding = dead_letters.were_replayed(replayed(evidence, "f0", b"replayed"))
    assert not finding.violations
    assert finding.counts["replayed"] == 1


def came_late(evidence: Evidence, *, archived: bool) -> Evidence:
    """The result of the intent was refused, as that of an archived incident or for no reason."""
    rejected = CommandRejected(derive_id("i1", "effect"), Reason.UNKNOWN_INCIDENT)
    result = Decoded(evidence.intake[0][0], Envelope("r1", "", "", TENANT), rejected)
    gone = Decoded(evidence.intake[0][0], Envelope("a1", "", "", TENANT, "inc"), Archived("scheduler"))
    return replace(evidence, results=[result], events=[gone] if archived else [])


def test_a_result_that_comes_after_archiving_is_counted(evidence: Evidence) -> None:
    finding = effects.in_the_record(came_late(evidence, archived=True))
    assert not finding.violations
    assert finding.counts["late_results"] == 1


def refused(evidence: Evidence) -> Evidence:
    evidence.ledger.refused.append("POST /: 500")
    return evidence


BROKEN: tuple[tuple[Check, Callable[[Evidence], Evidence], str], ...] = (
    (dispositions.in_the_log, lambda e: without(e, 1), "is not in the record"),
    (dispositions.in_the_log, lambda e: twice(e, 1), "dispositions"),
    (dispositions.at_the_api, lambda e: replace(e, dispositions={}), "does not find it"),
    (sequences.of_the_record, lambda e: without(e, 1), "tenantsequence"),
    (sequences.of_the_record, lambda e: twice(e, 1), "sequence"),
    (sequences.of_the_record, other_value, "other data"),
    (sequences.of_the_numbers, lambda e: without(e, 0), "numbers missing"),
    (digests.of_checkpoints, lambda e: replace(e, moves_back=["alerts went back"]), "went back"),
    (decisions.again, other_value, "decided otherwise"),
    (decisions.again, lambda e: twice(e, 1), "are recorded"),
    (effects.at_the_provider, lambda e: account(e, incidents={}), "not at the provider"),
    (effects.at_the_provider, lambda e: account(e, effects={"acknowledged": 1}), "happened 1 times"),
    (effects.at_the_provider, lambda e: replace(e, intents=[]), "nobody planned"),
    (effects.in_the_record, lambda e: e, "0 results"),
    (effects.in_the_record, lambda e: came_late(e, archived=False), "0 results"),
    (groups.as_without_faults, one_trouble_only, "became 2 incidents"),
    (subscribers.saw_everything_once, skipped, "where"),
    (subscribers.saw_everything_once, otherwise, "other"),
    (dead_letters.only_poison, letter, "is no poison"),
    (dead_letters.were_replayed, lambda e: replayed(e, "f0", b"dropped"), "is dropped"),
    (dead_letters.were_replayed, lambda e: replayed(e, "unknown", b"replayed"), "attached 0 times"),
    (dead_letters.were_replayed, lambda e: twice(replayed(e, "f1", b"replayed"), 3), "attached 2 times"),
    (archive.is_whole, lambda e: replace(e, verified=Verified(problems=["a file is missing"])), "a file is missing"),
    (archive.is_whole, lambda e: replace(e, verified=Verified(damage=[DAMAGE])), "deleted: acme tenantsequence 3"),
    (processes.memory_is_bounded, lambda e: replace(e, peak_bytes={"api-0": 10**12}), "took"),
    (processes.ended_for_a_reason, lambda e: replace(e, ends=[Ended("api-0", -11, 1.0, False, 0.0)]), "ended with -11"),
    (processes.senders_were_treated_well, refused, "500"),
)


@pytest.mark.parametrize(("check", "breaks", "says"), BROKEN)
def test_what_is_broken_is_noticed(
    check: Check, breaks: Callable[[Evidence], Evidence], says: str, evidence: Evidence
) -> None:
    violations = check(breaks(evidence)).violations
    assert violations
    assert says in violations[0]
