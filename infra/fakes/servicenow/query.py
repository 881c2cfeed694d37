"""The encoded queries of ``sysparm_query``, as far as a sync uses them, with their treacherous tolerance.

A part that names no column, or has no operator, is ignored: a query of such parts alone returns every record, unless
the property ``glide.invalid_query.returns_no_rows`` is set (``strict``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

Record = Mapping[str, str]
Condition = Callable[[Record], bool]

_PART = re.compile(
    r"([a-z_][a-z0-9_]*)(!=|>=|<=|=|>|<|NOT IN|IN|NOT LIKE|LIKE|STARTSWITH|ENDSWITH|ISNOTEMPTY|ISEMPTY)(.*)", re.DOTALL
)
_ORDER = re.compile(r"ORDERBY(DESC)?([a-z0-9_,]+)")
_TESTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "=": lambda have, want: have == want,
    "!=": lambda have, want: have != want,
    ">=": lambda have, want: have >= want,
    "<=": lambda have, want: have <= want,
    ">": lambda have, want: have > want,
    "<": lambda have, want: have < want,
    "IN": lambda have, want: have in want.split(","),
    "NOT IN": lambda have, want: have not in want.split(","),
    "LIKE": lambda have, want: want.lower() in have.lower(),
    "NOT LIKE": lambda have, want: want.lower() not in have.lower(),
    "STARTSWITH": lambda have, want: have.lower().startswith(want.lower()),
    "ENDSWITH": lambda have, want: have.lower().endswith(want.lower()),
    "ISEMPTY": lambda have, _: not have,
    "ISNOTEMPTY": lambda have, _: bool(have),
}


def select(records: Sequence[Record], text: str, columns: frozenset[str], *, strict: bool = False) -> list[Record]:
    """The records that an encoded query selects, in its order (else as they were made)."""
    conditions, ordering, invalid = _parse(text, columns)
    if invalid and strict:
        return []
    found = [one for one in records if any(all(test(one) for test in each) for each in conditions)]
    for column, descending in reversed(ordering):
        found.sort(key=lambda one: one[column], reverse=descending)
    return found


def _parse(text: str, columns: frozenset[str]) -> tuple[list[list[Condition]], list[tuple[str, bool]], bool]:
    """Alternatives (``^NQ``) of conditions that all hold (``^``), each with its own alternatives (``^OR``)."""
    alternatives: list[list[Condition]] = [[]]
    ordering: list[tuple[str, bool]] = []
    invalid = False
    for part in _parts(text):
        body = part.removeprefix("NQ") if part.startswith("NQ") else part
        if body is not part:
            alternatives.append([])
        order = _ORDER.fullmatch(body)
        if order:
            named = [column for column in order[2].split(",") if column in columns]
            ordering += [(column, bool(order[1])) for column in named]
            continue
        joined = body.startswith("OR")
        test = _condition(body.removeprefix("OR") if joined else body, columns)
        if test is None:
            invalid |= bool(body)
        elif joined and alternatives[-1]:
            alternatives[-1][-1] = _either(alternatives[-1][-1], test)
        else:
            alternatives[-1].append(test)
    return alternatives, ordering, invalid


def _parts(text: str) -> list[str]:
    """The query cut at each ``^``; two of them stand for the character itself."""
    return [part.replace("\0", "^") for part in text.replace("^^", "\0").split("^")]


def _condition(text: str, columns: frozenset[str]) -> Condition | None:
    match = _PART.fullmatch(text)
    if match is None or match[1] not in columns:
        return None
    column, test, want = match[1], _TESTS[match[2]], match[3]
    return lambda record: test(record[column], want)


def _either(one: Condition, other: Condition) -> Condition:
    return lambda record: one(record) or other(record)
