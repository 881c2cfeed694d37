"""Configuration of a Jira integration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from connectors.kit.configuration import problems

HOSTS: Final = frozenset({"*.atlassian.net", "api.atlassian.com"})
"""Where sites are; ``api.atlassian.com/ex/jira/<cloud id>`` is the address for tokens with scopes."""

FIELDS: Final = ("summary", "description", "priority", "status", "status_category", "resolution", "assignee")
"""The fields that are followed; ``extra_fields`` adds to them."""

FieldKind = Literal["text", "number", "option"]


class JiraConfig(BaseModel):
    """``email`` is the account whose API token the secret of the kind ``api_token`` is; empty: it is a bearer token.

    ``account_id`` is the same account as Jira names it: its changes are ours (empty: it is asked for when needed).
    ``resolution`` and ``transition_fields`` fill what the screens of transitions demand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    email: str = ""
    project: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{1,254}$")]
    issue_type: str = Field("Incident", min_length=1)
    account_id: str = ""
    resolution: str = Field("Done", description="of issues that are resolved, where the screen demands one")
    duplicate_resolution: str = Field("Duplicate", description="of a duplicate that is retired")
    transition_fields: dict[str, Any] = Field(
        default_factory=dict, description="further required fields, as Jira wants them"
    )
    extra_fields: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")], FieldKind] = Field(
        default_factory=dict, max_length=30, description="further fields to follow, such as customfield_10035: option"
    )

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field that is followed."""
        return tuple(dict.fromkeys((*FIELDS, *self.extra_fields)))


def check(config: Mapping[str, Any]) -> str:
    """What is wrong with a configuration, or empty; whether loopback is allowed is seen when it is called."""
    return problems(JiraConfig, config, HOSTS)
