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


class Transient(IncidentsError):  # noqa: N818
    """A fault outside the process that passes by itself: tried again, with a bound.

    ``retry_after_s`` is how long the other side asked to be left alone; 0 where it did not say.
    """

    def __init__(self, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s


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
    UNKNOWN_TICKET = "unknown-ticket"
    UNKNOWN_MAPPING = "unknown-mapping"
    INVALID_MAPPING = "invalid-mapping"
    TICKET_EXISTS = "ticket-exists"
    NO_CONFLICT = "no-conflict"
    UNKNOWN_ALERT = "unknown-alert"
    UNKNOWN_ATTACHMENT = "unknown-attachment"
    UNKNOWN_LINK = "unknown-link"
    INVALID_FILE = "invalid-file"
    INVALID_LINK = "invalid-link"
    TOO_MANY = "too-many"
    UNKNOWN_RULE_SET = "unknown-rule-set"
    REUSED_KEY = "reused-idempotency-key"


class Rejected(IncidentsError):  # noqa: N818
    """A command that the current state does not allow: its sender gets ``reason`` and ``detail``."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
