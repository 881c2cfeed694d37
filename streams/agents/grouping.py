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

    ``because`` has the rule, its version and the correlation key of an incident; ``alert_keys`` are in step with its
    deliveries. ``first_alert`` is source and fingerprint of that with which one began, whatever became of it since. An
    incident that was merged into another holds none; ``gone`` says where they went.
    """

    deliveries: dict[str, list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, int] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    incident_of: dict[Delivery, str] = field(default_factory=dict)
    alert_keys: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    because: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    first_alert: dict[str, tuple[str, str]] = field(default_factory=dict)
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
            case events.AlertsAttached(attached):
                self._place(subject, attached)
            case events.Declared():
                self.numbers[subject] = event.number
                self.titles[subject] = event.title
                self.because[subject] = (event.rule, event.rule_version, event.correlation_key)
            case events.Merged(role="source", other=other):
                self.gone[subject] = other
                self._move(subject, other, self._held(subject))
            case events.Split(role="source", other=other, alerts=parted):
                keys = {alert.alert_key for alert in parted}
                held = self._held(subject)
                self._hold(subject, [one for one in held if one[1] not in keys])
                self._move(subject, other, [one for one in held if one[1] in keys])
            case events.Linked(role="cause"):
                self.families += 1
            case events.Flapping(state="started"):
                self.flapping += 1

    def _place(self, incident: str, more: Iterable[events.Alert]) -> None:
        placed: dict[Delivery, events.Alert] = {}
        for alert in more:
            delivery = (alert.source, alert.id)
            if delivery not in self.incident_of:
                self.incident_of[delivery] = incident
                placed[delivery] = alert
        if placed:
            first = next(iter(placed.values()))
            self.first_alert.setdefault(incident, (first.source, first.fingerprint))
            self.deliveries[incident].extend(placed)
            self.alert_keys[incident].extend([alert.alert_key for alert in placed.values()])
            times = *[alert.event_time for alert in placed.values()], *self.spans.get(incident, ())
            self.spans[incident] = (min(times), max(times))

    def _held(self, incident: str) -> list[tuple[Delivery, str]]:
        """Take away what an incident holds: its deliveries, each with its alert's key."""
        return list(zip(self.deliveries.pop(incident, ()), self.alert_keys.pop(incident, ()), strict=True))

    def _hold(self, incident: str, more: Iterable[tuple[Delivery, str]]) -> None:
        deliveries, keys = self.deliveries[incident], self.alert_keys[incident]
        for delivery, key in more:
            deliveries.append(delivery)
            keys.append(key)

    def _move(self, source: str, target: str, moved: list[tuple[Delivery, str]]) -> None:
        self._hold(target, moved)
        for delivery, _ in moved:
            self.incident_of[delivery] = target
        if source in self.spans:
            first, last = self.spans.get(target, self.spans[source])
            self.spans[target] = (min(first, self.spans[source][0]), max(last, self.spans[source][1]))
