"""Loader of the frozen Avro files, their examples and the topic catalogue (packaged with the code).

Layout: ``avro/<type>/<n>.avsc`` (n = 1, 2, ...; never changed once released, R12), ``examples/<type>/<n>/*.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

_ROOT = files(__name__)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic of the catalogue; ``config`` are Kafka topic settings, ``dead_letter`` the DLQ's name or empty.

    ``kept_ms`` is how long a record stays once it is archived (0: for ever, or as ``config`` says).
    """

    name: str
    description: str
    key: str
    owner: str
    partitions: int
    config: Mapping[str, str]
    dead_letter: str = ""
    kept_ms: int = 0


def _names(folder: Traversable) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith((".", "__")))


@cache
def types() -> tuple[str, ...]:
    """Message types that have schema files."""
    return tuple(_names(_ROOT / "avro"))


@cache
def versions(type_: str) -> tuple[int, ...]:
    """Schema numbers of a type, ascending; empty for an unknown type."""
    folder = _ROOT / "avro" / type_
    return tuple(sorted(int(name.removesuffix(".avsc")) for name in _names(folder))) if folder.is_dir() else ()


def schema_bytes(type_: str, number: int) -> bytes:
    """The frozen file as it is; raises ``FileNotFoundError`` where there is none."""
    return (_ROOT / "avro" / type_ / f"{number}.avsc").read_bytes()


def examples(type_: str, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Example data of a schema: (file name, JSON object); bytes are given as base64 text."""
    folder = _ROOT / "examples" / type_ / str(number)
    for name in _names(folder) if folder.is_dir() else ():
        yield name, json.loads((folder / name).read_text())


@cache
def topics() -> tuple[TopicSpec, ...]:
    """The topic catalogue, in file order."""
    catalogue = yaml.safe_load((_ROOT / "topics.yaml").read_text())
    return tuple(
        TopicSpec(
            name=name,
            description=entry["description"],
            key=entry["key"],
            owner=entry["owner"],
            partitions=catalogue["partitions"],
            config=entry["config"],
            dead_letter=entry.get("dead_letter", ""),
            kept_ms=entry.get("kept_ms", 0),
        )
        for name, entry in catalogue["topics"].items()
    )


def rule_set_schema() -> bytes:
    """The JSON schema of rule set files."""
    return (_ROOT / "rule_set.schema.json").read_bytes()


def mapping_schema() -> bytes:
    """The JSON schema of mapping files."""
    return (_ROOT / "mapping.schema.json").read_bytes()


def default_mapping(connector: str) -> str:
    """The mapping file that a ticket system begins with; raises ``FileNotFoundError`` for one that has none."""
    return (_ROOT / "mappings" / f"{connector}.yaml").read_text()
