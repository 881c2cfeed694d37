"""Configuration of an incident.io integration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from connectors.kit.configuration import problems

HOSTS: Final = frozenset({"api.incident.io"})

FIELDS: Final = ("name", "summary", "severity", "status", "status_category")
"""What is followed: severity and status by name, and the category of the status, which is the same in every account."""

_Id = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,64}$")]


class IncidentIoConfig(BaseModel):
    """``marker_field_id`` is a custom field of single-line text that holds our marker.

    ``api_key_id`` is our API key as incident.io names it: what it changed is ours (empty: what any API key changed).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = "https://api.incident.io"
    marker_field_id: _Id
    visibility: Literal["public", "private"] = "public"
    incident_type_id: _Id | None = None
    api_key_id: str = Field("", max_length=64)


def check(config: Mapping[str, Any]) -> str:
    """What is wrong with a configuration, or empty; whether loopback is allowed is seen when it is called."""
    return problems(IncidentIoConfig, config, HOSTS)
