"""Mappings of foreign CloudEvents: data, checked before it is used."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.cloudevents.config import check
from connectors.cloudevents.inbound import preview
from connectors.cloudevents.mapping import InvalidMapping, compile_mapping
from connectors.kit.contract import Unparseable
from tests.connectors.examples import canonical_event

MONITOR = {
    "rules": [
        {"type": "com.example.ping", "fields": {"title": {"value": "ping"}, "severity": {"value": "SEV-5"}}},
        {
            "type": "com.example.monitor.*",
            "fields": {
                "title": {"path": "$.data.name"},
                "status": {"path": "$.data.state", "values": {"ok": "resolved"}, "default": "firing"},
                "severity": {"path": "$.data.level", "values": {"3": "SEV-1", "true": "SEV-2"}, "default": "SEV-3"},
                "service": {"paths": ["$.data.service", "$.source"]},
                "host": {"path": "$..hostname"},
                "event_time": {"path": "$.data.at"},
            },
            "labels": {"region": {"path": "$.data.tags[0]"}, "none": {"path": "$.data.none"}},
        },
    ]
}


def shown(data: Any, type_: str = "com.example.monitor.cpu") -> dict[str, Any]:
    return preview(MONITOR, canonical_event(type=type_, data=data))


def test_paths_tables_and_defaults() -> None:
    found = shown(
        {"name": "CPU", "state": "ok", "level": 3, "deep": [{"hostname": "web-1"}], "tags": ["eu"], "at": 5000}
    )
    assert found["rule"] == 1
    signal = found["signal"]
    assert (signal["title"], signal["status"], signal["severity"]) == ("CPU", "resolved", "SEV-1")
    assert (signal["service"], signal["host"]) == ("https://monitor.example.org", "web-1")
    assert signal["labels"] == {"region": "eu"}
    assert signal["event_time"] == 5000


def test_what_is_not_in_the_table_gets_the_default() -> None:
    signal = shown({"name": "CPU", "state": "odd", "level": True})["signal"]
    assert (signal["status"], signal["severity"]) == ("firing", "SEV-2")


def test_the_first_rule_that_fits_counts() -> None:
    assert shown({}, "com.example.ping")["signal"]["title"] == "ping"
    assert shown({}, "com.example.other") == {"rule": -1, "signal": None}


def test_what_a_rule_cannot_make_is_said() -> None:
    with pytest.raises(Unparseable, match="title is missing"):
        shown({})


@pytest.mark.parametrize("odd", [[], "x", 3, None, {"name": []}])
def test_a_path_finds_nothing_in_odd_shapes(odd: Any) -> None:
    with pytest.raises(Unparseable, match="title"):
        shown(odd)


@pytest.mark.parametrize("tags", [{"0": 1}, [], 3, None])
def test_an_optional_path_may_find_nothing(tags: Any) -> None:
    assert shown({"name": "n", "tags": tags})["signal"]["labels"] == {}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"rules": []},
        {"rules": [{"type": "x"}]},
        {"rules": [{"type": "x", "fields": {}}]},
        {"rules": [{"type": "x", "fields": {"title": {"path": "$.["}}}]},
        {"rules": [{"type": "x", "fields": {"title": {}}}]},
        {"rules": [{"type": "x", "fields": {"title": {"value": "t"}, "tenant_id": {"value": "other"}}}]},
        {"rules": [{"type": "x", "fields": {"title": {"value": "t"}}, "labels": {"a": {"path": ""}}}]},
        {"rules": [{"type": "x", "fields": {"title": {"value": "t"}}}], "more": 1},
    ],
)
def test_bad_documents_are_refused(document: Any) -> None:
    with pytest.raises(InvalidMapping):
        compile_mapping(document)
    assert check({"mapping": document})


def test_good_ones_are_not() -> None:
    assert check({"mapping": MONITOR}) == ""
    assert check({}) == ""
    assert check({"maping": MONITOR})
