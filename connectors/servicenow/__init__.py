"""ServiceNow: incidents as tickets, in and out; webhooks from the Business Rule of docs/itsm-servicenow.md."""

from __future__ import annotations

from connectors.kit.contract import Connector
from connectors.servicenow.client import ServiceNowTickets
from connectors.servicenow.config import check
from connectors.servicenow.inbound import ServiceNowReceives

CONNECTOR = Connector(
    name="servicenow",
    receives=ServiceNowReceives(),
    tickets=ServiceNowTickets(),
    check_config=check,
)
