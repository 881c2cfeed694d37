"""Scenarios: what a run of random faults does not bring about, one module each."""

from __future__ import annotations

from collections.abc import Mapping

from infra.torture.scenarios import (
    database_down,
    disk_full,
    graceful_stop,
    one_bad,
    overload,
    rolling_restart,
    rolling_upgrade,
)
from infra.torture.stage import Play

SCENARIOS: Mapping[str, Play] = {
    "graceful-stop": graceful_stop.play,
    "rolling-restart": rolling_restart.play,
    "one-bad-in-a-thousand": one_bad.play,
    "overload": overload.play,
    "disk-full": disk_full.play,
    "database-down": database_down.play,
    "rolling-upgrade": rolling_upgrade.play,
}
"""By name, in the order in which ``all`` plays them: the last one leaves workers of a version to come."""
