"""ServiceNow: incidents as tickets, in and out; webhooks from the Business Rule of docs/itsm-servicenow.md."""

from __future__ import annotations

from connectors.kit.contract import Connector
from connectors.servicenow.authentication import Authentication
from connectors.servicenow.client import ServiceNowTickets
from connectors.servicenow.config import check
from connectors.servicenow.files import ServiceNowFiles
from connectors.servicenow.inbound import ServiceNowReceives

_AUTHENTICATION = Authentication()

CONNECTOR = Connector(
    name="servicenow",
    receives=ServiceNowReceives(),
    tickets=ServiceNowTickets(_AUTHENTICATION),
    files=ServiceNowFiles(_AUTHENTICATION),
    check_config=check,
)
