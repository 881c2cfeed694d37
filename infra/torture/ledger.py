"""The sender's own ledger: what was answered 2xx and must therefore be in the record, exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Expected = Literal["signal", "kept", "poison"]


class Id(NamedTuple):
    """The identity of a signal."""

    tenant: str
    source: str
    id: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What an accepted signal tells: the trouble that it belongs to and the alert's fingerprint there."""

    trouble: str
    fingerprint: str
    firing: bool


@dataclass(frozen=True, slots=True)
class CommandSent:
    """A person's command that got a 2xx: its id, and the text that its effect must show once (empty: not checked)."""

    tenant: str
    command_id: str
    text: str


@dataclass(slots=True)
class Ledger:
    """``accepted`` counts how often each id was answered 2xx; ``attempted`` holds what was sent, answered or not.

    ``raw`` are undecodable records put on the intake past
    the API, by partition and offset; ``refused`` are answers that no sender should get, with what was sent.
    ``frozen_dispatchers`` counts what alone may cause a twin of a note, ``unanswered`` requests by how they ended when
    no answer came.
    """

    accepted: Counter[Id] = field(default_factory=Counter)
    expected: dict[Id, Expected] = field(default_factory=dict)
    alerts: dict[Id, Alert] = field(default_factory=dict)
    commands: dict[str, CommandSent] = field(default_factory=dict)
    attempted_texts: set[str] = field(default_factory=set)
    raw: dict[tuple[int, int], Id] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    unanswered: Counter[str] = field(default_factory=Counter)
    given_up: int = 0
    frozen_dispatchers: int = 0

    def accept(self, identity: Id, expected: Expected, alert: Alert | None) -> None:
        """An id was answered 2xx."""
        self.accepted[identity] += 1
        self.expected[identity] = expected
        if alert is not None:
            self.alerts[identity] = alert

    def groups(self) -> dict[str, dict[str, frozenset[str]]]:
        """By tenant and trouble: the fingerprints of alerts that fired, which must have become one incident."""
        found: dict[str, dict[str, set[str]]] = {}
        for identity, alert in self.alerts.items():
            if alert.firing:
                found.setdefault(identity.tenant, {}).setdefault(alert.trouble, set()).add(alert.fingerprint)
        return {
            tenant: {name: frozenset(prints) for name, prints in groups.items()} for tenant, groups in found.items()
        }
