"""Joins adjacent events about alerts of one incident, so that a storm is a few events and not thousands (R2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streams.domain import events
from streams.domain.message import Fact

MOST_ALERTS = 200
MOST_BYTES = 128 * 1024

_ALERT_BYTES = 400
"""What an alert takes beside its texts: identifiers, times, field overhead."""

_JOINED: tuple[type, ...] = (events.AlertsAttached, events.AlertsRepeated, events.AlertsResolved)


class _Run:
    """A joined event in the making: the fact that began it, and the alerts so far."""

    __slots__ = ("alerts", "fact", "size")

    def __init__(self, fact: Fact) -> None:
        self.fact = fact
        self.alerts: list[Any] = []
        self.size = 0

    def takes(self, fact: Fact, alerts: tuple[Any, ...], size: int) -> bool:
        """Add the alerts of another fact if it is of the same kind and fits."""
        fits = len(self.alerts) + len(alerts) <= MOST_ALERTS and self.size + size <= MOST_BYTES
        alike = type(fact.event) is type(self.fact.event) and fact.quiet == self.fact.quiet
        if not alike or not (fits or not self.alerts):
            return False
        self.alerts.extend(alerts)
        self.size += size
        return True


def join(facts: Iterable[Fact]) -> list[Fact]:
    """The facts with runs of the same kind about one incident's alerts made one, in the order of their beginnings.

    A run is interrupted by any other event of its incident, by one that has effects where it has none (or the other
    way round), by ``MOST_ALERTS`` and by ``MOST_BYTES``; events of other
    incidents in between do not interrupt it. A joined event has the cause and the time of its first part.
    """
    joined: list[Fact] = []
    runs: list[_Run] = []
    open_runs: dict[str, _Run] = {}
    for fact in facts:
        if not isinstance(fact.event, _JOINED):
            open_runs.pop(fact.incident_id, None)
            joined.append(fact)
            continue
        alerts: tuple[Any, ...] = fact.event.alerts  # type: ignore[union-attr]  # every kind in _JOINED has them
        size = sum(map(_size, alerts))
        run = open_runs.get(fact.incident_id)
        if run is None or not run.takes(fact, alerts, size):
            own = Fact(fact.incident_id, fact.event, fact.cause, fact.at, fact.quiet)  # what comes in stays as it is
            run = open_runs[fact.incident_id] = _Run(own)
            run.takes(fact, alerts, size)
            runs.append(run)
            joined.append(run.fact)
    for run in runs:
        kind: Any = type(run.fact.event)
        run.fact.event = kind(tuple(run.alerts))
    return joined


def _size(alert: events.Alert | events.AlertRef) -> int:
    """About the bytes that an alert takes when stored."""
    size = _ALERT_BYTES + len(alert.title)
    if isinstance(alert, events.Alert):
        for texts in (alert.labels, alert.links):
            if texts:
                size += len("".join([*texts, *texts.values()]))
    return size
