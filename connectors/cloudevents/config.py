"""Configuration of a CloudEvents integration: ``{"mapping": <mapping document>}``, or nothing for canonical events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.cloudevents.mapping import InvalidMapping, compile_mapping


def check(config: Mapping[str, Any]) -> str:
    """What is wrong with a configuration, or empty."""
    if unknown := set(config) - {"mapping"}:
        return f"unknown settings: {', '.join(sorted(unknown))}"
    if "mapping" in config:
        try:
            compile_mapping(config["mapping"])
        except InvalidMapping as error:
            return str(error)
    return ""
