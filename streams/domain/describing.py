"""A record's fields as text: for the record of configuration changes, and to tell two commands apart."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any


def described(record: Any) -> dict[str, str]:
    """The fields of a data class instance as text: strings as they are, all else as JSON."""
    found = {}
    for field in fields(record):
        value: Any = getattr(record, field.name)
        found[field.name] = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=_plain)
    return found


def _plain(value: object) -> object:
    """What ``json`` cannot write by itself: mappings of other kinds, and records."""
    return dict(value) if isinstance(value, Mapping) else asdict(value)  # type: ignore[call-overload]  # a record
