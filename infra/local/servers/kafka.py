"""Apache Kafka 4: one KRaft node from its Maven artifacts, on the Java of this machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import secrets
import shutil
import signal
import string
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.local.errors import FetchFailed, JavaMissing, JavaTooOld, MavenMissing, PreparationFailed
from infra.local.processes import Launch
from infra.local.settings import LOOPBACK, StackSettings

SOURCE = Path(__file__).resolve().parents[2] / "kafka"
MINIMUM_JAVA = 17
CHECK_SECONDS = 2.0
# Small and predictable: one compiler-friendly collector, a heap that holds the caches of one node, an end instead of a
# half-dead broker when memory runs out.
JVM_OPTIONS = (
    "-Xms96m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:MaxDirectMemorySize=128m",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)


def find_java() -> str:
    """The java to use: JAVA_HOME's, else the one on PATH. Raises `JavaMissing` or `JavaTooOld`."""
    home = os.environ.get("JAVA_HOME", "")
    java = shutil.which(str(Path(home) / "bin" / "java")) if home else None
    java = java or shutil.which("java")
    if java is None:
        raise JavaMissing
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)[^"]*"', answer.stderr + answer.stdout)
    if version is None:
        raise JavaMissing
    if int(version[1]) < MINIMUM_JAVA:
        raise JavaTooOld(java, version[1])
    return java


def fetch_jars(pom: Path, target: Path) -> Path:
    """The folder with the broker's jars, fetched by mvn when the POM has changed; safe when two do it at once.

    Raises `MavenMissing` or `FetchFailed`.
    """
    folder = target / f"libs-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if folder.exists():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        raise MavenMissing
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        libs = Path(scratch) / "libs"
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
        answer = subprocess.run([maven, "-q", "-B", "-f", str(pom), *goal], capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise FetchFailed("\n".join((answer.stdout + answer.stderr).splitlines()[-15:]))
        with contextlib.suppress(OSError):  # somebody else was faster; theirs has the same content
            libs.rename(folder)
    return folder


class KafkaServer:
    """The broker: its jars stand beside the POM (shared by every home), its data and settings in the home."""

    name = "kafka"
    variable = "KAFKA_BOOTSTRAP_SERVERS"
    stop_signal = signal.SIGTERM
    stop_grace_seconds = 20.0

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._folder = settings.home / "kafka"
        self._port = settings.port(settings.kafka_port)
        self._controller_port = settings.port(settings.kafka_controller_port)
        self.ports: tuple[int, ...] = (self._port, self._controller_port)

    @property
    def environment(self) -> Mapping[str, str]:
        """The broker's address."""
        return {self.variable: f"{LOOPBACK}:{self._port}"}

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _target(self) -> Path:
        beside_pom = SOURCE / "target"
        return beside_pom if os.access(SOURCE, os.W_OK) else self._folder / "jars"

    def prepare(self) -> None:
        """Fetch the jars, write the settings, format the data folder once."""
        java = find_java()
        jars = fetch_jars(SOURCE / "pom.xml", self._target())
        self._folder.mkdir(parents=True, exist_ok=True)
        template = string.Template((SOURCE / "server.properties").read_text())
        self._properties.write_text(
            template.substitute(port=self._port, controller_port=self._controller_port, data=self._data)
        )
        if (self._data / "meta.properties").exists():
            return
        cluster = base64.urlsafe_b64encode(b"\x01" + secrets.token_bytes(15)).decode().rstrip("=")
        tool = [
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            cluster,
            "--config",
            str(self._properties),
        ]
        answer = subprocess.run([java, *self._java_options(jars), *tool], capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise PreparationFailed(self.name, "formatting the data folder", (answer.stdout + answer.stderr)[-2000:])

    def _java_options(self, jars: Path) -> list[str]:
        log_settings = SOURCE / "log4j2.properties"
        return [f"-Dlog4j2.configurationFile={log_settings}", "-cp", f"{jars}/*"]

    def launch(self) -> Launch:
        """The broker's java command."""
        jars = fetch_jars(SOURCE / "pom.xml", self._target())
        argv = [find_java(), *JVM_OPTIONS, *self._java_options(jars), "kafka.Kafka", str(self._properties)]
        return Launch(argv, cwd=self._folder)

    def check(self, environment: Mapping[str, str]) -> str:
        """Ask for the cluster's metadata: it is answered once the broker is registered and unfenced."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        from streams.runtime.settings import KafkaSettings

        settings = KafkaSettings(bootstrap_servers=environment[self.variable])
        quiet = {"log_level": 0, "error_cb": lambda _: None, "socket.timeout.ms": int(CHECK_SECONDS * 1000)}
        try:
            brokers = AdminClient({**settings.librdkafka(), **quiet}).list_topics(timeout=CHECK_SECONDS).brokers
        except KafkaException as error:
            return str(error.args[0].str())
        return "" if brokers else "no broker is registered"

    def complete(self) -> None:
        """Nothing: topics belong to the catalogue and its provisioner."""
