"""What webhooks say of files, and the settings and digests that count, without any provider."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.jira.files import files_of
from connectors.jira.inbound import JiraReceives
from connectors.kit.contract import Delivery
from connectors.kit.dispatcher import DispatcherSettings
from connectors.kit.file_attempt import digest_of
from connectors.servicenow.inbound import ServiceNowReceives
from streams.domain.ticket_files import FilesObserved
from tests.connectors.examples import integration


@pytest.mark.parametrize("given", ["status.example/{key}", "https://status.example/", "javascript:{key}"])
def test_addresses_of_incidents_that_are_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        DispatcherSettings(permalink=given)
    assert DispatcherSettings(permalink="https://status.example/{id}").permalink


def parsed(name: str, document: Any) -> list[Any]:
    import orjson

    receives: Any = {"servicenow": ServiceNowReceives(), "jira": JiraReceives()}[name]
    return list(receives.parse(integration(name), Delivery(orjson.dumps(document), {}), document))


def test_webhooks_tell_which_files_there_are() -> None:
    import orjson

    [(first, seen)] = parsed(
        "servicenow", {"event": "incident.attachment", "sys_id": "s1", "attachments": ["b", "a"], "at": "17"}
    )
    assert isinstance(seen, FilesObserved)
    assert (seen.external_id, seen.file_ids, seen.complete, seen.origin) == ("s1", ("a", "b"), True, "webhook")
    assert parsed("servicenow", orjson.loads(seen.raw)) == [(first, seen)]
    later = {"event": "incident.attachment", "sys_id": "s1", "attachments": ["a", "b"], "at": "18"}
    assert parsed("servicenow", later)[0][0].id != first.id, "a state that came again is told again"
    issue = {"id": "10001", "key": "OPS-1", "fields": {"summary": "x", "attachment": [{"id": "7", "filename": "a"}]}}
    told = parsed("jira", {"webhookEvent": "jira:issue_updated", "issue": issue})
    [(_, ticket), (envelope, files)] = told
    assert ticket.fields == {"summary": "x"}
    assert (files.external_id, files.file_ids, files.complete) == ("10001", ("7",), True)
    for one in told:
        assert parsed("jira", orjson.loads(one[1].raw)) == [one]
    del issue["fields"]["attachment"]  # type: ignore[attr-defined]
    assert len(parsed("jira", {"webhookEvent": "jira:issue_updated", "issue": issue})) == 1
    assert envelope.id


@pytest.mark.parametrize(
    "junk", [None, 1, "x", [1, None, "y"], [{"id": None}], [{"id": 5, "size": "many", "author": 3}], [{"size": True}]]
)
def test_junk_in_the_place_of_files_is_no_accident(junk: Any) -> None:
    issue = {"id": "10001", "fields": {"attachment": junk}}
    assert parsed("jira", {"webhookEvent": "jira:issue_updated", "issue": issue})
    assert parsed("jira", {"webhookEvent": "issue_attachments", "issue": issue})
    assert parsed("servicenow", {"event": "incident.attachment", "sys_id": "s1", "attachments": junk})
    assert all(one.size == 0 for one in files_of(junk))


def test_only_a_sha256_counts_as_a_digest() -> None:
    digest = hashlib.sha256(os.urandom(3)).hexdigest()
    assert digest_of(digest.upper()) == digest
    assert digest_of(digest[:32]) == ""
    assert digest_of("z" * 64) == ""
