"""Search with JQL, as far as a sync uses it, over an index that lags behind the issues by ``lag_s``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from infra.fakes.guard import Refused
from infra.fakes.jira.workflow import errors
from infra.fakes.store import Store

_CLAUSE = re.compile(r"(\w+)\s*(>=|<=|=|>|<|\bin\b)\s*(\([^)]*\)|\"[^\"]*\"|\S+)", re.IGNORECASE)
_ORDER = re.compile(r"\s*\border\s+by\s+(.*)$", re.IGNORECASE | re.DOTALL)
_RELATIVE = re.compile(r"-(\d+)([mhd])")
_UNITS = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}
_COLUMNS = frozenset({"project", "labels", "key", "updated", "created"})

Entry = dict[str, Any]


class Index:
    """What search finds: each write shows up ``lag_s`` after it; until then the issue is found by what it was."""

    def __init__(self, store: Store, clock: Callable[[], float], lag_s: float) -> None:
        self._store = store
        self._clock = clock
        self._lag_s = lag_s

    def learn(self, issue: dict[str, Any]) -> None:
        """Index an issue, later."""
        key, fields = issue["key"], issue["fields"]
        known = self._store.get("index", key)
        entry = {"key": key, "project": fields["project"]["key"], "labels": fields["labels"]}
        entry |= {"updated": _seconds(fields["updated"]), "created": _seconds(fields["created"])}
        before = self._visible(known) if known else None
        self._store.put("index", key, {"now": entry, "before": before, "at": self._clock() + self._lag_s})

    def forget(self, key: str) -> None:
        """A deleted issue is found no more."""
        self._store.delete("index", key)

    def find(self, jql: str) -> list[str]:
        """Keys of the issues that a query selects, in its order; raises ``Refused`` 400."""
        order = _ORDER.search(jql)
        clauses = _clauses(jql[: order.start()] if order else jql)
        entries = [found for one in self._store.all("index") if (found := self._visible(one)) is not None]
        selected = [one for one in entries if all(self._holds(one, *clause) for clause in clauses)]
        for name, descending in reversed(_ordering(order[1] if order else "")):
            selected.sort(key=lambda one: _sortable(one, name), reverse=descending)
        return [one["key"] for one in selected]

    def _visible(self, stored: dict[str, Any]) -> Entry | None:
        found: Entry | None = stored["now"] if self._clock() >= stored["at"] else stored["before"]
        return found

    def _holds(self, entry: Entry, name: str, operator: str, value: str) -> bool:
        if name in {"updated", "created"}:
            return _compare(entry[name], operator, self._instant(value))
        wanted = [one.strip().strip('"') for one in value.strip("()").split(",")]
        have = entry["labels"] if name == "labels" else [entry[name]]
        return any(one in wanted for one in have)

    def _instant(self, value: str) -> float:
        """A time of JQL: relative, in milliseconds, or to the minute (JQL knows no seconds)."""
        relative = _RELATIVE.fullmatch(value)
        if relative:
            return self._clock() - int(relative[1]) * _UNITS[relative[2]]
        if value.isdigit():
            return int(value) / 1000
        try:
            return datetime.strptime(value, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise Refused(
                400, errors(f"Date value '{value}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm'")
            ) from None


def _clauses(text: str) -> list[tuple[str, str, str]]:
    found = []
    for part in re.split(r"\s+and\s+", text.strip(), flags=re.IGNORECASE):
        match = _CLAUSE.fullmatch(part.strip())
        if match is None:
            raise Refused(
                400,
                errors(
                    "Unbounded JQL queries are not allowed here." if not part else f"Error in the JQL Query: '{part}'"
                ),
            )
        if match[1].lower() not in _COLUMNS:
            raise Refused(400, errors(f"Field '{match[1]}' does not exist or you do not have permission to view it."))
        value = match[3] if match[3].startswith("(") else match[3].strip('"')
        found.append((match[1].lower(), match[2].lower(), value))
    return found


def _ordering(text: str) -> list[tuple[str, bool]]:
    terms = [part.split() for part in text.split(",") if part.strip()]
    return [(term[0].lower(), len(term) > 1 and term[1].lower() == "desc") for term in terms]


def _sortable(entry: Entry, name: str) -> Any:
    return int(entry["key"].rpartition("-")[2]) if name == "key" else entry[name]


def _compare(have: float, operator: str, want: float) -> bool:
    return {">=": have >= want, "<=": have <= want, ">": have > want, "<": have < want}.get(operator, have == want)


def _seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
