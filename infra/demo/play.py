"""The play: send the storm, act as people do, wait until all is quiet, and count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from infra.demo.client import ApiClient
from infra.demo.ledger import Ledger, send
from infra.demo.scene import Scene
from infra.demo.storm import TROUBLES, Secrets, storm

QUIET_SECONDS = 60.0
PERSON = "The on-call engineer"
BILLING = next(trouble for trouble in TROUBLES if trouble.service == "Billing")
ACTIONS = {
    "com.incidents.acknowledged.v1": "acknowledge",
    "com.incidents.note_added.v1": "note",
}
DELIVERED = "com.incidents.effect.delivered.v1"
EFFECTS = len(ACTIONS) * BILLING.alerts
"""The person acknowledges and annotates one incident, each of whose PagerDuty incidents gets both."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the demo prints last, as JSON."""

    received: int
    duplicates: int
    alerts: int
    incidents: int
    timeline_entries: int
    outbox_effects: int
    lost: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """The counts, the incidents, and what is not as the input implies (empty: everything is)."""

    counts: Counts
    incidents: list[dict[str, Any]]
    dispositions: dict[str, int]
    deliveries: int
    wrong: list[str]

    def as_json(self) -> dict[str, Any]:
        """The counts as one object."""
        return asdict(self.counts)


async def play(scene: Scene, progress: Callable[[int, int], None]) -> Result:
    """Play it through; ``progress`` gets how many deliveries of how many were sent."""
    began = time.monotonic()
    api = ApiClient(scene.base_url, scene.admin_token)
    try:
        await _subscribe(scene, api)
        secrets = Secrets(scene.integrations["alertmanager"]["secret"], scene.integrations["pagerduty"]["secret"])
        deliveries = storm(int(time.time() * 1000), secrets)
        ledger = await send(deliveries, scene.endpoints(), lambda sent: progress(sent, len(deliveries)))
        lost, dispositions = await api.missing(sorted(ledger.accepted), QUIET_SECONDS)
        await _act(api)
        await _until_effects_are_recorded(api, QUIET_SECONDS)
        effects = await _effects(scene)
        incidents = await api.incidents()
        timelines = await asyncio.gather(*(api.timeline(one["id"]) for one in incidents))
    finally:
        await api.close()
    counts = Counts(
        received=ledger.received,
        duplicates=ledger.duplicates,
        alerts=sum(dispositions.values()),
        incidents=len(incidents),
        timeline_entries=sum(map(len, timelines)),
        outbox_effects=effects,
        lost=lost,
        seconds=round(time.monotonic() - began, 2),
    )
    return Result(counts, incidents, dispositions, len(deliveries), _wrong(counts, ledger, incidents, timelines))


async def _subscribe(scene: Scene, api: ApiClient) -> None:
    integration_id = scene.integrations["pagerduty"]["integration_id"]
    body = {"connector": "pagerduty", "integration_id": integration_id, "actions": ACTIONS}
    await api.subscribe("demo-pagerduty", body)


async def _act(api: ApiClient) -> None:
    """What a person does: takes one incident, and brings another to its end."""
    incidents = {one["service"]: one["id"] for one in await api.incidents()}
    billing, gateway = incidents[BILLING.service], incidents["gateway"]
    await api.act(billing, "acknowledge", {})
    await api.act(billing, "notes", {"text": f"{PERSON}: consumers were paused by the deploy, resuming them"})
    await api.act(billing, "assign", {"assignee": "ada"})
    for state in ("mitigated", "resolved"):
        await api.act(gateway, "state", {"to": state, "reason": "certificate renewed"})


async def _until_effects_are_recorded(api: ApiClient, seconds: float) -> None:
    """Wait until the result of every effect stands on a timeline; the counts are then final."""
    deadline = time.monotonic() + seconds
    billing = next(one["id"] for one in await api.incidents() if one["service"] == BILLING.service)
    while time.monotonic() < deadline:
        recorded = [event for event in await api.timeline(billing) if event["type"] == DELIVERED]
        if len(recorded) >= EFFECTS:
            return
        await asyncio.sleep(0.2)


async def _effects(scene: Scene) -> int:
    """The effects that PagerDuty has seen in this run."""
    async with httpx.AsyncClient() as client:
        effects = (await client.get(f"{scene.fake_url}/_effects")).json()["effects"]
    return int(sum(effects.values()))


def _wrong(
    counts: Counts, ledger: Ledger, incidents: list[dict[str, Any]], timelines: list[list[dict[str, Any]]]
) -> list[str]:
    """What is not as the input implies, in words."""
    expected = {
        "incidents": (counts.incidents, len(TROUBLES)),
        "lost": (counts.lost, 0),
        "alerts": (counts.alerts, len(ledger.accepted)),
        "refused deliveries": (ledger.refused.total(), 0),
        "outbox_effects": (counts.outbox_effects, EFFECTS),
        "alerts attached": (sum(one["alert_count"] for one in incidents), sum(t.alerts for t in TROUBLES)),
        "numbers": (sorted(one["number"] for one in incidents), list(range(1, len(incidents) + 1))),
        "timeline_entries": (
            [[event["sequence"] for event in timeline] for timeline in timelines],
            [list(range(1, one["sequence"] + 1)) for one in incidents],
        ),
    }
    return [f"{name}: {found}, expected {right}" for name, (found, right) in expected.items() if found != right]
