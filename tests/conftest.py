"""Fixtures of every test: see tests/harness."""

from __future__ import annotations

pytest_plugins = ["tests.harness.stack", "tests.harness.kafka", "tests.harness.postgres", "tests.harness.objects"]
