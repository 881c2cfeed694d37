"""Configuration of an Alertmanager integration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from streams.domain.signals import SEVERITIES

SEVERITY_TABLE: Final[Mapping[str, str]] = {
    "critical": "SEV-1",
    "page": "SEV-1",
    "red": "SEV-1",
    "error": "SEV-2",
    "high": "SEV-2",
    "major": "SEV-2",
    "orange": "SEV-3",
    "warning": "SEV-3",
    "warn": "SEV-3",
    "minor": "SEV-4",
    "low": "SEV-4",
    "yellow": "SEV-4",
    "info": "SEV-5",
    "none": "SEV-5",
}
"""Texts of the label ``severity``, which is free; ``config["severities"]`` adds to it and goes before it."""

DEFAULT_SEVERITY = "SEV-3"


def check(config: Mapping[str, Any]) -> str:
    """What is wrong with a configuration, or empty; ``{"severities": {<label text>: "SEV-n"}}`` is all there is."""
    if unknown := set(config) - {"severities"}:
        return f"unknown settings: {', '.join(sorted(unknown))}"
    table = config.get("severities", {})
    if not isinstance(table, dict):
        return "severities must be an object"
    wrong = sorted(text for text, severity in table.items() if severity not in SEVERITIES)
    return f"severities must be one of {', '.join(SEVERITIES)} (wrong: {', '.join(wrong)})" if wrong else ""


def severity(label: str, config: Mapping[str, Any]) -> str:
    """The severity for the text of a label."""
    own = config.get("severities")
    text = label.lower()
    if own and (found := own.get(label) or own.get(text)):
        return str(found)
    return SEVERITY_TABLE.get(text, DEFAULT_SEVERITY)
