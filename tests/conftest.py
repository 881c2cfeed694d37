"""Fixtures of every test: see tests/harness."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.harness.stack", "tests.harness.kafka", "tests.harness.postgres", "tests.harness.objects"]


def pytest_configure(config: pytest.Config) -> None:
    """Marks of this folder alone."""
    config.addinivalue_line("markers", "longest: begins before all others")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test comes first, so that no process is left with it alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)
