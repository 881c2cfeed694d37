"""Any CloudEvent in, by a mapping that is data; structured, binary and batched over HTTP."""

from __future__ import annotations

from connectors.cloudevents.config import check
from connectors.cloudevents.inbound import CloudEventsReceives
from connectors.kit.contract import Connector

CONNECTOR = Connector(name="cloudevents", receives=CloudEventsReceives(), check_config=check)
