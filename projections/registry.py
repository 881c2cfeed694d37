"""All projections, in the order in which they write. A new one is a file, a migration and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from projections.alerts import Alerts
from projections.attachments import Attachments
from projections.base import Projection, Rebuildable
from projections.incidents import Incidents
from projections.outbox import Outbox, OutboxResults
from projections.tickets import Tickets
from projections.timeline import Timeline
from projections.timers import Timers

_READ_MODELS: dict[str, Callable[[int], Rebuildable]] = {
    "timeline_entries": Timeline,
    "incidents": Incidents,
    "alerts": Alerts,
    "tickets": Tickets,
    "attachments": Attachments,
}
READ_MODELS = tuple(_READ_MODELS)
"""The projections that have generations, in the order in which they write; the others belong to ``ops``."""


def projections() -> tuple[Projection, ...]:
    """One instance of each, of its first generation."""
    return (Timeline(), Incidents(), Alerts(), Tickets(), Attachments(), Timers(), Outbox(), OutboxResults())


def rebuildable(name: str, generation: int) -> Rebuildable:
    """A generation of one of the read models; raises ``KeyError`` for any other name."""
    return _READ_MODELS[name](generation)


def of_generations(chosen: Sequence[Projection], active: Mapping[str, int]) -> tuple[Projection, ...]:
    """The same projections, each read model in its active generation."""
    return tuple(
        rebuildable(one.name, active[one.name]) if one.name in READ_MODELS and one.name in active else one
        for one in chosen
    )
