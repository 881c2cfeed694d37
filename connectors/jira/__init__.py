"""Jira: issues as tickets, in and out; webhooks with a WebSub signature."""

from __future__ import annotations

from connectors.jira.client import JiraTickets
from connectors.jira.config import check
from connectors.jira.files import JiraFiles
from connectors.jira.inbound import JiraReceives
from connectors.kit.contract import Connector

CONNECTOR = Connector(
    name="jira",
    receives=JiraReceives(),
    tickets=JiraTickets(),
    files=JiraFiles(),
    check_config=check,
)
