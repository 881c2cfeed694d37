"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One result; ``remedy`` says what to do about it, empty where nothing needs doing."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def graded(name: str, value: float, limits: tuple[float, float], detail: str, remedy: str) -> Finding:
    """A finding about a figure that should be small: a warning above the first limit, failed above the second."""
    warning, failed = limits
    if value <= warning:
        return Finding(name, "ok", detail)
    return Finding(name, "failed" if value > failed else "warning", detail, remedy)
