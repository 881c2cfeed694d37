"""The fake's incident table: business rules, data policies, journals and the platform's own columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.fakes.guard import Refused
from infra.fakes.servicenow import fields
from infra.fakes.store import Store

Record = dict[str, str]

ADMIN = "admin"
_TITLE_CHARACTERS = 160
_NEEDS_CLOSE = frozenset({fields.RESOLVED, fields.CLOSED})


def error(message: str, detail: str = "") -> dict[str, Any]:
    """The Table API's error document."""
    return {"error": {"message": message, "detail": detail or None}, "status": "failure"}


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write: what a Business Rule sees after it."""

    operation: str
    record: Record
    changed: tuple[str, ...]
    journal: Sequence[Record]


class IncidentTable:
    """``clock`` gives seconds; ``on_change`` is told each committed write."""

    def __init__(self, store: Store, clock: Callable[[], float], on_change: Callable[[Change], None]) -> None:
        self._store = store
        self._clock = clock
        self._on_change = on_change

    def create(self, values: Mapping[str, Any], user: str) -> Record:
        """Insert a record; raises ``Refused`` where a data policy does not let it."""
        with self._store.transaction():
            place = self._store.count("sequence:incident")
            number = f"INC{10_000 + place:07d}"
            before = dict.fromkeys(fields.COLUMNS, "")
            before |= {"sys_id": hashlib.sha256(number.encode()).hexdigest()[:32], "number": number}
            now = self._now()
            after = before | {"state": fields.NEW, "impact": "3", "urgency": "3"} | _accepted(values)
            after |= {"sys_created_on": now, "opened_at": now, "sys_created_by": user, "sys_mod_count": "0"}
            after = self._ruled(after)
            change = self._commit("insert", before, after, values, user)
            self._store.count("effect:created")
        self._on_change(change)
        return change.record

    def update(self, sys_id: str, values: Mapping[str, Any], user: str) -> Record:
        """Change a record; what changes nothing leaves ``sys_mod_count`` alone. Raises ``Refused``."""
        with self._store.transaction():
            before = self.get(sys_id)
            accepted = _accepted(values)
            if before["state"] == fields.CLOSED and user != ADMIN:
                accepted = {}  # access rules make a closed record's fields read-only, and say nothing
            after = self._ruled(before | accepted)
            if after == before and not _journal(values):
                return before
            after["sys_mod_count"] = str(int(before["sys_mod_count"]) + 1)
            change = self._commit("update", before, after, values, user)
            self._store.count("effect:updated")
        self._on_change(change)
        return change.record

    def delete(self, sys_id: str, user: str) -> None:
        """Remove a record; ``sys_audit_delete`` keeps that it was there."""
        with self._store.transaction():
            record = self.get(sys_id)
            self._store.delete("incident", sys_id)
            trace = {"sys_id": f"{sys_id[:16]}{sys_id[:16]}", "documentkey": sys_id, "tablename": "incident"}
            self._store.put("sys_audit_delete", sys_id, trace | {"sys_created_on": self._now(), "sys_created_by": user})
            self._store.count("effect:deleted")
        self._on_change(Change("delete", record, (), ()))

    def get(self, sys_id: str) -> Record:
        """A record; raises ``Refused`` 404."""
        found = self._store.get("incident", sys_id)
        if found is None:
            raise Refused(404, error("No Record found", "Record doesn't exist or ACL restricts the record retrieval"))
        return found

    def journal(self, sys_id: str) -> list[Record]:
        """The journal's entries of a record, oldest first."""
        return [one for one in self._store.all("sys_journal_field") if one["element_id"] == sys_id]

    def set_rules(self, rules: list[dict[str, str]]) -> None:
        """Business rules that rewrite: each ``{"field", "value", "becomes"}`` acts before a write is stored."""
        self._store.put("rules", "all", {"rules": rules})

    def _ruled(self, after: Record) -> Record:
        after = dict(after)
        after["short_description"] = " ".join(after["short_description"].split())[:_TITLE_CHARACTERS]
        for rule in (self._store.get("rules", "all") or {"rules": []})["rules"]:
            if after.get(rule["field"]) == rule["value"]:
                after[rule["field"]] = rule["becomes"]
        after["priority"] = fields.priority(after["impact"], after["urgency"])
        return after

    def _commit(self, operation: str, before: Record, after: Record, values: Mapping[str, Any], user: str) -> Change:
        _check_policy(after)
        now = self._now()
        after |= {"sys_updated_on": now, "sys_updated_by": user}
        for column, states in (("resolved_at", _NEEDS_CLOSE), ("closed_at", frozenset({fields.CLOSED}))):
            after[column] = (before[column] or now) if after["state"] in states else ""
        self._store.put("incident", after["sys_id"], after)
        written = [self._append(after["sys_id"], *entry, user, now) for entry in _journal(values).items()]
        changed = tuple(sorted(column for column in fields.WRITABLE if before[column] != after[column]))
        return Change(operation, after, changed, written)

    def _append(self, sys_id: str, element: str, value: str, user: str, now: str) -> Record:
        id_ = hashlib.sha256(f"journal:{self._store.count('sequence:journal')}".encode()).hexdigest()[:32]
        entry = {"sys_id": id_, "element_id": sys_id, "name": "incident", "element": element, "value": value}
        entry |= {"sys_created_on": now, "sys_created_by": user}
        self._store.put("sys_journal_field", id_, entry)
        self._store.count(f"effect:{element}")
        return entry

    def _now(self) -> str:
        return datetime.fromtimestamp(int(self._clock()), UTC).strftime("%Y-%m-%d %H:%M:%S")


def _accepted(values: Mapping[str, Any]) -> Record:
    """What of a write is stored: known and writable columns, choices that exist; the rest is ignored in silence."""
    accepted = {}
    for column, value in values.items():
        text = "" if value is None else str(value)
        refused = column not in fields.WRITABLE or (column in fields.CHOICES and text not in fields.CHOICES[column])
        if not refused and not (column in fields.REFERENCES and text and text not in fields.NAMES):
            accepted[column] = text
    return accepted


def _journal(values: Mapping[str, Any]) -> Record:
    return {element: str(values[element]) for element in fields.JOURNALS if values.get(element)}


def _check_policy(record: Record) -> None:
    missing = [name for name in ("close_code", "close_notes") if not record[name]]
    if record["state"] in _NEEDS_CLOSE and missing:
        labels = {"close_code": "Resolution code", "close_notes": "Resolution notes"}
        detail = "Data Policy Exception: The following fields are mandatory: "
        raise Refused(403, error("Operation Failed", detail + ", ".join(labels[name] for name in missing)))
