"""Figures of several rounds: the median, and how far the rounds lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def median(values: Sequence[float], digits: int = 0) -> float:
    """The median, rounded."""
    found = round(statistics.median(values), digits)
    return int(found) if not digits else found


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The smallest and the largest, for the table."""
    return f"{round(min(values), digits or None):,} to {round(max(values), digits or None):,}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below ``share`` (0 to 1) of them."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and the worst, in milliseconds."""
    return {
        "p50": round(percentile(seconds, 0.5) * 1000, 1),
        "p99": round(percentile(seconds, 0.99) * 1000, 1),
        "p999": round(percentile(seconds, 0.999) * 1000, 1),
        "worst": round(max(seconds, default=float("nan")) * 1000, 1),
    }
