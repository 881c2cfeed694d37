"""The record: sequences, hash chain, joining, rollback, refusals, parking, routing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.codec import avro
from streams.domain import alerts, chain, commands, events, outputs, routing
from streams.domain.batch import POISON_LIMIT, Batch, Recorded, tenant_stream
from streams.domain.correlation import DAY_MS
from streams.domain.envelope import Envelope, derive_id
from streams.domain.errors import InvalidEvent
from streams.domain.joining import MOST_ALERTS, join
from streams.domain.message import Fact, Message
from streams.domain.signals import ProviderIngested
from tests.domain.intake import SOURCE, T0, TENANT, Intake, signal

ADA = "user:ada"


def storm(intake: Intake) -> str:
    """Two incidents and a few commands; the id of the first incident."""
    intake.send(*(signal(f"fp-{n}", service=f"s{n % 2}") for n in range(50)))
    first = intake.declared()[0]
    intake.send(commands.Acknowledge(first, ADA), commands.AddNote(first, "on it", ADA))
    intake.send(commands.SetPreferences(ADA, auto_resolve=True))
    return first


def check_chain(recorded: list[Recorded]) -> None:
    """Raise ``AssertionError`` at the first event that is missing, changed or out of place."""
    sequences: dict[str, int] = {}
    hashes: dict[str, str] = {}
    for expected, entry in enumerate(recorded, start=1):
        envelope = entry.envelope
        assert envelope.tenantsequence == expected
        assert envelope.sequence == sequences.get(envelope.subject, 0) + 1
        assert envelope.prevhash == hashes.get(envelope.subject, "")
        assert envelope.datadigest == chain.digest(envelope.datasalt, entry.value)
        assert envelope.hash == chain.link(envelope)
        assert envelope.id == derive_id(envelope.subject, str(envelope.sequence))
        sequences[envelope.subject], hashes[envelope.subject] = envelope.sequence, envelope.hash


def test_sequences_have_no_gap_and_the_chain_holds() -> None:
    intake = Intake()
    storm(intake)
    check_chain(intake.recorded)
    assert {r.envelope.subject for r in intake.recorded} >= {tenant_stream(TENANT)}
    assert all(r.envelope.intakespan.startswith("0:") for r in intake.recorded)


@pytest.mark.parametrize("damage", ["edit", "delete", "swap", "attribute"])
def test_damage_to_the_record_is_noticed(damage: str) -> None:
    intake = Intake()
    storm(intake)
    record = list(intake.recorded)
    middle = len(record) // 2
    match damage:
        case "edit":
            record[middle] = replace(record[middle], value=record[middle].value + b"x")
        case "delete":
            del record[middle]
        case "swap":
            record[middle], record[middle + 1] = record[middle + 1], record[middle]
        case _:
            forged = replace(record[middle].envelope, recordedtime=1)
            record[middle] = replace(record[middle], envelope=forged)
    with pytest.raises(AssertionError):
        check_chain(record)


def test_erasing_data_with_its_salt_keeps_the_chain() -> None:
    intake = Intake()
    storm(intake)
    envelope = intake.recorded[3].envelope
    assert chain.link(replace(envelope, datasalt="")) == envelope.hash


def test_the_same_intake_gives_the_same_bytes() -> None:
    one, two = Intake(), Intake()
    storm(one)
    storm(two)
    assert [(r.envelope, r.value) for r in one.recorded] == [(r.envelope, r.value) for r in two.recorded]


def test_adjacent_attachments_are_joined_up_to_the_limit() -> None:
    intake = Intake()
    intake.send(*(signal(f"fp-{n}") for n in range(450)))
    sizes = [len(r.event.alerts) for r in intake.recorded if isinstance(r.event, events.AlertsAttached)]
    assert sizes == [200, 200, 50]
    assert intake.incident(intake.declared()[0]).alert_count == 450


def test_another_event_of_the_incident_interrupts_a_run_and_one_of_another_incident_does_not() -> None:
    cause = Envelope("c", "/s", "t", TENANT)
    alert = events.Alert("/s", "1", "k", "t", T0, T0)

    def attached(incident: str) -> Fact:
        return Fact(incident, events.AlertsAttached((alert,)), cause, T0)

    note = Fact("a", events.NoteAdded("x", ADA), cause, T0)
    joined = join([attached("a"), attached("b"), attached("a"), note, attached("a"), attached("b")])
    assert [(f.incident_id, len(f.event.alerts)) for f in joined if isinstance(f.event, events.AlertsAttached)] == [
        ("a", 2),
        ("b", 2),
        ("a", 1),
    ]


def test_a_run_ends_before_it_is_too_large() -> None:
    cause = Envelope("c", "/s", "t", TENANT)
    large = events.Alert("/s", "1", "k", "x" * 30_000, T0, T0)
    joined = join(Fact("a", events.AlertsAttached((large,)), cause, T0) for _ in range(10))
    assert len(joined) > 1
    assert sum(len(f.event.alerts) for f in joined if isinstance(f.event, events.AlertsAttached)) == 10
    assert all(len(f.event.alerts) <= MOST_ALERTS for f in joined if isinstance(f.event, events.AlertsAttached))


def test_a_message_that_raises_is_rolled_back_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    intake = Intake()
    intake.send(signal("fp-0"))
    batch = Batch(intake.state, "0:1:3")
    batch.add(intake.message(signal("fp-1")))
    decide = alerts.decide

    def failing(*arguments: object) -> None:
        decide(*arguments)  # type: ignore[arg-type]  # as given
        raise ZeroDivisionError

    before = snapshot(intake)
    monkeypatch.setattr(alerts, "decide", failing)
    with pytest.raises(ZeroDivisionError):
        batch.add(intake.message(signal("fp-new", service="other")))
    monkeypatch.undo()
    assert snapshot(intake) == before
    batch.add(intake.message(signal("fp-2")))
    sealed = batch.seal(lambda data: avro.encode(data)[0])
    intake.recorded += sealed.recorded
    check_chain(intake.recorded)
    assert intake.incident(intake.declared()[0]).alert_count == 3
    assert len(intake.declared()) == 1


def snapshot(intake: Intake) -> object:
    """Everything that rolling back must restore."""
    tenant = intake.tenant
    kinds = ("incident", "alert", "window", "outcome", "seen")
    items = [{key: tenant.table(kind).get(key) for key in tenant.table(kind)} for kind in kinds]
    return (
        items,
        tenant.head,
        dict(tenant.known),
        list(tenant.fresh),
        {k: set(v) for k, v in tenant.alerts_of.items() if v},
    )


def refuse(batch: Batch, message: Message) -> None:
    refusal = events.IntakeRefused(
        "/s", message.envelope.id, "t", "bad", "because", "incident-intake", 0, message.offset
    )
    batch.refuse(TENANT, message.envelope, message.recorded, refusal)


def test_a_refusal_is_an_event_of_the_tenant() -> None:
    intake = Intake()
    batch = Batch(intake.state, "0:0:0")
    message = intake.message(ProviderIngested("alertmanager", "am-1", "alert", problem="no labels"))
    with pytest.raises(InvalidEvent, match="no labels"):
        batch.add(message)
    refuse(batch, message)
    sealed = batch.seal(lambda data: avro.encode(data)[0])
    check_chain(sealed.recorded)
    assert [type(r.event) for r in sealed.recorded] == [events.IntakeRefused]


def test_too_much_poison_parks_the_tenant_and_a_command_releases_it() -> None:
    intake = Intake()
    batch = Batch(intake.state, "0:0:99")
    for n in range(POISON_LIMIT):
        assert not batch.is_parked(TENANT), n
        batch.note_poison(TENANT, Envelope(f"p-{n}", "/s", "t", TENANT))
    assert batch.is_parked(TENANT)
    assert not batch.is_parked("calm")
    sealed = batch.seal(lambda data: avro.encode(data)[0])
    assert [r.event.name for r in sealed.recorded if isinstance(r.event, events.Configured)] == ["parked"]
    intake.command(commands.Release(ADA))
    assert not Batch(intake.state, "0:100:100").is_parked(TENANT)


def subscribe(intake: Intake) -> None:
    actions = {"com.incidents.acknowledged.v1": "acknowledge", "com.incidents.note_added.v1": "note"}
    intake.command(commands.SetSubscription("s-1", "pagerduty", "pd-1", actions, ADA))


def test_events_become_intents_for_the_external_objects_of_the_integration() -> None:
    intake = Intake()
    subscribe(intake)
    intake.send(signal("fp-1", integration_id="pd-1", external_id="P1"), signal("fp-2", integration_id="other"))
    id_ = intake.declared()[0]
    intake.send(commands.Acknowledge(id_, ADA), commands.AddNote(id_, "hello", ADA))
    assert [(i.action, i.external_id, i.integration_id) for i in intake.intents] == [
        ("acknowledge", "P1", "pd-1"),
        ("note", "P1", "pd-1"),
    ]
    assert intake.intents[1].payload["text"] == "hello"
    assert len({i.idempotency_key for i in intake.intents}) == 2
    assert intake.intents[0].not_after == intake.intents[0].created + routing.PAGE_WORTH_MS


def test_nothing_goes_back_to_where_it_came_from() -> None:
    intake = Intake()
    subscribe(intake)
    intake.send(signal("P1", integration_id="pd-1", external_id="P1"))
    acked = ProviderIngested("pagerduty", "pd-1", "incident.acknowledged", "acknowledge", "P1", "user:pd")
    intake.send(acked)
    assert intake.incident(intake.declared()[0]).acknowledged_by == "user:pd"
    assert not intake.intents


def test_what_a_provider_says_is_kept_raw_even_where_it_changes_nothing() -> None:
    intake = Intake()
    found = intake.send(ProviderIngested("pagerduty", "pd-1", "incident.acknowledged", "acknowledge", "P9", raw=b"{}"))
    assert [type(event) for event in found] == [ProviderIngested]
    assert isinstance(found[0], ProviderIngested)
    assert (found[0].delivery_id, found[0].raw) == ("m-0", b"{}")


def test_effects_come_back_to_the_timeline() -> None:
    intake = Intake()
    intake.send(signal())
    id_ = intake.declared()[0]
    for status, kind in (("delivered", events.EffectDelivered), ("expired", events.EffectFailed)):
        effect = commands.RecordEffect(id_, f"i-{status}", "pagerduty", "pd-1", "acknowledge", status)  # type: ignore[arg-type]  # one of its values
        assert [type(event) for event in intake.send(effect)] == [kind]


def test_a_joined_event_leaves_the_state_as_its_fold() -> None:
    """It has the time of its first part; the incident must not remember that of its last."""
    intake = Intake()
    intake.send(*(signal(f"fp-{n}") for n in range(5)))
    (id_,) = intake.declared()
    assert intake.incident(id_).updated_at == intake.folded()[id_].updated_at


def test_a_refused_delivery_is_refused_once_unless_it_is_replayed() -> None:
    intake = Intake()
    taken = []
    for replayed in (False, False, True, False):
        batch = Batch(intake.state, f"0:{intake.offset}:{intake.offset}")
        message = intake.message(signal(), "poison")
        refusal = events.IntakeRefused(SOURCE, "poison", "", "not-understood", "", "incident-intake", 0, message.offset)
        taken.append(batch.refuse(TENANT, message.envelope, message.recorded, refusal, replayed=replayed))
        sealed = batch.seal(lambda data: avro.encode(data)[0])
        assert len(sealed.recorded) == int(taken[-1])
        intake.state.journal.clear()
    assert taken == [True, False, True, False]
    intake.decide([intake.message(signal(), "poison")])
    assert intake.dispositions == ["decided"], "what can be decided after a fix is decided"


def test_a_command_is_answered_though_its_batch_spans_more_than_its_outcome_is_kept() -> None:
    intake = Intake()
    first = intake.message(commands.Declare("by hand", ADA), source="/api")
    intake.now += 2 * DAY_MS
    intake.decide([first, intake.message(signal())])
    (result,) = intake.results
    assert isinstance(result, outputs.CommandAccepted)
    assert (result.incident_id, result.number, result.sequence) == (intake.declared()[0], 1, 1)
