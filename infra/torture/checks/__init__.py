"""The invariants, one module a family; each check reads the evidence of a run and names what does not hold."""

from __future__ import annotations

from collections.abc import Callable

from infra.torture.checks import (
    archive,
    commands,
    dead_letters,
    decisions,
    digests,
    dispositions,
    effects,
    groups,
    processes,
    sequences,
    subscribers,
)
from infra.torture.evidence import Evidence, Finding

CHECKS: tuple[Callable[[Evidence], Finding], ...] = (
    dispositions.in_the_log,
    dispositions.at_the_api,
    sequences.of_the_record,
    sequences.of_the_numbers,
    commands.took_effect_once,
    digests.of_incidents,
    digests.of_the_timeline,
    digests.of_checkpoints,
    decisions.again,
    effects.at_the_provider,
    effects.in_the_record,
    groups.as_without_faults,
    subscribers.saw_everything_once,
    dead_letters.only_poison,
    dead_letters.were_replayed,
    archive.is_whole,
    processes.memory_is_bounded,
    processes.ended_for_a_reason,
    processes.senders_were_treated_well,
)

__all__ = ["CHECKS", "Evidence", "Finding"]
