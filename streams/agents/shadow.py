"""Shadows: a draft rule set decides live traffic beside the one that counts, and its report grows (design section 6).

It reads the log in a consumer group of its own and keeps nothing: one that is killed reads again from where the draft
was published and comes to the same report. There is no producer and no outbox here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from streams.agents import what_if_report
from streams.agents.recorded import EVENTS, INTAKE, INTENTS, KafkaLog, SpanOf, message_of, recorded_of
from streams.agents.what_if import Run
from streams.codec.plain import from_json
from streams.domain.catalogue import TYPE_OF
from streams.domain.commands import SetRuleSet
from streams.domain.configuring import rules_of
from streams.domain.rules import RuleSet
from streams.runtime.partitioning import partition_of
from streams.runtime.settings import KafkaSettings

GROUP = "incidents-shadow"


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule set that runs in the shadow of a tenant's; ``since`` is when it was published, ``event_id`` where."""

    tenant: str
    rule_set: RuleSet
    since: int
    event_id: str

    @classmethod
    def from_record(cls, tenant: str, content: Mapping[str, str], since: int, event_id: str) -> Draft:
        """The draft that a ``Configured`` event brought, from its content."""
        texts = {item.name for item in fields(SetRuleSet) if item.type == "str"} | {"stage"}
        values = {name: value if name in texts else orjson.loads(value) for name, value in content.items()}
        return cls(tenant, rules_of(from_json(TYPE_OF[SetRuleSet], values)), since, event_id)


@dataclass(slots=True)
class Shadow:
    """One draft on its tenant's partition of the log."""

    draft: Draft
    run: Run = field(init=False)
    until: int = field(init=False, default=0)
    _positions: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Begin without state, as a what-if does."""
        self.run = Run(self.draft.tenant, self.draft.rule_set)

    def follow(self, log: KafkaLog) -> bool:
        """Read what the log has got since, what was recorded before what came in; whether there was anything."""
        span = SpanOf(self.draft.tenant, self.draft.since)
        grown = False
        for topic in (EVENTS, INTENTS):
            found = [recorded for stored in self._new(log, topic) if (recorded := recorded_of(stored, span))]
            self.run.take_record(found)
            grown = grown or bool(found)
        messages = [message for stored in self._new(log, INTAKE) if (message := message_of(stored, span))]
        self.run.decide(messages)
        if messages:
            self.until = messages[-1].recorded
        return grown or bool(messages)

    def _new(self, log: KafkaLog, topic: str) -> list[Any]:
        number = partition_of(self.draft.tenant.encode(), len(log.partitions(topic)))
        if topic not in self._positions:
            self._positions[topic] = log.start_at(topic, number, self.draft.since)
        found = list(log.records(topic, number, self._positions[topic]))
        if found:
            self._positions[topic] = found[-1].offset + 1
            log.note(topic, number, self._positions[topic])
        return found

    def report(self) -> tuple[str, str]:
        """The report so far, as JSON and as a page."""
        document = what_if_report.as_document(self.draft.tenant, self.draft.rule_set, self.run.simulation)
        return what_if_report.as_json(document), what_if_report.as_html(document, self.run.simulation)


class Shadows:
    """All drafts that this process follows, under one consumer."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._log = KafkaLog(settings, GROUP)
        self._running: dict[str, Shadow] = {}

    def close(self) -> None:
        """Let go of the consumer."""
        self._log.__exit__(None, None, None)

    def follow(self, drafts: list[Draft]) -> list[Shadow]:
        """Follow exactly these drafts; those whose report has grown, or that are new."""
        self._running = {draft.event_id: self._running.get(draft.event_id) or Shadow(draft) for draft in drafts}
        return [shadow for shadow in self._running.values() if shadow.follow(self._log) or not shadow.until]
