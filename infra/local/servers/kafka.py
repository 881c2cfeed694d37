"""Apache Kafka 4: KRaft nodes from its Maven artifacts, on the Java of this machine; one, or several as a cluster."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import shutil
import signal
import string
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra.local.errors import FetchFailed, JavaMissing, JavaTooOld, MavenMissing, OtherClusterSize, PreparationFailed
from infra.local.processes import Launch
from infra.local.settings import LOOPBACK, StackSettings

SOURCE = Path(__file__).resolve().parents[2] / "kafka"
MINIMUM_JAVA = 17
CHECK_SECONDS = 2.0
BROKERS_FILE = "brokers"
# Small and predictable: one compiler-friendly collector, a heap that holds the caches of one node, an end instead of a
# half-dead broker when memory runs out. Without the optimizing compiler: in its first minutes that takes a whole core
# from everything else (a webhook cost the broker 227 µs of CPU with it and 72 without), and a local broker seldom lives
# long enough to get it back.
JVM_OPTIONS = (
    "-Xms96m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
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
    """One broker: its jars stand beside the POM (shared by every home), its data and settings in the home.

    ``node`` counts from 1; the first is called ``kafka``, the others ``kafka-2`` and so on. ``cluster_secret`` is any
    text that belongs to the home: the cluster's id comes from it, so that all its brokers are formatted alike.
    """

    variable = "KAFKA_BOOTSTRAP_SERVERS"
    stop_signal = signal.SIGTERM
    stop_grace_seconds = 20.0

    def __init__(self, settings: StackSettings, cluster_secret: str, node: int = 1) -> None:
        self._settings = settings
        self._node = node
        self._cluster_secret = cluster_secret
        self.name = "kafka" if node == 1 else f"kafka-{node}"
        self._folder = settings.home / self.name
        self.ports: tuple[int, ...] = settings.broker_ports(node)

    @property
    def environment(self) -> Mapping[str, str]:
        """The addresses of all brokers and, where there are several, how many copies the topics are to have."""
        nodes = range(1, self._settings.brokers + 1)
        servers = ",".join(f"{LOOPBACK}:{self._settings.broker_ports(node)[0]}" for node in nodes)
        if len(nodes) == 1:
            return {self.variable: servers}
        copies, in_sync = self._copies()
        counts = {"KAFKA_REPLICATION_FACTOR": str(copies), "KAFKA_MIN_INSYNC_REPLICAS": str(in_sync)}
        return {self.variable: servers, **counts}

    def _copies(self) -> tuple[int, int]:
        """Copies of a topic, and how many of them must have what was acknowledged."""
        copies = min(3, self._settings.brokers)
        return copies, max(1, copies - 1)

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
        self._properties.write_text(template.substitute(self._placeholders()))
        if (self._data / "meta.properties").exists():
            self._require_same_cluster()
            return
        digest = hashlib.sha256(f"kafka cluster {self._cluster_secret}".encode()).digest()[:15]
        cluster = base64.urlsafe_b64encode(b"\x01" + digest).decode().rstrip("=")
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

        (self._folder / BROKERS_FILE).write_text(str(self._settings.brokers))

    def _placeholders(self) -> dict[str, str]:
        port, controller_port, *proxied = self.ports
        nodes = range(1, self._settings.brokers + 1)
        listeners, advertised = [f"PLAINTEXT://{LOOPBACK}:{port}"], [f"PLAINTEXT://{LOOPBACK}:{port}"]
        if proxied:
            listeners.append(f"PROXIED://{LOOPBACK}:{proxied[0]}")
            advertised.append(f"PROXIED://{LOOPBACK}:{self._settings.broker_proxy_port(self._node)}")
        copies, in_sync = self._copies()
        return {
            "node": str(self._node),
            "voters": ",".join(f"{node}@{LOOPBACK}:{self._settings.broker_ports(node)[1]}" for node in nodes),
            "listeners": ",".join(listeners),
            "advertised": ",".join(advertised),
            "controller_port": str(controller_port),
            "data": str(self._data),
            "copies": str(copies),
            "in_sync": str(in_sync),
        }

    def _require_same_cluster(self) -> None:
        """The voters of a cluster are fixed when it is formatted."""
        file = self._folder / BROKERS_FILE
        formatted = int(file.read_text()) if file.exists() else 1
        if formatted != self._settings.brokers:
            raise OtherClusterSize(self._folder, formatted, self._settings.brokers)

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

        ours = environment[self.variable] == self.environment[self.variable]
        asked = f"{LOOPBACK}:{self.ports[0]}" if ours else environment[self.variable]
        settings = KafkaSettings(bootstrap_servers=asked)
        quiet = {"log_level": 0, "error_cb": lambda _: None, "socket.timeout.ms": int(CHECK_SECONDS * 1000)}
        try:
            brokers = AdminClient({**settings.librdkafka(), **quiet}).list_topics(timeout=CHECK_SECONDS).brokers
        except KafkaException as error:
            return str(error.args[0].str())
        if not brokers:
            return "no broker is registered"
        return f"broker {self._node} is not registered" if ours and self._node not in brokers else ""

    def complete(self) -> None:
        """Nothing: topics belong to the catalogue and its provisioner."""
