"""Decides a batch of one input partition: message by message, then joined, numbered and chained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from streams.domain import alerts, chain, events, outputs, routing
from streams.domain.catalogue import TYPE_OF
from streams.domain.envelope import Envelope, derive_id, record_source, rfc3339
from streams.domain.incident import Incident, changed
from streams.domain.joining import join
from streams.domain.message import Fact, Message
from streams.domain.rules import Holds, no_conditions
from streams.domain.state import Outcome, TenantState
from streams.domain.tables import Journal
from streams.domain.tenant import Disposition, decide

DECIDER = "2"
"""The version of the decisions: raised whenever the same intake would be decided otherwise (R2)."""

ORCHESTRATOR = "system:orchestrator"

POISON_LIMIT = 50
"""How many undecidable messages within ``POISON_WINDOW_MS`` of recorded time park a tenant (R9)."""

POISON_WINDOW_MS = 600_000

_SETS_STATUS = (events.StateChange, events.Resolved, events.Closed, events.Merged)
Encode = Callable[[object], bytes]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its place in the record; ``value`` is its data as stored, which its hash vouches for."""

    envelope: Envelope
    event: events.Event
    value: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """Everything that a batch writes, beside the changed items of the state."""

    recorded: list[Recorded]
    intents: list[tuple[str, outputs.Intent]]
    results: list[tuple[str, outputs.CommandResult]]


@dataclass(frozen=True, slots=True)
class _Answer:
    """A command to answer with the outcome that is kept under ``key``.

    ``outcome`` is what it was when it was decided: a batch may span so much recorded time that its end forgets it.
    """

    tenant: str
    command_id: str
    key: str
    outcome: Outcome


@dataclass(slots=True)
class PartitionState:
    """The tenants of one input partition, under one journal."""

    journal: Journal = field(default_factory=Journal)
    holds: Holds = no_conditions
    tenants: dict[str, TenantState] = field(default_factory=dict)

    def tenant(self, name: str) -> TenantState:
        """A tenant's state; a new one begins empty."""
        state = self.tenants.get(name)
        if state is None:
            state = self.tenants[name] = TenantState(name, self.journal, self.holds)
        return state


class Batch:
    """One batch in the making: ``add`` or ``refuse`` every message in offset order, then ``seal`` once.

    ``span`` names the intake offsets of the batch, ``<partition>:<first>:<last>``: with the decider's version, all that
    is needed to decide it again. ``erased`` has the recorded digests of events whose data was erased, by event id: what
    is left of their causes says nothing of what was digested once. Without ``chained`` events have their place and no
    hash: for those that nobody stores.
    """

    def __init__(
        self, state: PartitionState, span: str, erased: Mapping[str, str] | None = None, *, chained: bool = True
    ) -> None:
        self._state = state
        self._chained = chained
        self._erased = erased or {}
        self._span = span
        self._facts: dict[str, list[Fact]] = {}
        self._answers: list[_Answer] = []

    def add(self, message: Message) -> Disposition:
        """Decide a message; when that raises, whatever it raises, the state is as if it had never come."""
        state = self._state.tenant(message.envelope.tenantid)
        journal = self._state.journal
        mark = len(journal.undo)
        decision = None
        try:
            decision = decide(state, message)
        finally:
            if decision is None:
                journal.rollback(mark)
        self._facts.setdefault(state.tenant, []).extend(decision.facts)
        outcome = state.outcomes.get(decision.outcome) if decision.outcome else None
        if outcome is not None:
            self._answers.append(_Answer(state.tenant, message.envelope.id, decision.outcome, outcome))
        return decision.disposition

    def passes_over(self, envelope: Envelope, recorded: int) -> bool:
        """Whether a delivery was decided before, so that its data need not be read; the clock moves all the same."""
        state = self._state.tenants.get(envelope.tenantid)
        identity = alerts.identity(envelope)
        if state is None or identity not in state.known:
            return False
        state.advance(recorded)
        return identity in state.known  # the clock may have moved past the time for which it is remembered

    def refuse(
        self,
        tenant: str,
        cause: Envelope,
        recorded: int,
        refusal: events.IntakeRefused,
        content: bytes = b"",
        *,
        replayed: bool = False,
    ) -> bool:
        """Record that a message with this ``content`` was not taken; the caller writes it to the dead-letter topic.

        False for the same delivery once more, of which both are there already (R4); not so for a dead letter that was
        ``replayed``: refused again, it has to wait again.
        """
        state = self._state.tenant(tenant)
        now = state.advance(recorded)
        if not state.head.salt:
            state.set_head(salt=chain.tenant_salt(tenant, cause.id, recorded))
        facts = self._facts.setdefault(tenant, [])
        identity = alerts.refused_identity(cause, refusal.reason, content)
        is_known = identity in state.known
        if is_known and not replayed:
            return False
        if not is_known:
            state.remember(identity)
        facts.append(Fact("", refusal, cause, now))
        return True

    def note_poison(self, tenant: str, cause: Envelope) -> None:
        """Count an undecidable message of a tenant, and park it when there are too many."""
        state = self._state.tenant(tenant)
        head = state.head
        fresh = state.clock - head.poison_since > POISON_WINDOW_MS
        poison = 1 if fresh else head.poison + 1
        since = state.clock if fresh else head.poison_since
        parked = head.parked or poison >= POISON_LIMIT
        state.set_head(poison=poison, poison_since=since, parked=parked)
        if parked and not head.parked:
            event = events.Configured("tenant", "parked", ORCHESTRATOR, {"undecidable": str(poison)})
            self._facts.setdefault(tenant, []).append(Fact("", event, cause, state.clock))

    def is_parked(self, tenant: str) -> bool:
        """Whether a tenant's messages go to the dead-letter topic until it is released."""
        state = self._state.tenants.get(tenant)
        return state is not None and state.head.parked

    def seal(self, encode: Encode) -> Sealed:
        """Join, number and chain the events, plan their effects and answer the commands."""
        sealed = Sealed([], [], [])
        for tenant, facts in self._facts.items():
            state = self._state.tenants[tenant]
            state.set_head(clock=state.clock)
            last_of = self._seal_tenant(state, join(facts), encode, sealed)
            state.keep_seen(self._span)
            for place, answer in enumerate(self._answers):
                if answer.tenant == tenant:
                    self._answers[place] = _complete(state, answer, last_of.get(answer.command_id))
        sealed.results.extend((answer.tenant, _result(answer.command_id, answer.outcome)) for answer in self._answers)
        return sealed

    def _seal_tenant(
        self, state: TenantState, facts: Iterable[Fact], encode: Encode, sealed: Sealed
    ) -> dict[str, Envelope]:
        """Add a tenant's events and their intents; the last event of each cause."""
        last_of: dict[str, Envelope] = {}
        place = state.head.tenantsequence
        for fact in facts:
            place += 1
            value = encode(fact.event)
            incident = state.incidents.get(fact.incident_id) if fact.incident_id else None
            envelope = self._place(state, place, fact, incident, value)
            sealed.recorded.append(Recorded(envelope, fact.event, value))
            last_of[fact.cause.id] = envelope
            if incident is None:
                state.set_head(stream_sequence=envelope.sequence, stream_hash=envelope.hash)
                continue
            if isinstance(fact.event, events.Archived):
                state.incidents.drop(incident.id)
            else:
                state.incidents.put(incident.id, placed(incident, envelope, fact.event))
            subscriptions = () if fact.quiet else state.subscriptions.values()
            for intent in routing.intents(envelope, fact.event, incident, subscriptions):
                sealed.intents.append((state.tenant, intent))
        state.set_head(tenantsequence=place)
        return last_of

    def _place(self, state: TenantState, place: int, fact: Fact, incident: Incident | None, value: bytes) -> Envelope:
        """The envelope of the tenant's event of this ``place``: its sequences, its causes, its link of the chain."""
        tenant, head = state.tenant, state.head
        subject = fact.incident_id or tenant_stream(tenant)
        sequence = (incident.sequence if incident else head.stream_sequence) + 1
        event_id = derive_id(subject, str(sequence))
        salt = digest = ""
        if self._chained:
            digest = self._erased.get(event_id, "")
            salt = "" if digest else chain.salt(head.salt, event_id)
            digest = digest or chain.digest(salt, value)
        envelope = Envelope(
            id=event_id,
            source=record_source(tenant),
            type=TYPE_OF[type(fact.event)],
            tenantid=tenant,
            subject=subject,
            time=rfc3339(fact.at),
            correlationid=incident.root_cause if incident else fact.cause.id,
            causationid=fact.cause.id,
            traceparent=fact.cause.traceparent,
            sequence=sequence,
            tenantsequence=place,
            recordedtime=fact.at,
            intakespan=self._span,
            decider=DECIDER,
            prevhash=incident.hash if incident else head.stream_hash,
            datadigest=digest,
            datasalt=salt,
        )
        return chain.sealed(envelope) if self._chained else envelope


def tenant_stream(tenant: str) -> str:
    """The subject of a tenant's own events."""
    return derive_id(tenant, "tenant-stream")


def placed(incident: Incident, envelope: Envelope, event: events.Event) -> Incident:
    """The incident with the place and time of its last event; timers go by the event that set its status.

    A joined event has the time of its first part, and whoever folds the record knows no other.
    """
    if isinstance(event, _SETS_STATUS):
        sets_status = not isinstance(event, events.Merged) or event.role == "source"
        if sets_status:
            incident = incident._replace(status_event=envelope.id)
    return changed(incident, sequence=envelope.sequence, hash=envelope.hash, updated_at=envelope.recordedtime)


def _complete(state: TenantState, answer: _Answer, last: Envelope | None) -> _Answer:
    """Add to the outcome of a command of this batch where its last event stands and what the incident is then."""
    kept = state.outcomes.get(answer.key)
    outcome = kept or answer.outcome
    if outcome.tenantsequence or outcome.reason:
        return replace(answer, outcome=outcome)
    incident = state.incidents.get(outcome.incident_id)
    outcome = replace(outcome, tenantsequence=last.tenantsequence if last else state.head.tenantsequence)
    if incident is not None:
        sequence = last.sequence if last else incident.sequence
        outcome = replace(
            outcome,
            number=incident.number,
            status=incident.status,
            revision=incident.revision,
            sequence=sequence,
        )
    if kept is not None:
        state.outcomes.put(answer.key, outcome)
    return replace(answer, outcome=outcome)


def _result(command_id: str, outcome: Outcome) -> outputs.CommandResult:
    if outcome.reason:
        return outputs.CommandRejected(command_id, outcome.reason, outcome.detail, outcome.incident_id)
    return outputs.CommandAccepted(
        command_id=command_id,
        incident_id=outcome.incident_id,
        number=outcome.number,
        status=outcome.status,
        revision=outcome.revision,
        sequence=outcome.sequence,
        tenantsequence=outcome.tenantsequence,
    )
