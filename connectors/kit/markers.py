"""The mark that tells a note or comment of ours from those of others: the last thing in its text."""

from __future__ import annotations

import re

_MARKER = re.compile(r"\[incidents:[0-9A-Za-z._:-]+\]\s*$")


def marker(key: str) -> str:
    """What marks a note as ours: providers give notes no idempotency key, so a look-up searches for this."""
    return f"[incidents:{key}]"


def is_ticket_marker_of(integration_id: str, mark: str) -> bool:
    """Whether a ticket's marker is one of this integration: others may share the account's view of the provider."""
    return mark.endswith(f"-{integration_id}")


def has_marker(text: str) -> bool:
    """Whether a note ends with a marker of ours (then it must not come back as a note: echo)."""
    return _MARKER.search(text) is not None
