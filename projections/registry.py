"""All projections, in the order in which they write. A new one is a file, a migration and a line here."""

from __future__ import annotations

from projections.alerts import Alerts
from projections.base import Projection
from projections.incidents import Incidents
from projections.outbox import Outbox, OutboxResults
from projections.timeline import Timeline
from projections.timers import Timers


def projections() -> tuple[Projection, ...]:
    """One instance of each, of its current generation."""
    return (Timeline(), Incidents(), Alerts(), Timers(), Outbox(), OutboxResults())
