"""A mapping: data that says how a foreign CloudEvent becomes the canonical signal.

A document has rules, tried in order; the first whose ``type`` pattern (``*`` stands for anything) fits the event's type
is used. Each field of the signal is an expression over the whole event: a JSONPath, several of them (the first that is
there counts), or a fixed value; then a table of values; then a default. For example::

    {"rules": [{
        "type": "com.example.monitor.*",
        "fields": {
            "title": {"path": "$.data.name"},
            "status": {"path": "$.data.state", "values": {"ok": "resolved"}, "default": "firing"},
            "severity": {"path": "$.data.level", "values": {"fatal": "SEV-1"}, "default": "SEV-3"},
            "service": {"paths": ["$.data.service", "$.source"]}
        },
        "labels": {"region": {"path": "$.data.region"}}
    }]}
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator

from connectors.cloudevents.paths import InvalidPath, getter
from streams.domain.errors import IncidentsError

FIELDS: Final = (
    "title",
    "status",
    "fingerprint",
    "severity",
    "service",
    "host",
    "error_type",
    "rule",
    "kind",
    "description",
    "event_time",
    "external_id",
)
"""What a mapping may fill; the rest of a signal is not the sender's to say."""

_NAMED: Final = {"type": "object", "additionalProperties": {"$ref": "#/$defs/expression"}, "maxProperties": 64}
_SCALAR: Final = {"type": ["string", "number", "boolean"]}
SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Mapping of CloudEvents to signals",
    "type": "object",
    "required": ["rules"],
    "additionalProperties": False,
    "properties": {"rules": {"type": "array", "minItems": 1, "maxItems": 100, "items": {"$ref": "#/$defs/rule"}}},
    "$defs": {
        "rule": {
            "type": "object",
            "required": ["type", "fields"],
            "additionalProperties": False,
            "properties": {
                "type": {"type": "string", "minLength": 1, "maxLength": 256},
                "fields": {
                    "type": "object",
                    "required": ["title"],
                    "additionalProperties": False,
                    "properties": {name: {"$ref": "#/$defs/expression"} for name in FIELDS},
                },
                "labels": _NAMED,
                "links": _NAMED,
            },
        },
        "expression": {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "properties": {
                "path": {"type": "string", "maxLength": 512},
                "paths": {"type": "array", "items": {"type": "string", "maxLength": 512}, "minItems": 1, "maxItems": 8},
                "value": _SCALAR,
                "values": {"type": "object", "additionalProperties": _SCALAR, "maxProperties": 256},
                "default": _SCALAR,
            },
        },
    },
}
"""The JSON Schema (2020-12) of a mapping document."""

Expression = Callable[[Any], Any]


class InvalidMapping(IncidentsError):  # noqa: N818
    """A mapping document that cannot be used; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule; ``index`` is its place in the document."""

    index: int
    fits: re.Pattern[str]
    fields: Mapping[str, Expression]
    labels: Mapping[str, Expression]
    links: Mapping[str, Expression]

    def apply(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The canonical data of an event; what an expression does not find is left out."""
        data = _evaluate(self.fields, event)
        for name, expressions in (("labels", self.labels), ("links", self.links)):
            if expressions and (found := _evaluate(expressions, event)):
                data[name] = {key: _as_text(value) for key, value in found.items()}
        return data


@dataclass(frozen=True, slots=True)
class CompiledMapping:
    """A mapping that is ready for use."""

    rules: tuple[Rule, ...]

    def rule_for(self, type_: str) -> Rule | None:
        """The first rule that fits a type."""
        return next((rule for rule in self.rules if rule.fits.match(type_)), None)


def compile_mapping(document: Any) -> CompiledMapping:
    """Check and compile a mapping document (compiled ones are remembered); raises ``InvalidMapping``."""
    return _compiled(orjson.dumps(document))


@lru_cache(maxsize=256)
def _compiled(text: bytes) -> CompiledMapping:
    document = orjson.loads(text)
    error = next(iter(Draft202012Validator(SCHEMA).iter_errors(document)), None)
    if error is not None:
        raise InvalidMapping(f"{error.json_path}: {error.message[:200]}")
    return CompiledMapping(tuple(_rule(index, rule) for index, rule in enumerate(document["rules"])))


def _rule(index: int, rule: Mapping[str, Any]) -> Rule:
    def expressions(name: str) -> dict[str, Expression]:
        found = {}
        for field, expression in rule.get(name, {}).items():
            try:
                found[field] = _expression(expression)
            except InvalidPath as error:
                raise InvalidMapping(f"$.rules[{index}].{name}.{field}: {error}") from error
        return found

    fits = re.compile(fnmatch.translate(rule["type"]))
    return Rule(index, fits, expressions("fields"), expressions("labels"), expressions("links"))


def _expression(expression: Mapping[str, Any]) -> Expression:
    paths = [*([expression["path"]] if "path" in expression else ()), *expression.get("paths", ())]
    getters = [getter(path) for path in paths]
    fixed, table, default = expression.get("value"), expression.get("values", {}), expression.get("default")

    def evaluate(event: Any) -> Any:
        value = fixed
        for get in getters:
            if (value := get(event)) is not None:
                break
        if value is None:
            return default
        if table:
            return table.get(_as_text(value), value if default is None else default)
        return value

    return evaluate


def _evaluate(expressions: Mapping[str, Expression], event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, expression in expressions.items() if (value := expression(event)) is not None}


def _as_text(value: Any) -> str:
    """As it would be written in JSON: ``true``, ``3``; texts as they are."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
