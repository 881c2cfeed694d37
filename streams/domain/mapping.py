"""How the fields of an incident and of a ticket correspond: data of a tenant (``com.incidents.config.mapping.v1``)."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

FIELDS: Final = ("title", "description", "severity", "status", "service", "assignee")
"""The fields of an incident that can be mapped."""

Owner = Literal["internal", "external", "bidirectional"]
Policy = Literal["internal_wins", "external_wins", "most_recent_allowed", "state_machine", "manual"]
Direction = Literal["both", "out", "in"]
Comments = Literal["both", "out", "in", "none"]

OWNERS: Final = ("internal", "external", "bidirectional")
POLICIES: Final = ("internal_wins", "external_wins", "most_recent_allowed", "state_machine", "manual")
DIRECTIONS: Final = ("both", "out", "in")
COMMENTS: Final = ("both", "out", "in", "none")

_TRANSFORM = re.compile(r"single_line|truncate:[1-9][0-9]{0,4}")


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """One field of the incident and the external one that shows it.

    ``values`` maps our values to theirs, ``inbound`` theirs to ours where ``values`` read backwards is not enough;
    without either, texts are the same on both sides. ``transform`` (``single_line``, ``truncate:<characters>``) shapes
    what is written. ``required`` are external fields, as ``<their value>/<field>``, that are set with a value of this
    one unless something is in them; ``{number}``, ``{title}`` and ``{status}`` stand for the incident's.
    """

    field: str
    external_field: str
    source_of_truth: Owner = "bidirectional"
    conflict_policy: Policy = "most_recent_allowed"
    direction: Direction = "both"
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)
    inbound: Mapping[str, str] = dataclasses.field(default_factory=dict)
    transform: tuple[str, ...] = ()
    required: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_table(self) -> bool:
        """Whether values are looked up rather than copied."""
        return bool(self.values or self.inbound)

    def image(self, ours: str) -> str | None:
        """What our value is on their side; ``None`` where the mapping does not say."""
        if self.is_table:
            return self.values.get(ours)
        for transform in self.transform:
            name, _, most = transform.partition(":")
            ours = " ".join(ours.split()) if name == "single_line" else ours[: int(most)]
        return ours

    def meanings(self, theirs: str) -> tuple[str, ...]:
        """What their value can be on our side: one where it is clear, none where the mapping does not know it."""
        if not self.is_table:
            return (theirs,)
        if theirs in self.inbound:
            return (self.inbound[theirs],)
        return tuple(ours for ours, image in self.values.items() if image == theirs)

    def agrees(self, ours: str, theirs: str) -> bool:
        """Whether the two values say the same."""
        return self.image(ours) == theirs or (self.is_table and ours in self.meanings(theirs))

    def required_with(self, theirs: str, words: Mapping[str, str]) -> dict[str, str]:
        """The external fields that go with a value of this one; ``words`` are what ``{number}`` etc. stand for."""
        found = {}
        for key, text in self.required.items():
            value, _, name = key.partition("/")
            if value == theirs:
                found[name] = _filled(text, words)
        return found


def _filled(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace("{" + name + "}", word)
    return text


@dataclass(frozen=True, slots=True)
class TicketMapping:
    """The mapping of one integration; ``create_for`` are the severities that get a ticket by themselves."""

    integration_id: str
    connector: str
    version: int
    fields: tuple[FieldMapping, ...]
    create_for: tuple[str, ...] = ()
    comments: Comments = "both"

    def by_external(self, external_field: str) -> FieldMapping | None:
        """The mapping of an external field."""
        return next((one for one in self.fields if one.external_field == external_field), None)


def fault(mapping: TicketMapping) -> str:
    """Why a mapping cannot be used, or empty; what it can be used with at a cost is ``lint``'s to say."""
    seen = set()
    for one in mapping.fields:
        where = f"{one.field} -> {one.external_field}"
        if one.field not in FIELDS:
            return f"{one.field!r} is none of {', '.join(FIELDS)}"
        if not one.external_field or one.external_field in seen:
            return f"{where}: each external field is mapped once"
        seen.add(one.external_field)
        if one.source_of_truth not in OWNERS or one.conflict_policy not in POLICIES or one.direction not in DIRECTIONS:
            return f"{where}: unknown source_of_truth, conflict_policy or direction"
        if one.conflict_policy == "state_machine" and one.field != "status":
            return f"{where}: state_machine is for status only"
        for transform in one.transform:
            if not _TRANSFORM.fullmatch(transform):
                return f"{where}: {transform!r} is no transform"
        if one.transform and one.is_table:
            return f"{where}: a field has values or transforms, not both"
        for key in one.required:
            if "/" not in key:
                return f"{where}: required is by <their value>/<field>, not {key!r}"
    if mapping.comments not in COMMENTS:
        return f"comments is one of {', '.join(COMMENTS)}"
    return "" if mapping.fields else "a mapping needs fields"
