"""Prometheus Alertmanager: webhooks in, one signal for each alert of a group."""

from __future__ import annotations

from connectors.alertmanager.config import check
from connectors.alertmanager.inbound import AlertmanagerReceives
from connectors.kit.contract import Connector

CONNECTOR = Connector(name="alertmanager", receives=AlertmanagerReceives(), check_config=check)
