"""Configuration of a PagerDuty integration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.kit.http import refused_url

HOSTS = frozenset({"api.pagerduty.com", "api.eu.pagerduty.com"})
"""The REST API's hosts, by service region (https://developer.pagerduty.com/docs/service-regions)."""


class PagerDutyConfig(BaseModel):
    """``api_url`` and ``from_email`` are for side effects, which also need a secret of the kind ``api_token``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_url: str = "https://api.pagerduty.com"
    from_email: str = Field("", description="of a PagerDuty user; account-level API keys need it")


def check(config: Mapping[str, Any]) -> str:
    """What is wrong with a configuration, or empty; whether loopback is allowed is seen when it is called."""
    try:
        PagerDutyConfig.model_validate(dict(config))
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    if why := refused_url(str(config.get("api_url", "https://api.pagerduty.com")), HOSTS, allow_loopback=True):
        return f"api_url: {why}"
    return ""
