"""Processes of the application under test, started as users start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from streams.runtime.settings import KafkaSettings

ROOT = Path(__file__).parents[2]


def environment(kafka: KafkaSettings, **more: str) -> dict[str, str]:
    """The environment of a process that is to reach the module's topics."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
        "PYTHONPATH": str(ROOT),
        **more,
    }


@contextmanager
def process(
    arguments: Sequence[str], env: dict[str, str], log: Path, module: str = "cli.main"
) -> Iterator[subprocess.Popen[bytes]]:
    """`incidents <arguments>` as a process of its own; killed at the end if it still runs."""
    with log.open("ab") as output:
        command = [sys.executable, "-m", module, *arguments]
        child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
        child.wait()
