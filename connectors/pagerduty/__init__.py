"""PagerDuty: V3 webhooks in; acknowledge, resolve and note out."""

from __future__ import annotations

from connectors.kit.contract import Connector
from connectors.pagerduty.client import PagerDutySends
from connectors.pagerduty.config import check
from connectors.pagerduty.inbound import PagerDutyReceives

CONNECTOR = Connector(
    name="pagerduty",
    receives=PagerDutyReceives(),
    sends=PagerDutySends(),
    check_config=check,
    issues_secret=True,
)
