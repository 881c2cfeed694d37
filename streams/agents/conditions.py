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
_KEPT = 8192
"""So many answers are kept: a condition's value depends on nothing but the attributes that it names."""


class BadCondition(IncidentsError):  # noqa: N818
    """A condition that cannot be compiled, or that no signal could satisfy because it names what is not there."""


@lru_cache(maxsize=_COMPILED)
def _program(condition: str) -> Any:
    import cel  # with a command line of its own, a quarter of a worker's start: only where there are conditions

    return cel.compile(condition)


@lru_cache(maxsize=_COMPILED)
def _named(condition: str) -> tuple[tuple[str, ...], bool]:
    """The attributes that a condition names, and whether it looks at labels."""
    variables = frozenset(_program(condition).variables())
    return tuple(sorted(variables & FIELDS)), "labels" in variables


@lru_cache(maxsize=_KEPT)
def _evaluated(condition: str, values: tuple[str, ...], labels: tuple[tuple[str, str], ...]) -> bool:
    """Whether it holds for the values of the attributes that it names; to copy others takes four times as long."""
    names, looks_at_labels = _named(condition)
    context: dict[str, Any] = dict(zip(names, values, strict=True))
    if looks_at_labels:
        context["labels"] = dict(labels)
    try:
        return _program(condition).execute(context) is True
    except (ValueError, RuntimeError, TypeError, KeyError):
        return False


def holds(condition: str, signal: Signal) -> bool:
    """Whether a condition holds for a signal; one that cannot be evaluated for it (a label is missing) does not."""
    try:
        names, looks_at_labels = _named(condition)
    except ValueError:
        return False
    values = tuple([getattr(signal, name) for name in names])
    return _evaluated(condition, values, tuple(signal.labels.items()) if looks_at_labels else ())


def check(condition: str) -> None:
    """Raise ``BadCondition`` for a condition that is not CEL, names an unknown attribute, or gives no boolean."""
    sample = Signal(title="sample", labels={})
    context = {**{name: getattr(sample, name) for name in FIELDS}, "labels": {}}
    try:
        value = _program(condition).execute(context)
    except KeyError:
        return  # a label that the sample lacks
    except (ValueError, RuntimeError, TypeError) as error:
        raise BadCondition(str(error).splitlines()[0]) from error
    if not isinstance(value, bool):
        raise BadCondition(f"gives {value!r}, not true or false")
