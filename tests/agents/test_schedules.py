"""Maintenance windows: worked out in their time zone, bounded, and refused where they make no sense."""

from __future__ import annotations

import pytest

from streams.agents.schedules import BadSchedule, Schedule, windows
from streams.domain.envelope import milliseconds, rfc3339
from streams.domain.rules import Silence, Span

HOUR = 3_600_000
BERLIN = "Europe/Berlin"


def found(rrule: str, at: str, hours: float, span: tuple[str, str], zone: str = BERLIN) -> list[str]:
    schedule = Schedule(rrule, at, int(hours * HOUR), zone)
    starts, ends = (milliseconds(f"{day}T00:00:00Z") for day in span)
    return [f"{rfc3339(w.starts)[:16]}/{rfc3339(w.ends)[11:16]}" for w in windows(schedule, starts, ends)]


def test_a_weekly_window_keeps_its_local_time_when_the_clocks_change() -> None:
    assert found("FREQ=WEEKLY;BYDAY=SU", "03:30", 2, ("2026-10-12", "2026-11-02")) == [
        "2026-10-18T01:30/03:30",
        "2026-10-25T02:30/04:30",
        "2026-11-01T02:30/04:30",
    ]


def test_a_time_that_is_skipped_or_comes_twice_is_taken_once() -> None:
    assert found("FREQ=DAILY", "02:30", 1, ("2026-03-28", "2026-03-30")) == [
        "2026-03-28T01:30/02:30",
        "2026-03-29T01:30/02:30",
    ]
    assert found("FREQ=DAILY", "02:30", 1, ("2026-10-25", "2026-10-26")) == ["2026-10-25T00:30/01:30"]


def test_monthly_windows_by_weekday_and_by_day() -> None:
    assert found("FREQ=MONTHLY;BYDAY=2TU", "22:00", 1, ("2026-01-01", "2026-03-01"), "UTC") == [
        "2026-01-13T22:00/23:00",
        "2026-02-10T22:00/23:00",
    ]
    assert found("FREQ=MONTHLY;BYMONTHDAY=-1", "22:00", 1, ("2026-01-01", "2026-03-01"), "UTC") == [
        "2026-01-31T22:00/23:00",
        "2026-02-28T22:00/23:00",
    ]


def test_a_window_that_is_open_at_the_beginning_or_the_end_is_cut_and_overlaps_are_one() -> None:
    assert found("FREQ=DAILY", "23:00", 2, ("2026-01-02", "2026-01-03"), "UTC") == [
        "2026-01-02T00:00/01:00",
        "2026-01-02T23:00/00:00",
    ]
    assert found("FREQ=DAILY", "00:00", 30, ("2026-01-01", "2026-01-08"), "UTC") == ["2026-01-01T00:00/00:00"]


@pytest.mark.parametrize(
    ("rrule", "zone", "problem"),
    [
        ("FREQ=SECONDLY", BERLIN, "is not understood"),
        ("FREQ=DAILY;BYHOUR=3", BERLIN, "is not understood"),
        ("", BERLIN, "is not understood"),
        ("FREQ=WEEKLY;BYDAY=XX", BERLIN, "FREQ=WEEKLY;BYDAY=XX"),
        ("FREQ=WEEKLY;BYDAY=1SU", BERLIN, "numbered days"),
        ("FREQ=MONTHLY;BYDAY=1SU;BYMONTHDAY=3", BERLIN, "do not go together"),
        ("FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31", "UTC", "has no window"),
        ("FREQ=DAILY", "Mars/Olympus", "no IANA time zone"),
        ("FREQ=DAILY", "../etc/passwd", "no IANA time zone"),
    ],
)
def test_what_makes_no_sense_is_refused(rrule: str, zone: str, problem: str) -> None:
    with pytest.raises(BadSchedule, match=problem):
        found(rrule, "02:00", 1, ("2026-02-01", "2026-02-20"), zone)


def test_schedules_are_bounded() -> None:
    with pytest.raises(BadSchedule, match="more than 400 days"):
        found("FREQ=DAILY", "02:00", 1, ("2026-01-01", "2027-06-01"))
    with pytest.raises(BadSchedule, match="longer than nothing"):
        found("FREQ=DAILY", "02:00", 0, ("2026-01-01", "2026-02-01"))


def test_a_scheduled_silence_holds_only_within_its_windows() -> None:
    silence = Silence("s", "true", 0, 100, "r", "o", "every so often", (Span(10, 20), Span(40, 50)))
    assert [at for at in (0, 9, 10, 19, 20, 39, 40, 49, 50, 99, 100) if silence.covers(at)] == [10, 19, 40, 49]
    assert Silence("s", "true", 10, 20, "r", "o").covers(19)
