"""Mapping files: what is refused, what is warned of, and what a record would mean."""

from __future__ import annotations

import pytest

from schemas import default_mapping
from streams.agents.mapping_files import BadMapping, lint, parse, preview

MINIMAL = """
servicenow:
  field_mappings:
    status: {external_field: state, source_of_truth: internal, conflict_policy: state_machine,
             value_mapping: {open: "2", mitigated: "6", resolved: "6", closed: "7"}}
"""


@pytest.mark.parametrize("connector", ["servicenow", "jira", "incidentio", "pagerduty_records"])
def test_the_defaults_can_be_used(connector: str) -> None:
    found = parse(default_mapping(connector))
    assert found.mapping.connector == connector
    assert {"title", "severity", "status"} <= {one.field for one in found.mapping.fields}
    command = found.command("int_1", "user:ada")
    assert (command.integration_id, command.fields) == ("int_1", found.mapping.fields)


def test_the_shape_that_users_know_is_read() -> None:
    [status] = parse(MINIMAL).mapping.fields
    assert (status.image("mitigated"), status.meanings("6")) == ("6", ("mitigated", "resolved"))


def test_each_warning_names_its_consequence() -> None:
    warnings = lint(parse(MINIMAL).mapping)
    assert any("'6' stands for mitigated and resolved" in one and "conflict is shown" in one for one in warnings)
    assert any("'canceled' is not mapped" in one and "keeps its value" in one for one in warnings)


def test_comments_that_nobody_takes_are_warned_of() -> None:
    text = default_mapping("incidentio")
    assert not any("takes no notes" in one for one in lint(parse(text).mapping))
    warnings = lint(parse(text.replace("comments: in", "comments: both")).mapping)
    assert any("incidentio takes no notes" in one for one in warnings)


def test_a_file_that_is_no_yaml_is_refused_with_the_reason() -> None:
    for text in ("a: [", "\x07: x"):
        with pytest.raises(BadMapping):
            parse(text)


def test_a_computed_field_is_warned_of() -> None:
    text = MINIMAL.replace("state,", "priority,")
    assert any("computed from impact and urgency" in one for one in lint(parse(text).mapping))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("servicenow:", "remedy:", "remedy"),
        ("state_machine", "coin_toss", "coin_toss"),
        ("mitigated:", "half_open:", "'half_open' is none of"),
        ("status:", "weather:", "weather"),
        ("status:", "title:", "state_machine is for status only"),
        ("servicenow:", "[", "line"),
    ],
)
def test_what_cannot_work_is_refused_with_the_place(old: str, new: str, problem: str) -> None:
    with pytest.raises(BadMapping) as refused:
        parse(MINIMAL.replace(old, new, 1))
    assert any(problem in one for one in refused.value.problems)


def test_a_preview_says_what_a_record_would_mean() -> None:
    mapping = parse(MINIMAL).mapping
    notes = {state: preview(mapping, {"state": state})[0] for state in ("2", "6", "3")}
    assert notes["2"]["ours"] == "open"
    assert notes["6"]["note"] == "ambiguous: ours stays"
    assert notes["3"]["note"] == "unmapped: a conflict, ours stays"
    assert "hidden" in preview(mapping, {})[0]["note"]
