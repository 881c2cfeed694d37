"""Every connector, one line each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from connectors import alertmanager, cloudevents, incidentio, jira, pagerduty, servicenow
from connectors.kit.contract import Connector

CONNECTORS: Final[Mapping[str, Connector]] = {
    connector.name: connector
    for connector in (
        pagerduty.CONNECTOR,
        pagerduty.RECORDS,
        alertmanager.CONNECTOR,
        cloudevents.CONNECTOR,
        servicenow.CONNECTOR,
        jira.CONNECTOR,
        incidentio.CONNECTOR,
    )
}
