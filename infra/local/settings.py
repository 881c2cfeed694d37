"""Where the local stack lives and which ports it uses, read from the environment (prefix ``INCIDENTS_``)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = "127.0.0.1"
S3_INNER_PORTS = 7
METRICS_PORTS = 7
MAXIMUM_BROKERS = 3  # more would need ports that stacks beside this one use


class StackSettings(BaseSettings):
    """Folder and ports of one stack; several stand side by side with another home and port offset each.

    Every port below is shifted by ``port_offset``. Multiples of 100 never make the port of one stack that of another.
    """

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_", extra="ignore", env_ignore_empty=True)

    home: Path = Field(Path(".incidents"), description="data, logs, pid files and generated secrets")
    port_offset: int = Field(0, ge=0, le=40000, description="added to every port")
    kafka_port: int = 19092
    kafka_controller_port: int = 19093
    brokers: int = Field(1, ge=1, le=MAXIMUM_BROKERS, description="Kafka nodes; the second listens two ports further")
    kafka_proxied: bool = Field(
        default=False, description="each broker has a second listener, whose clients are sent to a proxy"
    )
    kafka_proxied_port: int = Field(19061, description="the first broker's second listener")
    kafka_proxy_port: int = Field(19071, description="where the proxy of the first broker's second listener is")
    postgres_port: int = 15432
    s3_port: int = Field(18333, description="the S3 server; seven inner ports follow it")
    api_port: int = 8080
    metrics_base_port: int = Field(
        9100,
        description="worker +1, projector +2, dispatcher +3, scheduler +4, archiver +5, poller +6, simulator +7",
    )
    min_free_mb: int = Field(1024, ge=0, description="`up` refuses to start with less free disk space")
    start_timeout_seconds: float = Field(90.0, gt=0, description="until a server that was started must answer")
    lock_timeout_seconds: float = Field(180.0, ge=0, description="how long `up` and `down` wait for one another")

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    def port(self, base: int) -> int:
        """A base port, shifted."""
        return base + self.port_offset

    def all_ports(self) -> tuple[int, ...]:
        """Every port that the servers and the processes of this home listen on."""
        objects = range(self.s3_port, self.s3_port + 1 + S3_INNER_PORTS)
        processes = range(self.metrics_base_port + 1, self.metrics_base_port + 1 + METRICS_PORTS)
        kafka = (port for node in range(1, self.brokers + 1) for port in self.broker_ports(node))
        bases = (self.postgres_port, self.api_port, *objects, *processes)
        return (*kafka, *map(self.port, bases))

    def broker_ports(self, node: int) -> tuple[int, ...]:
        """What the broker with this number (from 1) listens on: clients, controller and, where wanted, proxied ones."""
        step = node - 1
        ports = [self.kafka_port + 2 * step, self.kafka_controller_port + 2 * step]
        if self.kafka_proxied:
            ports.append(self.kafka_proxied_port + step)
        return tuple(map(self.port, ports))

    def broker_proxy_port(self, node: int) -> int:
        """Where the proxy to the second listener of this broker has to listen; nothing of the stack does."""
        return self.port(self.kafka_proxy_port + node - 1)

    @property
    def run_dir(self) -> Path:
        """Where pid records stand."""
        return self.home / "run"

    @property
    def log_dir(self) -> Path:
        """Where log files stand."""
        return self.home / "logs"

    @property
    def environment_file(self) -> Path:
        """Where `up` writes how to reach what it started."""
        return self.home / "env"

    def record_file(self, name: str) -> Path:
        """The pid record of one server or process."""
        return self.run_dir / f"{name}.json"

    def log_file(self, name: str) -> Path:
        """The log of one server or process."""
        return self.log_dir / f"{name}.log"

    def make_folders(self) -> None:
        """Create the folders that everything else writes to; only their owner and root may read secrets in them."""
        for folder in (self.home, self.run_dir, self.log_dir):
            folder.mkdir(parents=True, exist_ok=True)
