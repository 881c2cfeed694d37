"""Records of the incident table to tickets: raw values, as ``sysparm_display_value=false`` shows them.

``sys_mod_count`` counts from 0; the version is one more, since 0 stands for "not known".
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from connectors.kit import limits
from connectors.kit.intake import in_range
from connectors.kit.tickets import Ticket
from connectors.servicenow.config import ServiceNowConfig

PLATFORM: Final = ("sys_id", "number", "correlation_id", "sys_mod_count", "sys_updated_on", "sys_updated_by")
"""Columns that are read besides those that are followed."""

_TIME = "%Y-%m-%d %H:%M:%S"


def ticket_of(config: ServiceNowConfig, record: Mapping[str, Any]) -> Ticket | None:
    """The ticket that a record is; ``None`` for something without a ``sys_id``."""
    external_id = limits.identity(text(record.get("sys_id")))
    if not external_id:
        return None
    return Ticket(
        external_id=external_id,
        external_key=limits.text(record.get("number")),
        url=url(config, external_id),
        marker=limits.identity(text(record.get("correlation_id"))),
        version=version(record),
        updated_at=milliseconds(text(record.get("sys_updated_on"))),
        updated_by=limits.text(record.get("sys_updated_by")),
        fields={
            name: limits.text(text(record[name]), limits.TEXT_CHARACTERS) for name in config.fields if name in record
        },
    )


def text(value: Any) -> str:
    """A column's raw value: a reference is an object where links are shown, and an empty one a text."""
    if isinstance(value, dict):
        value = value.get("value")
    return value if isinstance(value, str) else limits.text(value)


def whole_number(value: Any, digits: int = 15) -> int | None:
    """A value in ASCII digits, at most so many; None for any other."""
    found = text(value)
    return int(found) if found.isascii() and found.isdigit() and len(found) <= digits else None


def version(record: Mapping[str, Any]) -> int:
    """The version of a record, 0 where it does not say."""
    count = whole_number(record.get("sys_mod_count"), digits=9)
    return 0 if count is None else count + 1


def milliseconds(value: str) -> int:
    """A raw time, which is UTC in whole seconds, in milliseconds; 0 where there is none."""
    try:
        return in_range(int(datetime.strptime(value, _TIME).replace(tzinfo=UTC).timestamp()) * 1000)
    except (ValueError, OverflowError):
        return 0


def raw_time(milliseconds_: int) -> str:
    """The second that an instant is in, as queries want it."""
    return datetime.fromtimestamp(milliseconds_ // 1000, UTC).strftime(_TIME)


def url(config: ServiceNowConfig, external_id: str) -> str:
    """Where people see it."""
    return f"{config.base_url.rstrip('/')}/nav_to.do?uri=incident.do%3Fsys_id%3D{quote(external_id, safe='')}"
