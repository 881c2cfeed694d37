"""Configuration of a PagerDuty integration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from connectors.kit.configuration import problems

HOSTS = frozenset({"api.pagerduty.com", "api.eu.pagerduty.com"})
"""The REST API's hosts, by service region (https://developer.pagerduty.com/docs/service-regions)."""


class PagerDutyConfig(BaseModel):
    """``api_url`` and ``from_email`` are for side effects, which also need a secret of the kind ``api_token``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_url: str = "https://api.pagerduty.com"
    from_email: str = Field("", description="of a PagerDuty user; account-level API keys need it")


class RecordsConfig(PagerDutyConfig):
    """Of linked records: ``service_id`` is where incidents are made, ``user_id`` the user whose changes are ours."""

    service_id: str = Field(pattern=r"^[0-9A-Z]{1,64}$")
    user_id: str = Field("", max_length=64, description="of the user behind from_email, or behind a user's own key")


def check_records(config: Mapping[str, Any]) -> str:
    """As ``check``, for linked records."""
    return problems(RecordsConfig, config, HOSTS, "api_url")


def check(config: Mapping[str, Any]) -> str:
    """What is wrong with a configuration, or empty; whether loopback is allowed is seen when it is called."""
    return problems(PagerDutyConfig, config, HOSTS, "api_url")
