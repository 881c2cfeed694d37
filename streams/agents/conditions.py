"""Conditions of rule sets: the Common Expression Language (https://cel.dev), evaluated outside of the core.

A condition sees the attributes of a signal that rules may name, and ``labels`` as a map.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from streams.domain.correlation import FIELDS
from streams.domain.errors import IncidentsError
from streams.domain.signals import Signal

_COMPILED = 1024


class BadCondition(IncidentsError):  # noqa: N818
    """A condition that cannot be compiled, or that no signal could satisfy because it names what is not there."""


@lru_cache(maxsize=_COMPILED)
def _program(condition: str) -> Any:
    import cel  # with a command line of its own, a quarter of a worker's start: only where there are conditions

    return cel.compile(condition)


def _context(signal: Signal) -> dict[str, Any]:
    return {**{name: getattr(signal, name) for name in FIELDS}, "labels": dict(signal.labels)}


def holds(condition: str, signal: Signal) -> bool:
    """Whether a condition holds for a signal; one that cannot be evaluated for it (a label is missing) does not."""
    try:
        return _program(condition).execute(_context(signal)) is True
    except (ValueError, RuntimeError, TypeError, KeyError):
        return False


def check(condition: str) -> None:
    """Raise ``BadCondition`` for a condition that is not CEL, names an unknown attribute, or gives no boolean."""
    sample = Signal(title="sample", labels={})
    try:
        value = _program(condition).execute(_context(sample))
    except KeyError:
        return  # a label that the sample lacks
    except (ValueError, RuntimeError, TypeError) as error:
        raise BadCondition(str(error).splitlines()[0]) from error
    if not isinstance(value, bool):
        raise BadCondition(f"gives {value!r}, not true or false")
