"""Applying a rule set to what was: the plan's commands, decided, give the incidents that were simulated."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.applying import Held, Plan, plan
from streams.agents.what_if import Recorded, simulate
from streams.domain import commands, events, outputs
from streams.domain.commands import SetRuleSet
from streams.domain.configuring import command_of
from streams.domain.correlation import Rule
from streams.domain.rules import RuleSet
from streams.domain.ticket_commands import SetMapping
from streams.domain.tickets import RecordTicket, request_of
from tests.agents.test_what_if import Recording
from tests.domain.intake import MINUTE, T0, TENANT, fold, signal
from tests.domain.test_ticket_sync import mapped

ADA = "user:ada"
DAY = 24 * 60 * MINUTE
SERVICE = RuleSet("service", 2, (Rule("service", 2, ("service",), 10 * MINUTE),))
HOST = RuleSet("host", 3, (Rule("host", 3, ("host",), 10 * MINUTE),))


def storm(hosts: int = 3, each: int = 4) -> Recording:
    """Alerts of two services on several hosts, each with an object at its provider."""
    intake = Recording()
    for n in range(hosts * each):
        fields: dict[str, Any] = {"service": f"s{n % 2}", "host": f"h{n % hosts}", "external_id": f"P{n}"}
        intake.send(signal(f"fp-{n}", at=T0 + n * 1000, **fields))
    return intake


def planned(intake: Recording, rule_set: RuleSet, record: list[Recorded] | None = None) -> Plan:
    held = Held()
    messages = [m for m in intake.messages if not isinstance(m.data, SetRuleSet)]
    simulation = simulate(TENANT, rule_set, messages, held.through(record or intake.record()))
    return plan(simulation, held, rule_set.label)


def apply(intake: Recording, found: Plan) -> None:
    made: dict[str, str] = {}
    for place, step in enumerate(found.steps):
        result = intake.command(found.command(place, made, ADA), f"{found.plan_id}-{place}")
        assert isinstance(result, outputs.CommandAccepted), result
        if step.change == "split":
            made[step.into] = result.incident_id


def held_alerts(intake: Recording) -> set[frozenset[str]]:
    """Which alert keys stand together in the orchestrator's state."""
    groups: dict[str, set[str]] = {}
    for key in intake.tenant.alerts:
        known = intake.tenant.alerts.get(key)
        holder = intake.tenant.holder(known.incident_id) if known else None
        if holder is not None:
            groups.setdefault(holder.id, set()).add(key)
    return {frozenset(keys) for keys in groups.values()}


def simulated_alerts(intake: Recording, rule_set: RuleSet) -> set[frozenset[str]]:
    other = Recording()
    other.command(command_of(rule_set, ADA))
    other.decide([m for m in intake.messages if not isinstance(m.data, commands.Command)])
    return held_alerts(other)


def test_incidents_are_merged_and_split_as_simulated() -> None:
    intake = storm()
    before = len(intake.declared())
    found = planned(intake, HOST)
    intake.command(command_of(HOST, ADA))
    apply(intake, found)
    assert held_alerts(intake) == simulated_alerts(intake, HOST)
    assert len(intake.declared()) > before
    assert not planned(intake, HOST).steps, "what was done is no longer part of the plan"


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 40)), min_size=1, max_size=25),
    st.booleans(),
)
def test_any_storm_becomes_what_was_simulated(alerts: list[tuple[str, str, int]], by_host: bool) -> None:  # noqa: FBT001
    rule_set = HOST if by_host else SERVICE
    intake = Recording()
    for n, (service, host, minute) in enumerate(alerts):
        intake.now = max(intake.now, T0 + 60 * MINUTE)
        intake.send(signal(f"fp-{n}", at=T0 + minute * MINUTE, service=service, host=host))
    found = planned(intake, rule_set)
    assert found.plan_id == planned(intake, rule_set).plan_id
    intake.command(command_of(rule_set, ADA))
    apply(intake, found)
    assert held_alerts(intake) == simulated_alerts(intake, rule_set)
    assert not planned(intake, rule_set).steps
    counts = {id_: (one.alert_count, one.firing_count, one.externals) for id_, one in fold(intake.recorded).items()}
    for id_, (alert_count, firing_count, externals) in counts.items():
        incident = intake.incident(id_)
        assert (incident.alert_count, incident.firing_count, incident.externals) == (
            alert_count,
            firing_count,
            externals,
        )
    open_ones = [one for one in fold(intake.recorded).values() if not one.merged_into]
    assert sum(one.alert_count for one in open_ones) == len(alerts)
    assert sum(one.firing_count for one in open_ones) == len(alerts)


def test_the_objects_of_providers_go_with_their_alerts() -> None:
    intake = storm()
    intake.command(command_of(HOST, ADA))
    apply(intake, planned(intake, HOST))
    objects = {external.external_id for one in fold(intake.recorded).values() if not one.merged_into
               for external in one.externals}  # fmt: skip
    assert objects == {f"P{n}" for n in range(12)}


def test_closed_and_older_incidents_are_left_and_named() -> None:
    intake = storm()
    first, second = intake.declared()
    intake.command(commands.ChangeState(first, "canceled", ADA))
    found = planned(intake, HOST)
    assert [(one.number, one.why) for one in found.left] == [(1, "it is canceled")]
    assert first not in {step.incident for step in found.steps} | {step.into for step in found.steps}
    later = [(envelope, event) for envelope, event in intake.record() if envelope.sequence > 1]
    assert {one.why for one in planned(intake, HOST, later).left} == {"it began before the span"}
    assert second


def test_nobody_is_told_and_a_rule_set_that_does_not_decide_is_refused() -> None:
    intake = storm()
    everything = {f"com.incidents.{name}.v1": "note" for name in ("declared", "merged", "split", "closed", "resolved")}
    intake.command(commands.SetSubscription("s", "alertmanager", "am-1", everything, ADA))
    found = planned(intake, HOST)
    refused = intake.command(found.command(0, {}, ADA), "too-early")
    assert isinstance(refused, outputs.CommandRejected)
    assert refused.reason == "unknown-rule-set"
    intake.command(command_of(HOST, ADA))
    apply(intake, found)
    assert intake.intents == []
    audit = commands.ApplyRules("host", 3, found.plan_id, "finished", ADA, merged=1)
    assert isinstance(intake.command(audit), outputs.CommandAccepted)
    last = intake.recorded[-1].event
    assert isinstance(last, events.Configured)
    assert (last.what, last.name, last.content["plan"]) == ("rule_application", "host:3", found.plan_id)


def test_the_what_if_after_applying_says_that_nothing_would_change() -> None:
    intake = storm()
    intake.command(command_of(HOST, ADA))
    apply(intake, planned(intake, HOST))
    messages = [m for m in intake.messages if not isinstance(m.data, SetRuleSet)]
    simulation = simulate(TENANT, HOST, messages, intake.record())
    assert simulation.recorded.incidents == simulation.simulated.incidents == 3
    assert simulation.left_out["com.incidents.command.split.v1"] > 0


def test_a_resolved_incident_stays_resolved_in_its_parts() -> None:
    intake = storm(hosts=2)
    intake.rules(Rule("all", 1, ("connector",), 10 * MINUTE))
    (first, *_) = intake.declared()
    intake.command(commands.ChangeState(first, "resolved", ADA))
    key = next(iter(sorted(intake.tenant.alerts_of[first])))
    alert = events.SplitAlert(key, 1, T0, T0)
    result = intake.command(commands.Split(first, (alert,), ADA, title="on its own"))
    assert isinstance(result, outputs.CommandAccepted)
    part = intake.incident(result.incident_id)
    assert (part.status, part.related_to, part.relation) == ("resolved", first, "split")


def test_tickets_of_merged_incidents_stay_linked() -> None:
    intake = Recording()
    intake.command(SetMapping("int_1", "servicenow", 1, mapped(), ADA, ("SEV-3",)))
    for n in range(4):
        intake.send(signal(f"fp-{n}", at=T0 + n * 1000, service="s0", error_type=f"e{n % 2}", severity="SEV-3"))
    tickets = Tickets(intake)
    tickets.answer()
    assert len(set(tickets.shown().values())) == 2
    found = planned(intake, SERVICE)
    intake.command(command_of(SERVICE, ADA))
    apply(intake, found)
    tickets.answer()
    [home] = [one.id for one in fold(intake.recorded).values() if not one.merged_into]
    assert tickets.shown() == {"T1": home, "T2": home}
    intake.command(commands.SetSeverity(home, "SEV-2", ADA))
    assert tickets.answer() == {"T1", "T2"}, "both show what becomes of the incident"
    assert not planned(intake, SERVICE).steps


class Tickets:
    """A ticket system that does what it is asked at once."""

    def __init__(self, intake: Recording) -> None:
        self._intake = intake
        self._answered = 0
        self._versions: dict[str, int] = {}

    def answer(self) -> set[str]:
        """Answer every intent that is open, and those that follow; the tickets that were written."""
        written = set()
        while self._answered < len(self._intake.intents):
            intent = self._intake.intents[self._answered]
            self._answered += 1
            changes = request_of(intent.payload).changes
            ticket = intent.external_id or f"T{len(self._versions) + 1}"
            self._versions[ticket] = self._versions.get(ticket, 0) + 1
            result = RecordTicket(
                intent.incident_id, intent.intent_id, "servicenow", "int_1", intent.action, "done",
                external_id=ticket, external_key=f"INC{ticket}", version=self._versions[ticket],
                fields=dict(changes), written=tuple(changes),
            )  # fmt: skip
            self._intake.send(result)
            written.add(ticket)
        return written

    def shown(self) -> dict[str, str]:
        """The incident that each ticket shows."""
        return {link.external_id: link.follows for link in self._intake.tenant.tickets.values()}
