"""Jira: webhooks, configuration, documents and values."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from connectors.jira.config import JiraConfig, check
from connectors.jira.documents import document, plain
from connectors.jira.inbound import JiraReceives
from connectors.jira.issues import milliseconds, written
from connectors.jira.searching import quoted
from connectors.jira.signature import sign, verify
from connectors.kit.contract import Delivery
from connectors.kit.markers import marker
from infra.fakes.jira import fields as people
from streams.domain.tickets import TicketObserved
from tests.connectors.examples import CONFIGS, integration, payload
from tests.connectors.ticket_system import MARKER

CONFIG = {"email": "me@x", "project": "OPS"}
SETTINGS = JiraConfig(base_url="https://acme.atlassian.net", project="OPS", extra_fields={"customfield_1": "option"})
MIA = next(iter(people.PEOPLE))


def parsed(body: Any) -> list[Any]:
    return JiraReceives().parse(integration("jira"), Delivery(orjson.dumps(body), {}), body)


def updated(**changes: Any) -> dict[str, Any]:
    return {**orjson.loads(payload("jira", "issue_updated")), **changes}


def test_an_updated_issue_is_seen_with_its_own_time() -> None:
    [(envelope, seen)] = parsed(updated())
    assert isinstance(seen, TicketObserved)
    assert (envelope.source, envelope.time) == ("/integrations/jira/int_1", "2026-11-22T10:00:00.123Z")
    assert (seen.external_id, seen.external_key) == ("10042", "OPS-42")
    assert (seen.marker, seen.version, seen.updated_by) == (MARKER, 1_795_341_600_123, MIA)
    assert seen.url == "https://acme.atlassian.net/browse/OPS-42"
    assert seen.fields == {
        "summary": "Checkout: 5xx above 5 %",
        "priority": "High",
        "status": "In Progress",
        "status_category": "indeterminate",
        "resolution": "",
        "assignee": "5b10ac8d82e05b22cc7d4ef5",
    }


def test_further_fields_are_followed_where_configured() -> None:
    config = {**CONFIGS["jira"], "extra_fields": {"customfield_10035": "option"}}
    body = updated()
    [(_, seen)] = JiraReceives().parse(integration("jira", config), Delivery(orjson.dumps(body), {}), body)
    assert isinstance(seen, TicketObserved)
    assert seen.fields["customfield_10035"] == "Platform"


def test_a_comment_that_is_told_twice_is_one_note() -> None:
    comment = orjson.loads(payload("jira", "comment_created"))
    [(envelope, note)] = parsed(comment)
    assert (note.action, note.external_id, note.actor) == ("note", "10042", "jira:Mia Krystof")
    assert note.text == "The vendor confirms an outage."
    both = parsed(updated(comment=comment["comment"], issue_event_type_name="issue_commented"))
    assert [one[0].id for one in both][1] == envelope.id
    for one in both:  # each raw body parses to its message alone
        assert parsed(orjson.loads(one[1].raw)) == [one]
    edited = parsed(updated(comment=comment["comment"], issue_event_type_name="issue_comment_edited"))
    assert len(edited) == 1


def test_our_own_comment_does_not_come_back() -> None:
    comment = orjson.loads(payload("jira", "comment_created"))
    comment["comment"]["body"] = f"rolled back\n\n{marker('k1')}"
    [(_, note)] = parsed(comment)
    assert note.action == "none"


def test_deleted_unknown_and_broken_deliveries() -> None:
    [(_, gone)] = parsed(updated(webhookEvent="jira:issue_deleted"))
    assert gone.deleted
    [(_, kept)] = parsed({"webhookEvent": "worklog_created", "worklog": {}})
    assert (kept.action, kept.problem) == ("none", "")
    for broken in (
        None,
        {},
        {"webhookEvent": 1},
        updated(issue={}),
        {"webhookEvent": "comment_created", "issue": {"id": "1"}},
    ):
        [(_, data)] = parsed(broken)
        assert data.problem or data.action == "none"
    junk: dict[str, Any]
    for junk in (
        {"issue": {"id": 7, "fields": 1}},
        {"issue": {"id": "7", "fields": {"labels": 1, "status": []}}},
        {"user": []},
    ):
        assert parsed(updated(**junk))


def test_the_published_vector_of_the_signature() -> None:
    body, secret = b"Hello World!", "It's a Secret to Everybody"
    header = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    assert sign(body, secret) == header
    assert verify(body, header, ["other", secret])
    assert not verify(body, header.replace("sha256", "sha1"), [secret])
    assert not verify(body, header.upper(), [secret])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"base_url": "https://evil.example"}, "base_url: host must be one of"),
        ({"base_url": "https://atlassian.net"}, "base_url: host must be one of"),
        ({"project": "ops"}, "project: "),
        ({"extra_fields": {"customfield_1": "list"}}, "extra_fields"),
        ({"token": "x"}, "token: Extra inputs are not permitted"),
    ],
)
def test_configurations_that_are_refused(change: dict[str, Any], why: str) -> None:
    assert check(CONFIGS["jira"]) == ""
    assert check({**CONFIGS["jira"], "base_url": "https://api.atlassian.com/ex/jira/11223344"}) == ""
    assert check({**CONFIGS["jira"], **change}).startswith(why)


@pytest.mark.parametrize("text", ["", "one line", "two\nlines", "with\n\na gap", "  spaces  kept"])
def test_a_text_survives_the_document_format(text: str) -> None:
    assert plain(document(text)) == text


def test_the_text_of_a_formatted_document() -> None:
    item = {"type": "listItem", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "first"}]}]}
    inline = [{"type": "text", "text": "ask "}, {"type": "mention", "attrs": {"text": "@Mia"}}, {"type": "hardBreak"}]
    body = [
        {"type": "heading", "content": [{"type": "text", "text": "Steps"}]},
        {"type": "bulletList", "content": [item, item]},
        {"type": "paragraph", "content": [*inline, {"type": "inlineCard", "attrs": {"url": "https://x"}}]},
        {"type": "rule"},
    ]
    assert plain({"type": "doc", "content": body}) == "Steps\nfirst\nfirst\nask @Mia\nhttps://x"
    assert plain({"type": "doc", "content": 7}) == ""
    deep: dict[str, Any] = {"type": "text", "text": "x"}
    for _ in range(2_000):
        deep = {"type": "panel", "content": [deep]}
    assert plain(deep) == ""


def test_values_as_jira_wants_them() -> None:
    assert written(SETTINGS, "summary", " a\nb ") == "a b"
    assert written(SETTINGS, "priority", "High") == {"name": "High"}
    assert written(SETTINGS, "assignee", "") == {"accountId": None}
    assert written(SETTINGS, "customfield_1", "Platform") == {"value": "Platform"}
    assert written(SETTINGS, "customfield_1", "") is None
    number = JiraConfig(base_url="https://x.atlassian.net", project="OPS", extra_fields={"n": "number"})
    assert written(number, "n", "1.5") == 1.5
    with pytest.raises(ValueError, match="could not convert"):
        written(number, "n", "many")


def test_times_and_quotes() -> None:
    assert milliseconds("2026-11-22T10:00:00.123+0000") == 1_795_341_600_123
    assert milliseconds("2026-11-22T11:00:00.123+0100") == 1_795_341_600_123
    for junk in (None, "", "soon", "0001-01-01T00:00:00.000+0000", 7):
        assert milliseconds(junk) == 0
    assert quoted('a" OR b = "c\\') == 'a\\" OR b = \\"c\\\\'
