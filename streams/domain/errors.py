"""What can go wrong, by what must be done about it."""

from __future__ import annotations

from enum import StrEnum


class IncidentsError(Exception):
    """Base of the errors that the product raises on purpose."""


class InvalidEvent(IncidentsError):  # noqa: N818  named as in the CloudEvents and Kafka literature
    """Input that no retry can repair: dead-lettered with ``reason`` (a short code) and ``detail`` (for people)."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class UnknownSchema(IncidentsError):  # noqa: N818
    """A schema newer than this process knows: the partition pauses until a newer reader is deployed (R12)."""


class Reason(StrEnum):
    """Why a command was rejected: stable codes that clients may match on."""

    UNKNOWN_INCIDENT = "unknown-incident"
    ARCHIVED_INCIDENT = "archived-incident"
    MERGED_INCIDENT = "merged-incident"
    ILLEGAL_TRANSITION = "illegal-transition"
    REOPEN_TOO_LATE = "reopen-too-late"
    STALE_REVISION = "stale-revision"
    SAME_INCIDENT = "same-incident"
    UNKNOWN_FIELD = "unknown-field"
    UNKNOWN_STATE = "unknown-state"
    UNKNOWN_SEVERITY = "unknown-severity"
    EMPTY_VALUE = "empty-value"
    TOO_LONG = "too-long"
    NOT_DUE = "not-due"
    REUSED_KEY = "reused-idempotency-key"


class Rejected(IncidentsError):  # noqa: N818
    """A command that the current state does not allow: its sender gets ``reason`` and ``detail``."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
