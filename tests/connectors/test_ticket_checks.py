"""The scheduled check is asked for once in a period, however many ask."""

from __future__ import annotations

from connectors.kit.ticket_checks import Checks
from streams.codec import cloudevents
from streams.domain.ticket_commands import ReconcileTickets
from tests.connectors.examples import integration


def test_a_check_is_due_once_a_period_and_again_in_the_next() -> None:
    checks, jira = Checks(3_600.0), integration("jira")
    first = checks.due(jira, 7_200.0)
    assert first is not None
    assert checks.due(jira, 7_201.0) == first
    checks.done(first)
    assert checks.due(jira, 10_799.0) is None
    assert checks.due(jira, 10_800.0) is not None


def test_two_pollers_send_the_same_command() -> None:
    jira = integration("jira")
    one, other = (Checks(60.0).due(jira, at) for at in (120.0, 179.0))
    assert one is not None
    assert other is not None
    record = one.record("incident-intake")
    envelope, command = cloudevents.decode(record.headers, record.value)
    assert envelope.id == cloudevents.decode(other.record("incident-intake").headers, record.value)[0].id
    assert command == ReconcileTickets("", "system:poller", jira.integration_id)
