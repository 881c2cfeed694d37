"""Schedules of maintenance windows: recurrence rules (RFC 5545) in a time zone, worked out before they are published.

The decider only ever sees the spans: so no later change of a time zone's rules can change what was decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from streams.domain.envelope import rfc3339
from streams.domain.errors import IncidentsError
from streams.domain.rules import Span

MOST_WINDOWS = 500
_DAY_MS = 86_400_000
_LONGEST_MS = 400 * _DAY_MS
_PARTS = {
    "DAILY": {"FREQ", "INTERVAL"},
    "WEEKLY": {"FREQ", "INTERVAL", "BYDAY"},
    "MONTHLY": {"FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY"},
}
"""What a rule may say: all of these come again within a few steps, so that working one out is quick."""


class BadSchedule(IncidentsError):  # noqa: N818
    """A schedule that cannot be understood, or that has no window in its time."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A window of ``duration_ms`` that opens at a local time (``HH:MM``) on the days of ``rrule``."""

    rrule: str
    at: str
    duration_ms: int
    time_zone: str

    def __str__(self) -> str:
        return f"{self.rrule} at {self.at} {self.time_zone} for {self.duration_ms // 60_000} min"


def windows(schedule: Schedule, starts: int, ends: int) -> tuple[Span, ...]:
    """The windows of a schedule between two instants (ms), in order; those that overlap are one.

    A local time that a change of clocks skips is taken as it was before the change, one that comes twice as the first.
    Raises ``BadSchedule``.
    """
    if ends - starts > _LONGEST_MS:
        raise BadSchedule(f"from {rfc3339(starts)} until {rfc3339(ends)} is more than 400 days")
    if not schedule.duration_ms:
        raise BadSchedule("a window is longer than nothing")
    found: list[Span] = []
    for opens in islice(_openings(schedule, starts, ends), MOST_WINDOWS + 1):
        closes = min(opens + schedule.duration_ms, ends)
        if closes <= max(opens, starts):
            continue
        if found and opens <= found[-1].ends:
            found[-1] = Span(found[-1].starts, max(closes, found[-1].ends))
        else:
            found.append(Span(max(opens, starts), closes))
    if not found:
        raise BadSchedule(f"it has no window from {rfc3339(starts)} until {rfc3339(ends)}")
    if len(found) > MOST_WINDOWS:
        raise BadSchedule(f"it has more than {MOST_WINDOWS} windows")
    return tuple(found)


def _openings(schedule: Schedule, starts: int, ends: int) -> Iterator[int]:
    """When the windows open, from one that may still be open at ``starts`` on."""
    try:
        zone = ZoneInfo(schedule.time_zone)
    except (ValueError, OSError, KeyError) as error:
        raise BadSchedule(f"{schedule.time_zone!r} is no IANA time zone") from error
    hour, minute = map(int, schedule.at.split(":"))
    first = datetime.fromtimestamp((starts - schedule.duration_ms) / 1000, zone)
    first = first.replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=None)
    for local in _days(schedule.rrule, first):
        opens = int(local.replace(tzinfo=zone).astimezone(UTC).timestamp()) * 1000
        if opens >= ends:
            return
        yield opens


def _days(rule: str, first: datetime) -> Iterator[datetime]:
    parts = dict(part.partition("=")[::2] for part in rule.split(";"))
    frequency = parts.get("FREQ", "")
    unknown = parts.keys() - _PARTS.get(frequency, set())
    if frequency not in _PARTS or unknown:
        known = "; ".join(f"FREQ={name} with {', '.join(sorted(rest - {'FREQ'}))}" for name, rest in _PARTS.items())
        raise BadSchedule(f"{rule!r} is not understood, this is: {known}")
    if {"BYDAY", "BYMONTHDAY"} <= parts.keys():
        raise BadSchedule("BYDAY and BYMONTHDAY do not go together")
    if frequency != "MONTHLY" and any(character.isdigit() for character in parts.get("BYDAY", "")):
        raise BadSchedule("numbered days are for FREQ=MONTHLY")
    try:
        found: Any = rrulestr(rule, dtstart=first)
    except (ValueError, TypeError) as error:
        raise BadSchedule(f"{rule!r}: {error}") from error
    yield from found
