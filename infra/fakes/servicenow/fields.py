"""The columns of the fake's incident table: what each may hold, and how it is shown.

After the dictionary of the Incident Management application and the Table API's documentation
(https://www.servicenow.com/docs, "Table API").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

NEW, IN_PROGRESS, ON_HOLD, RESOLVED, CLOSED, CANCELED = "1", "2", "3", "6", "7", "8"

STATES: Final = {
    NEW: "New",
    IN_PROGRESS: "In Progress",
    ON_HOLD: "On Hold",
    RESOLVED: "Resolved",
    CLOSED: "Closed",
    CANCELED: "Canceled",
}
_LEVELS: Final = {"1": "1 - High", "2": "2 - Medium", "3": "3 - Low"}
CHOICES: Final[Mapping[str, Mapping[str, str]]] = {
    "state": STATES,
    "impact": _LEVELS,
    "urgency": _LEVELS,
    "priority": {"1": "1 - Critical", "2": "2 - High", "3": "3 - Moderate", "4": "4 - Low", "5": "5 - Planning"},
}
REFERENCES: Final = {
    "assigned_to": "sys_user",
    "caller_id": "sys_user",
    "assignment_group": "sys_user_group",
    "cmdb_ci": "cmdb_ci",
    "business_service": "cmdb_ci_service",
}
JOURNALS: Final = ("work_notes", "comments")
DATES: Final = ("sys_created_on", "sys_updated_on", "opened_at", "resolved_at", "closed_at")
WRITABLE: Final = frozenset(
    {
        "short_description",
        "description",
        "impact",
        "urgency",
        "state",
        "close_code",
        "close_notes",
        "category",
        "correlation_id",
        "correlation_display",
        *REFERENCES,
    }
)
"""Columns that a caller may set; ``priority`` is computed, ``sys_*`` belong to the platform."""

COLUMNS: Final = (
    "sys_id",
    "number",
    "priority",
    "sys_mod_count",
    "sys_created_by",
    "sys_updated_by",
    *DATES,
    *JOURNALS,
    *sorted(WRITABLE),
)

PEOPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "sys_user": ("Abel Tuter", "Beth Anglin", "Fred Luddy"),
    "sys_user_group": ("Service Desk", "Network", "Database"),
}


def sys_id(table: str, name: str) -> str:
    """The id of a record that is there from the beginning."""
    return hashlib.sha256(f"{table}:{name}".encode()).hexdigest()[:32]


NAMES: Final[Mapping[str, str]] = {sys_id(table, name): name for table, names in PEOPLE.items() for name in names}
"""Display values of referenced records, by id."""


def priority(impact: str, urgency: str) -> str:
    """The priority that the instance looks up for an impact and an urgency (1 and 1: 1, up to 3 and 3: 5)."""
    return str(int(impact) + int(urgency) - 1)
