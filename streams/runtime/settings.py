"""Connection settings of Kafka, PostgreSQL and object storage, read from the environment by the entry points.

Nothing here connects or reads the environment at import: an entry point builds the settings once and passes them down.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
DatabaseRole = Literal["owner", "api", "projector"]


class KafkaSettings(BaseSettings):
    """Where Kafka is and how to log in (environment prefix ``KAFKA_``)."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", extra="ignore", env_ignore_empty=True)

    bootstrap_servers: str = Field("127.0.0.1:19092", description="host:port[,host:port...]")
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    ssl_ca_file: str = Field("", description="PEM file of the certificate authority; empty: the system's")
    topic_prefix: str = Field(
        "", description="put before every topic, group and transactional id: one cluster, many environments"
    )
    replication_factor: int = Field(1, ge=1, description="of the topics that the provisioner creates; 3 in production")
    min_insync_replicas: int = Field(1, ge=1, description="of the same topics; 2 in production")

    def librdkafka(self) -> dict[str, str | int | float | bool]:
        """The settings as librdkafka names them, to start a producer's, consumer's or admin's configuration with."""
        config: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "reconnect.backoff.max.ms": 500,
            "log_level": 2,  # the client would write each failed attempt to connect; its users say it once
        }
        if self.security_protocol.startswith("SASL"):
            config["sasl.mechanism"] = self.sasl_mechanism
            config["sasl.username"] = self.sasl_username
            config["sasl.password"] = self.sasl_password.get_secret_value()
        if self.security_protocol.endswith("SSL") and self.ssl_ca_file:
            config["ssl.ca.location"] = self.ssl_ca_file
        return config

    def topic(self, name: str) -> str:
        """The name of a catalogue topic on this cluster."""
        return self.topic_prefix + name


class ObjectStorageSettings(BaseSettings):
    """Where the S3 server is (environment prefix ``S3_``)."""

    model_config = SettingsConfigDict(env_prefix="S3_", extra="ignore", env_ignore_empty=True)

    endpoint: str = Field("http://127.0.0.1:18333", description="URL of the S3 server; https turns TLS on")
    access_key: str = "incidents"
    secret_key: SecretStr = SecretStr("incidents")
    region: str = "us-east-1"
    bucket: str = Field("incidents", min_length=3)


class AttachmentSettings(BaseSettings):
    """How large attached files may be, for the API and the dispatcher alike (prefix ``INCIDENTS_ATTACHMENTS_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_ATTACHMENTS_", extra="ignore", env_ignore_empty=True)

    max_bytes: int = Field(
        10 * 2**20,
        ge=1,
        le=100 * 2**20,
        description="a larger upload is answered 413, a ticket's larger file is left there",
    )


class DatabaseSettings(BaseSettings):
    """Connection URLs, one for each role (environment prefix ``DATABASE_``).

    Where only ``DATABASE_URL`` is set, its user is the owner of the schema and the processes switch to the narrower
    role at connect time; in production the other two name logins of their own, so that no session can switch back.
    """

    model_config = SettingsConfigDict(env_prefix="DATABASE_", extra="ignore", env_ignore_empty=True)

    url: SecretStr = Field(
        SecretStr("postgresql://incidents@127.0.0.1:15432/incidents"),
        description="owner: migrations and backups",
    )
    api_url: SecretStr = Field(SecretStr(""), description="login of the API: member of incidents_api, subject to RLS")
    projector_url: SecretStr = Field(
        SecretStr(""),
        description="login of projector, dispatcher and scheduler: incidents_projector, BYPASSRLS",
    )

    def conninfo(self, role: DatabaseRole) -> tuple[str, str]:
        """The URL to connect to and the role to ``SET`` on connecting (empty for the owner).

        Role is ``owner`` (migrations), ``api`` or ``projector``. A login of its own still switches: BYPASSRLS is an
        attribute of the role and is not inherited by its members.
        """
        own = {"owner": self.url, "api": self.api_url, "projector": self.projector_url}[role].get_secret_value()
        return own or self.url.get_secret_value(), "" if role == "owner" else f"incidents_{role}"
