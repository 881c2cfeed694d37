"""Conflicts of a ticket's fields as events: detected, superseded by newer values, and closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from streams.domain import ticket_events as said
from streams.domain.envelope import derive_id
from streams.domain.field_merge import MAX_BACK, Sides, Verdict
from streams.domain.mapping import FieldMapping, TicketMapping
from streams.domain.ticket_link import FieldLink, with_field

if TYPE_CHECKING:
    from streams.domain.ticket_sync import TicketSync

_CONTEST_MS = 3_600_000
"""How long a value has to stay for a later change of it to be no part of the same quarrel."""

_RESULTS: dict[str, said.ConflictResult] = {"push": "ours", "take": "theirs", "keep": "kept", "wait": "waiting"}


def contested(field: FieldLink, ours: str, theirs: str | None, now: int) -> bool:
    """Whether writing our value once more would go on with a quarrel that has no end."""
    if field.pushed != ours or theirs is None or theirs == field.base_theirs:
        return False
    return field.back >= MAX_BACK and now - field.back_since < _CONTEST_MS


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Records the conflicts of tickets under one mapping."""

    sync: TicketSync
    mapping: TicketMapping

    def detect(self, key: str, one: FieldMapping, sides: Sides, verdict: Verdict) -> None:
        """Record a conflict and its decision; one that stays is remembered until it is closed."""
        link = self.sync.state.tickets.get(key)
        if link is None or verdict.kind is None:
            return
        field, theirs = link.field(one.external_field), sides.theirs or ""
        result = _RESULTS[verdict.step]
        stays = result in {"kept", "waiting"}
        cause = self.sync.recorder.message.envelope.id
        conflict_id = field.conflict or derive_id(key, one.external_field, cause, verdict.kind)
        self.sync.recorder.record(
            link.follows,
            said.ConflictDetected(
                conflict_id=conflict_id,
                ticket_id=key,
                connector=link.connector,
                integration_id=link.integration_id,
                external_id=link.external_id,
                field=one.field,
                external_field=one.external_field,
                kind=verdict.kind,
                owner=one.source_of_truth,
                policy=one.conflict_policy,
                mapping_version=self.mapping.version,
                result=result,
                ours=sides.ours,
                theirs=theirs,
                base_ours=field.base_ours,
                base_theirs=field.base_theirs,
                base_known=field.has_base,
                ours_at=field.ours_at,
                theirs_at=field.theirs_at,
                updated_by=link.updated_by,
                explanation=f"{one.field}: {verdict.why}",
            ),
        )
        waiting = result == "waiting"
        field = field._replace(
            conflict=conflict_id if stays else "",
            waiting=waiting,
            stake_ours=sides.ours if stays else "",
            at_stake=theirs if stays else field.at_stake if field.forced else "",
        )
        if result == "kept":  # both have seen it: it is written over or taken only when a side changes again
            field = field._replace(has_base=True, base_ours=sides.ours, base_theirs=theirs)
        self.sync.put(with_field(link, field))

    def still_waiting(self, key: str, one: FieldMapping, sides: Sides) -> None:
        """Nothing moves a field that waits for a decision; newer values of either side are recorded beside it."""
        link = self.sync.state.tickets.get(key)
        field = link.field(one.external_field) if link else None
        if field is not None and (sides.ours, sides.theirs or "") != (field.stake_ours, field.at_stake):
            kind: said.ConflictKind = "contested" if one.conflict_policy != "manual" else "both_changed"
            self.detect(key, one, sides, Verdict("wait", kind, why="a side changed again while it waits"))

    def close(self, key: str, one: FieldMapping, side: said.Side, value: str, actor: str = "") -> None:
        """Record that an open conflict is over; does nothing where none is."""
        link = self.sync.state.tickets.get(key)
        field = link.field(one.external_field) if link else None
        if link is None or field is None or not field.conflict:
            return
        self.sync.put(with_field(link, field._replace(conflict="", waiting=False, stake_ours="", at_stake="", back=0)))
        self.sync.recorder.record(
            link.follows,
            said.ConflictResolved(
                field.conflict,
                key,
                link.connector,
                link.integration_id,
                one.field,
                one.external_field,
                side,
                value,
                actor,
            ),
        )
