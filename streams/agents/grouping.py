"""Which signals stand together, as events tell it: the recorded ones, or those of a simulation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.domain import events
from streams.domain.envelope import Envelope

Delivery = tuple[str, str]
"""Source and id of a signal."""


@dataclass(slots=True)
class Grouping:
    """Which signals stand together: incidents by id, with what the report shows of each.

    ``because`` has the rule, its version and the correlation key of an incident. ``first_alert`` is that with which one
    began, whatever became of it since. An incident that was merged into another holds none; ``gone`` says where they
    went.
    """

    deliveries: dict[str, list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, int] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    incident_of: dict[Delivery, str] = field(default_factory=dict)
    alert_keys: dict[Delivery, str] = field(default_factory=dict)
    because: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    first_alert: dict[str, Delivery] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    families: int = 0
    flapping: int = 0

    @property
    def incidents(self) -> int:
        """How many there are, those that were merged into others left out.

        One that began before the record that was read is known only by the alerts that it was given since.
        """
        holding = {incident for incident, deliveries in self.deliveries.items() if deliveries}
        return len((holding | self.numbers.keys()) - self.gone.keys())

    @property
    def began_before(self) -> int:
        """How many of them began before the record that was read: their numbers and titles are not known."""
        holding = {incident for incident, deliveries in self.deliveries.items() if deliveries}
        return len(holding - self.numbers.keys() - self.gone.keys())

    def take(self, envelope: Envelope, event: events.Event) -> None:
        """Add an event of the record, or of the simulation."""
        subject = envelope.subject
        match event:
            case events.AlertsAttached(alerts):
                self._place(subject, alerts)
            case events.Declared():
                self.numbers[subject] = event.number
                self.titles[subject] = event.title
                self.because[subject] = (event.rule, event.rule_version, event.correlation_key)
            case events.Merged(role="source", other=other):
                self.gone[subject] = other
                self._move(subject, other, self.deliveries.pop(subject, []))
            case events.Split(role="source", other=other, alerts=alerts):
                keys = {alert.alert_key for alert in alerts}
                moved = [one for one in self.deliveries[subject] if self.alert_keys[one] in keys]
                self.deliveries[subject] = [one for one in self.deliveries[subject] if self.alert_keys[one] not in keys]
                self._move(subject, other, moved)
            case events.Linked(role="cause"):
                self.families += 1
            case events.Flapping(state="started"):
                self.flapping += 1

    def _place(self, incident: str, alerts: Iterable[events.Alert]) -> None:
        placed: dict[Delivery, int] = {}
        for alert in alerts:
            delivery = (alert.source, alert.id)
            if delivery not in self.incident_of:
                self.incident_of[delivery] = incident
                self.alert_keys[delivery] = alert.alert_key
                placed[delivery] = alert.event_time
        if placed:
            self.first_alert.setdefault(incident, next(iter(placed)))
            self.deliveries[incident].extend(placed)
            times = *placed.values(), *self.spans.get(incident, ())
            self.spans[incident] = (min(times), max(times))

    def _move(self, source: str, target: str, moved: list[Delivery]) -> None:
        self.deliveries[target].extend(moved)
        for delivery in moved:
            self.incident_of[delivery] = target
        if source in self.spans:
            first, last = self.spans.get(target, self.spans[source])
            self.spans[target] = (min(first, self.spans[source][0]), max(last, self.spans[source][1]))
