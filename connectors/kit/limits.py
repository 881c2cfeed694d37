"""How large the parts of a signal may be: cut at the door, so that no record, event or state item outgrows its cap.

The provider's own bytes stay whole in ``raw`` (or in object storage), so nothing is lost by cutting here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

NAME_CHARACTERS = 256
TITLE_CHARACTERS = 500
TEXT_CHARACTERS = 8_192
IDENTITY_CHARACTERS = 512
LABEL_COUNT = 64
LABEL_CHARACTERS = 1_024
RAW_BYTES = 256 * 1024
"""A larger raw body goes to object storage."""


def text(value: Any, limit: int = NAME_CHARACTERS) -> str:
    """A provider's value as text: no NUL (PostgreSQL stores none), at most ``limit`` characters, others empty."""
    if isinstance(value, str):
        found = value
    elif value is None or isinstance(value, (dict, list)):
        return ""
    else:
        found = str(value)
    if "\0" in found:
        found = found.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return found if len(found) <= limit else found[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def identity(value: Any) -> str:
    """A provider's identifier, never cut: one that is too long or has control characters becomes its digest."""
    found = value if isinstance(value, str) else "" if value is None else str(value)
    if len(found) <= IDENTITY_CHARACTERS and found.isprintable():
        return found
    return f"sha256:{hashlib.sha256(found.encode()).hexdigest()}"


def mapping(value: Any, limit: int = LABEL_CHARACTERS) -> dict[str, str]:
    """A provider's labels or links, cut to ``limit`` characters each; the first ``LABEL_COUNT`` by name, if more."""
    if not isinstance(value, Mapping):
        return {}
    if _fits(value, limit):
        return dict(value)
    items = value.items() if len(value) <= LABEL_COUNT else sorted(value.items())[:LABEL_COUNT]
    return {text(key, NAME_CHARACTERS): text(entry, limit) for key, entry in items}


def _fits(value: Mapping[Any, Any], limit: int) -> bool:
    """Whether nothing has to be cut or replaced, judged by all texts together: so it is with most, at little cost."""
    try:
        names, texts = "".join(value), "".join(value.values())
    except TypeError:
        return False
    fits = len(value) <= LABEL_COUNT and len(names) <= NAME_CHARACTERS and len(texts) <= limit
    return fits and "\0" not in names and "\0" not in texts
