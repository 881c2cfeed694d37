"""PagerDuty: V3 webhooks in; acknowledge, resolve and note out. And its incidents as linked records, both ways.

An integration is one or the other: where PagerDuty's incidents are alerts, they make ours; where they are linked
records, they are the same as ours.
"""

from __future__ import annotations

from connectors.kit.contract import Connector
from connectors.pagerduty.client import PagerDutySends
from connectors.pagerduty.config import check, check_records
from connectors.pagerduty.inbound import PagerDutyReceives
from connectors.pagerduty.record_inbound import PagerDutyRecordReceives
from connectors.pagerduty.records import PagerDutyRecords

CONNECTOR = Connector(
    name="pagerduty",
    receives=PagerDutyReceives(),
    sends=PagerDutySends(),
    check_config=check,
    issues_secret=True,
)
RECORDS = Connector(
    name="pagerduty_records",
    receives=PagerDutyRecordReceives(),
    tickets=PagerDutyRecords(),
    check_config=check_records,
    issues_secret=True,
)
