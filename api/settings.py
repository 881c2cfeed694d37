"""Settings of the API, read from the environment by its entry point (prefix ``INCIDENTS_API_``)."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ApiSettings(BaseSettings):
    """Address, limits and deadlines of one API process; seconds and bytes throughout."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_API_", extra="ignore", env_ignore_empty=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535)
    max_body_bytes: int = Field(1_048_576, ge=1, description="a longer request body is answered 413")
    outcome_timeout_s: float = Field(5.0, gt=0, description="a write that is not decided by then is answered 202")
    graceful_stop_s: int = Field(8, ge=1, description="how long requests may finish after SIGTERM")
    pool_min: int = Field(1, ge=0, description="database connections kept open")
    pool_max: int = Field(8, ge=1, description="database connections at most")
    pool_timeout_s: float = Field(2.0, gt=0, description="a read that gets no connection by then is answered 503")
    heartbeat_s: float = Field(15.0, gt=0, description="interval of SSE heartbeats")
    send_timeout_s: float = Field(
        20.0, gt=0, description="a streaming client that takes nothing for so long is cut off"
    )
    subscriber_queue: int = Field(256, ge=1, description="events that may wait for one slow subscriber")
    replay_limit: int = Field(50_000, ge=1, description="a cursor further back than so many events gets a reset")
    max_subscribers: int = Field(20_000, ge=1, description="streams at once; more are answered 503")
    held_events: int = Field(20_000, ge=1, description="events held for the projections before reading pauses")
    token_cache: int = Field(10_000, ge=1, description="tokens remembered, also while the database is down")
    token_max_age_s: float = Field(60.0, gt=0, description="a remembered token is looked up again after so long")
    max_lag_s: float = Field(30.0, gt=0, description="projections further behind make the API not ready")
    graphiql: bool = Field(default=True, description="serve the GraphQL IDE at GET /graphql")
