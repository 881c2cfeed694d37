"""The list of metrics in the docs is the one in the code."""

from __future__ import annotations

import os
import re
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from streams.runtime import metrics

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NAME = re.compile(r"incidents_[a-z]+_[a-z_]+")


def declared() -> list[Counter | Gauge | Histogram]:
    found = [value for value in vars(metrics).values() if isinstance(value, Counter | Gauge | Histogram)]
    return sorted(found, key=lambda metric: metric._name)


def full_name(metric: Counter | Gauge | Histogram) -> str:
    return f"{metric._name}{'_total' if isinstance(metric, Counter) else ''}"


def page() -> str:
    rows = [
        f"| `{full_name(m)}` | {m._type} | {', '.join(m._labelnames) or '-'} | {m._documentation} |" for m in declared()
    ]
    head = (
        "# Metrics\n\nIn the Prometheus text format at `/metrics` of each process. Made from "
        "`streams/runtime/metrics.py`; a test compares them.\n\n"
        "| name | type | labels | what it says |\n|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"


def test_the_docs_list_every_metric() -> None:
    if os.environ.get("UPDATE"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_names_say_product_area_and_unit() -> None:
    for metric in declared():
        assert NAME.fullmatch(full_name(metric)), metric._name
        if isinstance(metric, Histogram):
            assert metric._name.endswith(("_seconds", "_records", "_bytes")), metric._name
