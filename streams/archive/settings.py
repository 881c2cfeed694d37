"""Settings of the archive, read from the environment by the entry points."""

from __future__ import annotations

from typing import Final

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

TOPICS: Final = ("incident-intake", "incident-events", "outbox-intents", "incident-intake-dlq")
"""What is archived, the intake first: what was decided from it is archived after it."""


class ArchiveSettings(BaseSettings):
    """How often and how large (environment prefix ``INCIDENTS_ARCHIVE_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_ARCHIVE_", extra="ignore", env_ignore_empty=True)

    name: str = Field(
        "",
        pattern=r"^[a-z0-9-]*$",
        description="one bucket may hold many archives; empty: KAFKA_TOPIC_PREFIX, or main where that is empty too",
    )
    interval_s: float = Field(30.0, gt=0, le=60, description="the longest that a record waits for its file")
    file_bytes: int = Field(64 * 2**20, ge=2**10, description="a file is closed when its records take so much")
    checkpoint_s: float = Field(60.0, gt=0, description="between two signed checkpoints while events come")
    checkpoint_events: int = Field(100_000, gt=0, description="so many events bring the next checkpoint forward")
    operations_s: float = Field(30.0, gt=0, le=60, description="between two backups of the operational tables")
    state_s: float = Field(86_400.0, gt=0, description="between two snapshots of the orchestrator's state")
    trim_s: float = Field(3_600.0, gt=0, description="between two deletions from Kafka of what is archived and due")
    events_kept_s: float = Field(0.0, ge=0, description="how long archived events stay in Kafka; 0: for ever")

    def prefix(self, topic_prefix: str) -> str:
        """Where everything but the content-addressed files stands."""
        return f"archive/{self.name or topic_prefix.strip('-') or 'main'}/"


class SigningSettings(BaseSettings):
    """The keys of checkpoints (environment prefix ``INCIDENTS_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_", extra="ignore", env_ignore_empty=True)

    signing_key: SecretStr = Field(
        SecretStr(""), description="Ed25519 private key of the archiver, 32 bytes in base64; it signs checkpoints"
    )
    trusted_keys: str = Field(
        "", description="Ed25519 public keys in base64, by comma, that may have signed; empty: that of the signing key"
    )
