"""The play: a conflict of each policy, comments, latencies both ways, and then quiet."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson

from infra.demo.client import ApiClient
from infra.demo.itsm.scene import MAPPING, ItsmScene
from schemas import default_mapping
from streams.agents.mapping_files import parse
from streams.domain.mapping import TicketMapping

PATIENCE_S = 60.0
QUIET_S = 8.0
"""Longer than two rounds of the poller."""

CLOCK_S = 2.0
"""Longer than ServiceNow's clock takes to tell two edits apart."""

EDITS = 20
POLICIES = ("internal_wins", "external_wins", "most_recent_allowed", "manual", "state_machine")
CONFLICT = "com.incidents.provider.conflict_detected.v1"
Tell = Callable[[str], None]


@dataclass
class Outcome:
    """What the demo found; ``wrong`` is what is not as it must be."""

    conflicts: dict[str, int] = field(default_factory=dict)
    writes_after_quiescence: int = -1
    tickets_per_incident_max: int = -1
    divergent_fields: int = -1
    out_ms: list[float] = field(default_factory=list)
    in_ms: list[float] = field(default_factory=list)

    @property
    def wrong(self) -> list[str]:
        """Empty when all is as it must be."""
        missing = [policy for policy in POLICIES if not self.conflicts.get(policy)]
        found = [f"no conflict of {policy}" for policy in missing]
        if self.writes_after_quiescence:
            found.append(f"{self.writes_after_quiescence} writes after quiescence")
        if self.tickets_per_incident_max != 1:
            found.append(f"{self.tickets_per_incident_max} tickets for one incident")
        if self.divergent_fields:
            found.append(f"{self.divergent_fields} fields diverge")
        return found

    def as_json(self) -> dict[str, Any]:
        """The last line of the demo."""
        return {
            "conflicts": self.conflicts,
            "writes_after_quiescence": self.writes_after_quiescence,
            "tickets_per_incident_max": self.tickets_per_incident_max,
            "divergent_fields": self.divergent_fields,
            "out_ms": {"p50": percentile(self.out_ms, 50), "p99": percentile(self.out_ms, 99)},
            "in_ms": {"p50": percentile(self.in_ms, 50), "p99": percentile(self.in_ms, 99)},
        }


def percentile(values: list[float], percent: int) -> float:
    """The value that this many percent do not exceed; 0 for none."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 1) if ordered else 0.0


class Play:
    """The demo with one incident."""

    def __init__(self, built: ItsmScene, api: ApiClient, http: httpx.AsyncClient, tell: Tell) -> None:
        self._built = built
        self._api = api
        self._http = http
        self._tell = tell
        self._incident = ""
        self._number = ""
        self._told = 0
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """Play it through."""
        await self._begin()
        await self._conflicts()
        await self._latencies()
        await self._resolve()
        await self._quiet()
        return self.outcome

    async def _begin(self) -> None:
        """An incident whose ServiceNow ticket is made although the answer to the call is lost."""
        fault = {"kind": "drop_after", "on": "create"}
        await self._post("servicenow", "/_faults", json=fault)
        body = {"title": "Checkout fails", "severity": "SEV-2", "service": "Checkout", "description": "500s since noon"}
        made = await self._api.declare(body)
        self._incident, self._number = made["id"], f"INC-{made['number']}"
        self._tell(f"{self._number} is declared; the answer to the call that makes its ServiceNow ticket is lost")
        await self._until("both tickets are linked", self._linked)

    async def _linked(self) -> bool:
        linked = [event for event in await self._events() if event["type"] == "com.incidents.ticket.linked.v1"]
        return len(linked) == len(self._built.urls)

    async def _conflicts(self) -> None:
        self._tell("somebody at ServiceNow changes the title, which our side owns (internal_wins)")
        await self._edit_servicenow(short_description="Checkout is slow")
        await self._decided("internal_wins")
        self._tell("somebody here changes the description, which ServiceNow owns (external_wins)")
        await self._api.edit(self._incident, {"description": "only card payments"})
        await self._decided("external_wins")
        await asyncio.sleep(CLOCK_S)
        self._tell("somebody at ServiceNow raises the urgency, later than anybody here (most_recent_allowed)")
        await self._edit_servicenow(urgency="1")
        await self._decided("most_recent_allowed")
        self._tell("somebody at ServiceNow changes the category (manual): it waits, and is decided for theirs")
        await self._edit_servicenow(category="network")
        await self._decided("manual")
        self._built.incidents.run(
            "sync", "resolve", self._number, "category", "--side", "theirs", "--tenant", self._built.scene.tenant
        )
        await self._until("the decision is carried out", self._has_service("network"))
        await self._edit_servicenow(work_notes="Vendor is on it")
        await self._until("the work note is on our timeline", self._has_note("Vendor is on it"))

    async def _resolve(self) -> None:
        self._tell("somebody at ServiceNow resolves the ticket, and the lifecycle leads there (state_machine)")
        await self._edit_servicenow(state="6", close_code="Solution provided", close_notes="Restarted")
        await self._decided("state_machine")
        await self._until("Jira is done, too", self._jira_is_done)

    async def _jira_is_done(self) -> bool:
        issue = next(iter((await self._effects("jira"))["tickets"].values()))
        return orjson.dumps(issue).find(b'"done"') >= 0

    def _has_service(self, name: str) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return bool((await self._api.incident(self._incident))["service"] == name)

        return holds

    def _has_note(self, text: str) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return any(text in str(event["data"].get("text", "")) for event in await self._events())

        return holds

    async def _decided(self, policy: str) -> None:
        """Wait for the conflict of a policy, and tell what its event says."""

        async def holds() -> bool:
            found = [
                event["data"]
                for event in await self._events()
                if event["type"] == CONFLICT and event["data"]["policy"] == policy
            ]
            for data in found[-1:]:
                self._tell(
                    f"  {data['policy']}: ours {data['ours']!r}, theirs {data['theirs']!r} -> {data['result']}"
                    f"\n  {data['explanation']}"
                )
            return bool(found)

        await self._until(f"a conflict of {policy}", holds)

    async def _latencies(self) -> None:
        """Edits of ours until ServiceNow shows them, and of Jira's until our API shows them."""
        for number in range(EDITS):
            title = f"Checkout fails ({number + 1})"
            began = time.perf_counter()
            await self._api.edit(self._incident, {"title": title})
            await self._until("the title is at ServiceNow", self._servicenow_shows("short_description", title), 0.01)
            self.outcome.out_ms.append((time.perf_counter() - began) * 1000)
        for number in range(EDITS):
            name, severity = (("2", "SEV-2"), ("1", "SEV-1"))[number % 2]  # Jira's ids of High and Highest
            began = time.perf_counter()
            await self._edit_jira(priority=name)
            await self._until("our severity is Jira's", self._has_severity(severity), 0.01)
            self.outcome.in_ms.append((time.perf_counter() - began) * 1000)

    def _has_severity(self, severity: str) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            return bool((await self._api.incident(self._incident))["severity"] == severity)

        return holds

    def _servicenow_shows(self, name: str, value: str) -> Callable[[], Awaitable[bool]]:
        async def holds() -> bool:
            tickets = (await self._effects("servicenow"))["tickets"].values()
            return any(ticket[name] == value for ticket in tickets)

        return holds

    async def _quiet(self) -> None:
        """Nobody edits any more: after the repairs of a reconcile, nothing is written."""
        await self._until("nothing is under way", self._nothing_under_way)
        before = await self._writes()
        self._built.incidents.run("sync", "reconcile", "--tenant", self._built.scene.tenant)
        await asyncio.sleep(QUIET_S)
        await self._until("nothing is under way", self._nothing_under_way)
        self.outcome.writes_after_quiescence = await self._writes() - before
        counted = [
            count
            for connector in self._built.urls
            for count in (await self._effects(connector))["tickets_by_marker"].values()
        ]
        self.outcome.tickets_per_incident_max = max(counted, default=0)
        self.outcome.divergent_fields = len(await self._divergent())
        events = await self._events()
        self.outcome.conflicts = dict(Counter(e["data"]["policy"] for e in events if e["type"] == CONFLICT))

    async def _nothing_under_way(self) -> bool:
        """No event for a while, and each request is answered."""
        first = await self._events()
        await asyncio.sleep(1.5)
        last = await self._events()
        asked = {e["data"]["intent_id"] for e in last if e["type"].endswith("sync_requested.v1")}
        told = {e["data"].get("intent_id") for e in last if "sync_completed" in e["type"] or "sync_failed" in e["type"]}
        return len(first) == len(last) and asked <= told

    async def _divergent(self) -> list[str]:
        incident = await self._api.incident(self._incident)
        found = []
        for connector, mapping in mappings().items():
            ticket = await self._raw(connector)
            found += [
                f"{connector} {one.field}: {incident[one.field]!r} and {ticket[one.external_field]!r}"
                for one in mapping.fields
                if not one.agrees(str(incident[one.field]), ticket[one.external_field])
            ]
        for line in found:
            self._tell(f"diverges: {line}")
        return found

    async def _raw(self, connector: str) -> dict[str, str]:
        """The raw values of the one ticket, as the connector reads them."""
        ticket = next(iter((await self._effects(connector))["tickets"].values()))
        if connector == "servicenow":
            return dict(ticket)
        return jira_values(ticket)

    async def _writes(self) -> int:
        return sum([int((await self._effects(connector))["writes"]) for connector in self._built.urls])

    async def _events(self) -> list[dict[str, Any]]:
        return await self._api.timeline(self._incident)

    async def _effects(self, connector: str) -> dict[str, Any]:
        answer = await self._http.get(f"{self._built.urls[connector]}/_effects")
        return dict(answer.raise_for_status().json())

    async def _edit_servicenow(self, **values: str) -> None:
        """As a person does on the page."""
        sys_id = next(iter((await self._effects("servicenow"))["tickets"]))
        await self._post("servicenow", f"/_page/{sys_id}", data=values)

    async def _edit_jira(self, **values: str) -> None:
        key = next(iter((await self._effects("jira"))["tickets"]))
        await self._post("jira", f"/_page/{key}", data=values)

    async def _post(self, connector: str, path: str, **content: Any) -> None:
        answer = await self._http.post(f"{self._built.urls[connector]}{path}", **content)
        if answer.is_error:
            answer.raise_for_status()

    async def _until(self, what: str, holds: Callable[[], Awaitable[bool]], pause_s: float = 0.2) -> None:
        """Wait until something holds; raises ``TimeoutError`` where it does not."""
        deadline = time.monotonic() + PATIENCE_S
        while not await holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {PATIENCE_S:.0f} s: {what}")
            await asyncio.sleep(pause_s)


def mappings() -> dict[str, TicketMapping]:
    """The mappings of the demo by connector."""
    return {
        "servicenow": parse(MAPPING.read_text()).mapping,
        "jira": parse(default_mapping("jira")).mapping,
    }


def jira_values(issue: dict[str, Any]) -> dict[str, str]:
    """An issue of the fake as the connector shows it."""
    from connectors.jira.config import JiraConfig
    from connectors.jira.issues import values

    return values(JiraConfig(base_url="https://example.atlassian.net", project="OPS"), issue["fields"])


async def play(built: ItsmScene, tell: Tell) -> Outcome:
    """Play the demo through; ``tell`` gets what happens, for people."""
    api = ApiClient(built.scene.base_url, built.scene.admin_token)
    async with httpx.AsyncClient(timeout=15) as http:
        try:
            return await Play(built, api, http, tell).run()
        finally:
            await api.close()
