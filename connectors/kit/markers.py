"""The mark that tells a note or comment of ours from those of others: the last thing in its text."""

from __future__ import annotations

import re
from typing import Final

TICKET_MARK: Final = "inc-"
"""How the markers of tickets begin (ADR 0007)."""

_MARKER = re.compile(r"\[incidents:[0-9A-Za-z._:-]+\]\s*$")


def marker(key: str) -> str:
    """What marks a note as ours: providers give notes no idempotency key, so a look-up searches for this."""
    return f"[incidents:{key}]"


def is_ticket_marker(mark: str) -> bool:
    """Whether this is a marker that an incident puts on its ticket."""
    return mark.startswith(TICKET_MARK)


def has_marker(text: str) -> bool:
    """Whether a note ends with a marker of ours (then it must not come back as a note: echo)."""
    return _MARKER.search(text) is not None
