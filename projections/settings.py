"""Settings of the PostgreSQL connections, read from the environment by the entry points."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Role = Literal["owner", "api", "projector"]


class DatabaseSettings(BaseSettings):
    """Connection URLs, one for each role (environment prefix ``DATABASE_``).

    Where only ``DATABASE_URL`` is set, its user is the owner of the schema and the processes switch to the narrower
    role at connect time; in production the other two name logins of their own, so that no session can switch back.
    """

    model_config = SettingsConfigDict(env_prefix="DATABASE_", extra="ignore", env_ignore_empty=True)

    url: SecretStr = Field(
        SecretStr("postgresql://incidents@127.0.0.1:15432/incidents"), description="owner: migrations and backups"
    )
    api_url: SecretStr = Field(SecretStr(""), description="login of the API: member of incidents_api, subject to RLS")
    projector_url: SecretStr = Field(
        SecretStr(""), description="login of projector, dispatcher and scheduler: incidents_projector, BYPASSRLS"
    )

    def conninfo(self, role: Role) -> tuple[str, str]:
        """The URL to connect to and the role to ``SET`` on connecting (empty for the owner).

        Role is ``owner`` (migrations), ``api`` or ``projector``. A login of its own still switches: BYPASSRLS is an
        attribute of the role and is not inherited by its members.
        """
        own = {"owner": self.url, "api": self.api_url, "projector": self.projector_url}[role].get_secret_value()
        return own or self.url.get_secret_value(), "" if role == "owner" else f"incidents_{role}"
