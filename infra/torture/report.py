"""What a run found, for people and for programs."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from infra.torture.evidence import SMALLEST
from infra.torture.plan import MINUTES, RATE, Outcome, Plan
from infra.torture.run import home_of

Row = tuple[str, ...]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def fault_rows(outcome: Outcome) -> list[Row]:
    """Fault kind, count, recovery p50, p99 and maximum in seconds."""
    seconds: dict[str, list[float]] = {}
    for step in outcome.steps:
        seconds.setdefault(step.fault, []).append(step.seconds)
    return [
        (name, str(len(found)), *(f"{percentile(found, share):.1f}" for share in (0.5, 0.99, 1.0)))
        for name, found in sorted(seconds.items())
    ]


def invariant_rows(outcome: Outcome) -> list[Row]:
    """Invariant, what it was checked on, and whether it holds."""
    return [
        (
            finding.invariant,
            ", ".join(f"{count} {name}" for name, count in finding.counts.items() if count),
            f"{len(finding.violations)} violations" if finding.violations else "ok",
        )
        for finding in outcome.findings
    ]


def violations(outcome: Outcome) -> list[str]:
    """The smallest evidence of each violated invariant."""
    return [
        f"{finding.invariant}: {violation}"
        for finding in outcome.findings
        for violation in finding.violations[:SMALLEST]
    ]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The last line of the output."""
    recovery = [step.seconds for step in outcome.steps]
    return {
        "steps": len(outcome.steps),
        "violations": outcome.violations,
        "lost": outcome.count("lost"),
        "duplicates": outcome.count("duplicates"),
        "effects_missing": outcome.count("effects_missing"),
        "effects_twice": outcome.count("effects_twice"),
        "effects_twice_unkeyed": outcome.count("effects_twice_unkeyed"),
        "recovery_p99_s": percentile(recovery, 0.99),
        "recovery_max_s": max(recovery, default=0.0),
        "seconds": outcome.seconds,
    }


def keep_if_failed(outcome: Outcome) -> Path | None:
    """Write seed, steps and every violation beside the logs of a run that failed; the file."""
    if not outcome.violations:
        return None
    path = home_of(outcome.plan.seed) / "evidence.json"
    document = {
        "seed": outcome.plan.seed,
        "steps": [[step.number, step.fault, step.seconds, step.notes] for step in outcome.steps],
        "violations": {one.invariant: one.violations for one in outcome.findings if one.violations},
        "result": as_json(outcome),
    }
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
    return path


def command(plan: Plan) -> str:
    """What to type for the same again."""
    parts = ["incidents torture", f"--seed {plan.seed}"]
    parts += [f"--steps {plan.steps}"] if plan.steps else []
    parts += [f"--at-once {plan.at_once}"] if plan.at_once > 1 else []
    parts += [f"--brokers {plan.brokers}"] if plan.brokers > 1 else []
    parts += [f"--only {shlex.quote(plan.only)}"] if plan.only else []
    parts += [f"--rate {plan.rate:g}"] if plan.rate != RATE else []
    parts += [f"--minutes {plan.minutes:g}"] if plan.scenarios and plan.minutes != MINUTES else []
    parts += [f"--scenario {'all' if len(plan.scenarios) > 1 else plan.scenarios[0]}"] if plan.scenarios else []
    return " ".join(parts)


def markdown(outcome: Outcome) -> str:
    """The page that ``--results`` writes."""
    lines = ["# Torture: the last run of this kind", "", f"`{command(outcome.plan)}`", ""]
    if outcome.steps:
        lines += _table(("fault", "steps", "p50 s", "p99 s", "max s"), fault_rows(outcome))
        lines += [
            "",
            "Recovery is measured from the fault until work flows again (what heals later: from its healing). "
            + _conditions(outcome),
            "",
        ]
    lines += _table(("invariant", "checked on", "holds"), invariant_rows(outcome))
    lines += ["", "```json", orjson.dumps(as_json(outcome)).decode(), "```", ""]
    return "\n".join(lines)


def _conditions(outcome: Outcome) -> str:
    usual, most = percentile(outcome.load, 0.5), max(outcome.load, default=0.0)
    return (
        f"Up to {outcome.plan.at_once} faults of different parts were in force at the same time; the machine has"
        f" {os.cpu_count()} cores, its load average was {usual:.1f} (at most {most:.1f})."
    )


def _table(columns: Row, rows: Sequence[Row]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (columns, ("---",) * len(columns), *rows)]
