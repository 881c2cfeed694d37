"""How the Table API shows a record: raw, by display values, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from infra.fakes.servicenow import fields

Record = Mapping[str, str]


def shown(record: Record, journal: Sequence[Record], parameters: Mapping[str, str], base_url: str) -> dict[str, Any]:
    """A record as ``sysparm_display_value``, ``sysparm_exclude_reference_link`` and ``sysparm_fields`` ask for it."""
    mode = parameters.get("sysparm_display_value", "false")
    flat = parameters.get("sysparm_exclude_reference_link") == "true"
    wanted = [name for name in parameters.get("sysparm_fields", "").split(",") if name in record] or list(record)
    result: dict[str, Any] = {}
    for name in wanted:
        raw, display = record[name], _display(name, record[name], journal)
        link = f"{base_url}/api/now/table/{fields.REFERENCES[name]}/{raw}" if name in fields.REFERENCES and raw else ""
        if mode == "all":
            result[name] = {"display_value": display, "value": raw, **({"link": link} if link and not flat else {})}
        elif link and not flat:
            result[name] = {
                "link": link,
                ("display_value" if mode == "true" else "value"): (display if mode == "true" else raw),
            }
        else:
            result[name] = display if mode == "true" else raw
    return result


def _display(name: str, raw: str, journal: Sequence[Record]) -> str:
    """What a person sees: labels, names, local times, and journals as one text, newest entry first."""
    if name in fields.CHOICES:
        return fields.CHOICES[name].get(raw, raw)
    if name in fields.REFERENCES:
        return fields.NAMES.get(raw, raw)
    if name in fields.DATES and raw:
        return datetime.strptime(raw, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).strftime("%d/%m/%Y %H:%M:%S")
    if name in fields.JOURNALS:
        entries = [one for one in reversed(journal) if one["element"] == name]
        return "".join(
            f"{one['sys_created_on']} - {one['sys_created_by']} ({name.replace('_', ' ').capitalize()})\n"
            f"{one['value']}\n\n"
            for one in entries
        )
    return raw
