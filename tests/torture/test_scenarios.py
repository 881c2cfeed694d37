"""Each scenario's verdict: what is as it should be passes, and each thing that can be wrong is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cli import torture
from cli.errors import CommandError
from infra.torture import fixes
from infra.torture.scenarios import (
    SCENARIOS,
    database_down,
    disk_full,
    graceful_stop,
    one_bad,
    overload,
    rolling_restart,
    rolling_upgrade,
)
from streams.agents import state_codec
from streams.domain.errors import UnknownSchema
from streams.domain.state import Preferences

OUTAGE = database_down.Outage(10, accepted=900, ready=[200, 503, 503], catch_up_s=3.0)
FLOOD = overload.Flood(accepted=30_000, refused=40, commands=3, peak_bytes=200 * 2**20)
FULL = disk_full.Full(answers=Counter({503: 30}), ready=[503, 503], kafka=["Kafka does not answer"] * 2)
TIMES = one_bad.Times(clean=[1.0, 1.2, 0.9], poisoned=[1.1, 1.3, 1.0])
STOPS = graceful_stop.Stops(seconds={"api-0": 0.6}, codes={"api-0": 0})
RESTARTS = rolling_restart.Restarts(requests=300, codes={"worker-0": 0})
UPGRADE = rolling_upgrade.Upgrade(
    decided_together=40,
    refusals=[70, 70],
    says="UnknownSchema: a state item of kind 'head' has format 2, this version reads 1",
    decided_by_the_newer=5,
)

WHOLE: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "database-down": (database_down.judge, OUTAGE),
    "overload": (overload.judge, FLOOD),
    "disk-full": (disk_full.judge, FULL),
    "one-bad-in-a-thousand": (one_bad.judge, TIMES),
    "graceful-stop": (graceful_stop.judge, STOPS),
    "rolling-restart": (rolling_restart.judge, RESTARTS),
    "rolling-upgrade": (rolling_upgrade.judge, UPGRADE),
}
BROKEN: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("database-down", {"accepted": 0}, "nothing was accepted"),
    ("database-down", {"ready": [503, 200]}, "health said"),
    ("database-down", {"ready": []}, "never asked"),
    ("database-down", {"catch_up_s": 400.0}, "400 s after"),
    ("database-down", {"unordered_ends": 2}, "2 processes"),
    ("overload", {"refused": 0}, "nobody was held back"),
    ("overload", {"commands": 0}, "no command"),
    ("overload", {"peak_bytes": 10**10}, "MB"),
    ("overload", {"unordered_ends": 1}, "1 processes"),
    ("disk-full", {"answers": Counter({202: 1, 503: 9})}, "{202: 1}"),
    ("disk-full", {"answers": Counter()}, "nothing was sent"),
    ("disk-full", {"ready": [503, 200]}, "health said"),
    ("disk-full", {"kafka": ["ok"]}, "health said"),
    ("one-bad-in-a-thousand", {"poisoned": [5.0, 6.0, 4.0]}, "5.00 s with a bad one"),
    ("one-bad-in-a-thousand", {"ends": 1}, "1 processes"),
    ("graceful-stop", {"seconds": {"api-0": 10.2}}, "took 10.2 s"),
    ("graceful-stop", {"codes": {"api-0": -9}}, "ended with -9"),
    ("graceful-stop", {"seconds": {}}, "nothing was stopped"),
    ("graceful-stop", {"aborted": 3}, "3 records"),
    ("graceful-stop", {"leases": 1}, "1 intents"),
    ("graceful-stop", {"cut_off": 1}, "1 requests"),
    ("rolling-restart", {"failed": ["/api/v1/events: 503"]}, "503"),
    ("rolling-restart", {"codes": {"worker-0": 70}}, "ended with 70"),
    ("rolling-restart", {"requests": 0}, "nothing was sent"),
    ("rolling-upgrade", {"decided_together": 0}, "nothing was decided"),
    ("rolling-upgrade", {"unordered_ends": ["worker-previous ended with 70"]}, "worker-previous ended"),
    ("rolling-upgrade", {"refusals": []}, "ended with []"),
    ("rolling-upgrade", {"refusals": [0]}, "ended with [0]"),
    ("rolling-upgrade", {"says": ""}, "did not say"),
    ("rolling-upgrade", {"decided_by_the_older": 1}, "recorded 1 events"),
    ("rolling-upgrade", {"decided_by_the_newer": 0}, "did not go on"),
)


def test_every_scenario_is_judged_here() -> None:
    assert set(WHOLE) == set(SCENARIOS) == {name for name, _, _ in BROKEN}


def test_the_command_knows_the_scenarios_by_name() -> None:
    assert torture._scenarios("") == ()
    assert torture._scenarios("overload") == ("overload",)
    assert torture._scenarios("all") == tuple(SCENARIOS)
    with pytest.raises(CommandError, match="no scenario is called 'nothing'"):
        torture._scenarios("nothing")


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_as_it_should_be_passes(name: str) -> None:
    judge, seen = WHOLE[name]
    assert not judge(seen).violations


@pytest.mark.parametrize(("name", "changes", "says"), BROKEN)
def test_what_is_wrong_is_told(name: str, changes: dict[str, Any], says: str) -> None:
    judge, seen = WHOLE[name]
    violations = judge(replace(seen, **changes)).violations
    assert violations
    assert says in violations[0]


def test_a_version_with_a_newer_state_format_reads_both_and_the_older_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older = state_codec.encode("preferences", Preferences())
    decode_older = state_codec.decode
    monkeypatch.setattr(state_codec, "FORMAT", state_codec.FORMAT)  # both are put back at the end
    monkeypatch.setattr(state_codec, "decode", decode_older)
    fixes.install(fixes.NEWER_STATE)
    newer = state_codec.encode("preferences", Preferences())
    assert newer != older
    assert state_codec.decode("preferences", newer) == state_codec.decode("preferences", older) == Preferences()
    monkeypatch.undo()
    with pytest.raises(UnknownSchema):
        decode_older("preferences", newer)
