"""Configuration of a ServiceNow integration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from connectors.kit.configuration import problems

HOSTS: Final = frozenset({"*.service-now.com"})
"""Where instances are; a vanity address is an alias of one of these."""

FIELDS: Final = (
    "short_description",
    "description",
    "state",
    "impact",
    "urgency",
    "priority",
    "category",
    "assignment_group",
    "assigned_to",
    "close_code",
    "close_notes",
)
"""The columns that are followed; ``extra_fields`` adds to them."""

_Column = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,79}$")]


class ServiceNowConfig(BaseModel):
    """``auth`` says what the secret of the kind ``api_token`` is.

    ``basic``: the password of ``username``; ``bearer``: a token; ``oauth``: the secret of the OAuth client
    ``client_id`` (client credentials grant).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str
    auth: Literal["basic", "bearer", "oauth"] = "basic"
    username: str = ""
    client_id: str = ""
    extra_fields: tuple[_Column, ...] = Field((), max_length=30, description="further columns to follow")
    poll_notes: bool = Field(default=True, description="poll sys_journal_field, which its access rules must allow")
    poll_files: bool = Field(default=True, description="poll sys_attachment for new files of linked records")
    poll_deletes: bool = Field(default=False, description="poll sys_audit_delete, which takes an administrator's role")

    @property
    def fields(self) -> tuple[str, ...]:
        """Every column that is followed."""
        return tuple(dict.fromkeys((*FIELDS, *self.extra_fields)))


def check(config: Mapping[str, Any]) -> str:
    """What is wrong with a configuration, or empty; whether loopback is allowed is seen when it is called."""
    if wrong := problems(ServiceNowConfig, config, HOSTS):
        return wrong
    found = ServiceNowConfig.model_validate(dict(config))
    needed = {"basic": found.username, "oauth": found.client_id, "bearer": "-"}
    return (
        "" if needed[found.auth] else f"auth {found.auth} needs {'username' if found.auth == 'basic' else 'client_id'}"
    )
