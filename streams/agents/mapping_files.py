"""Mappings as files: YAML, checked against ``schemas/mapping.schema.json``; what they cost is told as warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import yaml
from jsonschema import Draft202012Validator

import schemas
from streams.domain.errors import IncidentsError
from streams.domain.lifecycle import Status
from streams.domain.mapping import FieldMapping, TicketMapping, fault
from streams.domain.signals import SEVERITIES
from streams.domain.ticket_commands import SetMapping

OURS: Mapping[str, tuple[str, ...]] = {
    "severity": SEVERITIES,
    "status": tuple(status.value for status in Status if status is not Status.DRAFT),
}
"""The values of fields that are chosen from a list; a draft has no ticket."""

_COMPUTED = {"servicenow": {"priority": "is computed from impact and urgency: what is written to it is ignored"}}

_NO_NOTES = frozenset({"incidentio"})
"""Systems whose API takes no notes."""


class BadMapping(IncidentsError):  # noqa: N818
    """A mapping file cannot be used; ``problems`` are lines for people."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping of a file; it belongs to no integration yet."""

    mapping: TicketMapping

    def command(self, integration_id: str, actor: str) -> SetMapping:
        """The command that publishes it for an integration."""
        found = self.mapping
        return SetMapping(
            integration_id, found.connector, found.version, found.fields, actor, found.create_for, found.comments
        )


def parse(text: str) -> MappingFile:
    """The mapping of a file's text; raises ``BadMapping`` with every problem that was found."""
    try:
        document = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadMapping([f"line {line}: {error.problem}"]) from error
    except yaml.YAMLError as error:
        raise BadMapping([str(error)]) from error
    return from_document(document)


def from_document(document: Any) -> MappingFile:
    """The mapping of a file's document; raises ``BadMapping`` with every problem that was found."""
    errors = sorted(_validator().iter_errors(document), key=lambda e: list(map(str, e.absolute_path)))
    if errors:
        raise BadMapping([f"{'.'.join(map(str, e.absolute_path)) or 'file'}: {e.message}" for e in errors])
    connector, content = next(iter(document.items()))
    fields = tuple(_fields(content["field_mappings"]))
    mapping = TicketMapping(
        "",
        connector,
        content.get("version", 1),
        fields,
        tuple(content.get("create_for", ())),
        content.get("comments", "both"),
    )
    problems = [*filter(None, [fault(mapping)]), *_unknown_values(fields)]
    if problems:
        raise BadMapping(problems)
    return MappingFile(mapping)


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(orjson.loads(schemas.mapping_schema()))


def _fields(mappings: Mapping[str, Any]) -> Iterator[FieldMapping]:
    for name, entries in mappings.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            required = {
                f"{value}/{field}": text
                for value, fields in entry.get("required_on_state", {}).items()
                for field, text in fields.items()
            }
            yield FieldMapping(
                name,
                entry["external_field"],
                entry["source_of_truth"],
                entry["conflict_policy"],
                entry.get("direction", "both"),
                entry.get("value_mapping", {}),
                entry.get("inbound", {}),
                tuple(entry.get("transform", ())),
                required,
            )


def _unknown_values(fields: tuple[FieldMapping, ...]) -> Iterator[str]:
    for one in fields:
        known = OURS.get(one.field, ())
        for value in (*one.values, *one.inbound.values()):
            if known and value not in known:
                yield f"{one.field} -> {one.external_field}: {value!r} is none of {', '.join(known)}"


def lint(mapping: TicketMapping) -> list[str]:
    """Warnings: what a mapping cannot do, each with its consequence."""
    found = [warning for one in mapping.fields for warning in _warnings(mapping.connector, one)]
    if mapping.connector in _NO_NOTES and mapping.comments in {"both", "out"}:
        found.append(f"comments: {mapping.connector} takes no notes: each of ours is recorded as one that failed")
    return found


def _warnings(connector: str, one: FieldMapping) -> Iterator[str]:
    where = f"{one.field} -> {one.external_field}"
    computed = _COMPUTED.get(connector, {}).get(one.external_field)
    if computed and one.direction != "in":
        yield f"{where}: {one.external_field} {computed}"
    known = OURS.get(one.field, ())
    if known and not one.is_table:
        yield f"{where}: without value_mapping, only values that are the same on both sides can pass"
    if known and one.is_table and one.direction != "in":
        for missing in [value for value in known if value not in one.values]:
            yield f"{where}: {missing!r} is not mapped: the ticket keeps its value and the conflict stays open"
    images: dict[str, list[str]] = {}
    for ours, theirs in one.values.items():
        images.setdefault(theirs, []).append(ours)
    for theirs, meant in images.items():
        if len(meant) > 1 and one.direction != "out":
            yield _not_invertible(where, theirs, meant, one.inbound.get(theirs))
    for transform in one.transform:
        if transform.startswith("truncate") and one.direction != "out":
            yield f"{where}: {transform} loses the rest of longer texts when somebody edits the ticket's"


def _not_invertible(where: str, theirs: str, meant: list[str], chosen: str | None) -> str:
    choices = " and ".join(meant)
    if chosen is None:
        return f"{where}: {theirs!r} stands for {choices}: where ours is neither, it stays and the conflict is shown"
    return f"{where}: {theirs!r} stands for {choices}: where ours is neither, it is taken for {chosen}"


def preview(mapping: TicketMapping, record: Mapping[str, str]) -> list[dict[str, str]]:
    """What each mapped field of a record (raw values by external field) would mean for an incident."""
    found = []
    for one in mapping.fields:
        theirs = record.get(one.external_field)
        meanings = one.meanings(theirs) if theirs is not None else ()
        if theirs is None:
            note = "not in the record: hidden by an access rule, or no such field"
        elif one.direction == "out":
            note = "is not taken: the mapping lets nothing in"
        elif not meanings:
            note = "unmapped: a conflict, ours stays"
        else:
            note = "" if len(meanings) == 1 else "ambiguous: ours stays"
        found.append(
            {
                "field": one.field,
                "external_field": one.external_field,
                "theirs": theirs or "",
                "ours": " or ".join(meanings),
                "owner": one.source_of_truth,
                "policy": one.conflict_policy,
                "note": note,
            }
        )
    return found
