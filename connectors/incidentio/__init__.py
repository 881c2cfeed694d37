"""incident.io: incidents as linked records, in and out; webhooks signed as Standard Webhooks (Svix)."""

from __future__ import annotations

from connectors.incidentio.client import IncidentIoTickets
from connectors.incidentio.config import check
from connectors.incidentio.inbound import IncidentIoReceives
from connectors.kit.contract import Connector

CONNECTOR = Connector(
    name="incidentio",
    receives=IncidentIoReceives(),
    tickets=IncidentIoTickets(),
    check_config=check,
    issues_secret=True,
)
