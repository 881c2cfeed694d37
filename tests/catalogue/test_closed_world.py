"""File, example, data class, catalogue and topic name each other, and none is left over."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, get_args

import fastavro
import pytest

import schemas
from streams.codec import avro
from streams.domain import commands, events, outputs, signals
from streams.domain.catalogue import BY_TYPE, CATALOGUE, TYPE_OF
from streams.domain.lifecycle import diagram
from streams.domain.ticket_files import FilesObserved
from streams.domain.tickets import TicketObserved
from tests.catalogue.reading import example_of

ROOT = Path(__file__).parents[2]
FROZEN = ROOT / "schemas" / "frozen.json"
KEBAB = re.compile(r"[a-z]+(-[a-z]+)*")


def every_schema() -> list[tuple[str, int]]:
    return [(type_, number) for type_ in schemas.types() for number in schemas.versions(type_)]


def test_every_type_has_a_schema_and_every_schema_a_type() -> None:
    assert set(schemas.types()) == set(BY_TYPE)


def test_every_data_class_is_in_the_catalogue_once() -> None:
    named = [*get_args(events.Event), *get_args(commands.Command), *get_args(outputs.CommandResult)]
    named += [outputs.Intent, signals.Signal, TicketObserved, FilesObserved]
    assert sorted(map(repr, named)) == sorted(repr(spec.data) for spec in CATALOGUE)
    assert len(TYPE_OF) == len(CATALOGUE)


def test_every_topic_named_exists_and_every_topic_is_used() -> None:
    known = {spec.name for spec in schemas.topics()}
    used = {topic for spec in CATALOGUE for topic in spec.topics}
    dead_letters = {spec.dead_letter for spec in schemas.topics() if spec.dead_letter}
    assert used | dead_letters | {"orchestrator-state"} == known


@pytest.mark.parametrize("topic", schemas.topics(), ids=lambda topic: topic.name)
def test_topics_are_well_named_owned_and_keyed_alike(topic: schemas.TopicSpec) -> None:
    assert KEBAB.fullmatch(topic.name)
    assert topic.owner
    assert topic.partitions == schemas.topics()[0].partitions
    assert topic.config.get("cleanup.policy") == "compact" or "retention.ms" in topic.config


@pytest.mark.parametrize("type_", schemas.types())
def test_versions_run_from_one_without_a_gap_and_each_has_an_example(type_: str) -> None:
    numbers = schemas.versions(type_)
    assert numbers == tuple(range(1, len(numbers) + 1))
    assert all(list(schemas.examples(type_, number)) for number in numbers)


def test_no_example_is_left_over() -> None:
    folders = {(p.parent.name, int(p.name)) for p in (ROOT / "schemas" / "examples").glob("*/*")}
    assert folders == set(every_schema())


@pytest.mark.parametrize(("type_", "number"), every_schema())
def test_every_example_of_every_version_decodes_with_the_newest_reader(type_: str, number: int) -> None:
    writer = fastavro.parse_schema(json.loads(schemas.schema_bytes(type_, number)), named_schemas={})
    for name, example in schemas.examples(type_, number):
        data = avro.decode(type_, avro.data_schema(type_, number), example_of(writer, example))
        assert type(data) is BY_TYPE[type_].data, name


@pytest.mark.parametrize("spec", CATALOGUE, ids=lambda spec: spec.type)
def test_the_newest_schema_has_the_fields_of_the_data_class(spec: Any) -> None:
    newest = json.loads(schemas.schema_bytes(spec.type, schemas.versions(spec.type)[-1]))
    assert [f["name"] for f in newest["fields"]] == [f.name for f in dataclasses.fields(spec.data)]
    assert newest["name"] == spec.data.__name__


def frozen_hashes() -> dict[str, str]:
    return {f"{t}/{n}": hashlib.sha256(schemas.schema_bytes(t, n)).hexdigest() for t, n in every_schema()}


def check_frozen(frozen: dict[str, str], found: dict[str, str]) -> None:
    """Raise ``AssertionError`` when a released file was changed or removed, or a new one is not frozen yet."""
    assert {name: found.get(name) for name in frozen} == frozen, "a released schema never changes: add the next number"
    assert set(found) == set(frozen), "freeze new schemas: make test UPDATE=1"


def test_released_schemas_did_not_change() -> None:
    if os.environ.get("UPDATE"):
        kept = json.loads(FROZEN.read_text()) if FROZEN.exists() else {}
        FROZEN.write_text(json.dumps(frozen_hashes() | kept, indent=2, sort_keys=True) + "\n")
    check_frozen(json.loads(FROZEN.read_text()), frozen_hashes())


def test_a_changed_a_removed_and_a_new_schema_are_noticed() -> None:
    frozen = {"a/1": "x"}
    for found in ({"a/1": "y"}, {}, {"a/1": "x", "a/2": "z"}):
        with pytest.raises(AssertionError):
            check_frozen(frozen, found)


def test_the_lifecycle_diagram_is_the_table() -> None:
    page = ROOT / "docs" / "lifecycle.md"
    text = (
        "# Lifecycle\n\nDrawn from `streams/domain/lifecycle.py`; a test compares them.\n\n"
        f"```mermaid\n{diagram()}```\n\nAcknowledgement is an attribute of an incident, not a state.\n"
    )
    if os.environ.get("UPDATE"):
        page.write_text(text)
    assert page.read_text() == text
