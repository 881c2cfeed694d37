"""JSONPath expressions (jsonpath-ng), made fast: plain steps become item look-ups, the rest is left to the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.jsonpath import Child, Fields, Index, Root
from jsonpath_ng.parser import parse

Getter = Callable[[Any], Any]
"""From a document to the first match, ``None`` where there is none."""


class InvalidPath(ValueError):  # noqa: N818
    """Not a JSONPath expression."""


def getter(path: str) -> Getter:
    """A function that finds what ``path`` names; raises ``InvalidPath``."""
    try:
        expression = parse(path)
    except (JSONPathError, AttributeError, TypeError, ValueError) as error:
        raise InvalidPath(f"{path!r} is no JSONPath: {error}") from error
    steps = _steps(expression)
    return _plain(steps) if steps is not None else _general(expression)


def _steps(expression: Any) -> tuple[str | int, ...] | None:
    """The keys and indexes of an expression that consists of nothing else."""
    match expression:
        case Root():
            return ()
        case Fields(fields=[str() as name]) | Fields(fields=(str() as name,)) if name != "*":
            return (name,)
        case Index(indices=(int() as index,)):
            return (index,)
        case Child(left=left, right=right):
            before, after = _steps(left), _steps(right)
            return None if before is None or after is None else before + after
        case _:
            return None


def _plain(steps: tuple[str | int, ...]) -> Getter:
    def get(document: Any) -> Any:
        for step in steps:
            try:
                document = document[step]
            except (KeyError, IndexError, TypeError):
                return None
        return document

    return get


def _general(expression: Any) -> Getter:
    def get(document: Any) -> Any:
        found = expression.find(document)
        return found[0].value if found else None

    return get
