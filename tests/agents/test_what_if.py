"""What-if: the recorded signals decided under other rules, people's commands re-aimed, the same report every time."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from streams.agents import what_if, what_if_report
from streams.agents.grouping import Grouping
from streams.agents.rule_files import differences
from streams.agents.what_if import Recorded, Simulation, changes, simulate
from streams.domain import alerts, commands, events, outputs
from streams.domain.correlation import Rule
from streams.domain.envelope import Envelope
from streams.domain.message import Message
from streams.domain.rules import DEFAULT, RuleSet
from tests.domain.intake import MINUTE, SOURCE, T0, TENANT, Intake, signal

ADA = "user:ada"
BY_SERVICE = RuleSet("shop", 2, (Rule("service", 2, ("service",), 10 * MINUTE),))
BY_HOST = RuleSet("hosts", 3, (Rule("host", 3, ("host",), 10 * MINUTE),))


class Recording(Intake):
    """An intake that remembers what went in."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    def message(self, *arguments: object, **more: object) -> Message:
        found = super().message(*arguments, **more)  # type: ignore[arg-type]  # as given
        self.messages.append(found)
        return found

    def record(self) -> list[Recorded]:
        return [(r.envelope, r.event) for r in self.recorded]


def stormy() -> Recording:
    """Two kinds of errors of one service on two hosts: two incidents by the default rules."""
    intake = Recording()
    for n in range(8):
        kind = "latency" if n % 2 else "errors"
        intake.send(signal(f"fp-{n}", at=T0 + n * 1000, error_type=kind, host=f"h{n % 4}"))
    return intake


def under(intake: Recording, rule_set: RuleSet) -> Simulation:
    return simulate(TENANT, rule_set, intake.messages, intake.record())


def test_the_same_rules_change_nothing() -> None:
    intake = stormy()
    simulation = under(intake, DEFAULT)
    assert {name: found for name, found in changes(simulation).items() if found} == {}
    assert len(simulation.simulated.numbers) == len(simulation.recorded.numbers) == 2


def test_wider_rules_merge_and_narrower_ones_split() -> None:
    intake = stormy()
    wide = changes(under(intake, BY_SERVICE))
    assert [one["alerts"] for one in wide["merged"]] == [8]
    assert [one["number"] for one in wide["merged"][0]["from"]] == [1, 2]
    assert not wide["split"]
    narrow = changes(under(intake, BY_HOST))
    assert [one["number"] for one in narrow["split"]] == [1, 2]
    assert len(narrow["moved"]) == 4


def test_what_would_only_be_recorded_vanishes_and_comes_back() -> None:
    silent = RuleSet("quiet", 1, (Rule("all", 1, ("service",), MINUTE, action="record"),))
    intake = stormy()
    assert len(changes(under(intake, silent))["vanished"]) == 2
    quiet = Recording()
    quiet.rules(*silent.rules)
    quiet.send(signal("fp-1"))
    assert not quiet.declared()
    assert len(changes(under(quiet, DEFAULT))["appeared"]) == 1


def test_a_persons_command_finds_the_incident_of_the_first_alert() -> None:
    intake = stormy()
    first, second = intake.declared()
    intake.command(commands.SetSubscription("s", "pagerduty", "am-1", {"com.incidents.acknowledged.v1": "ack"}, ADA))
    intake.command(commands.Acknowledge(second, ADA))
    intake.command(commands.Merge(second, first, ADA, expected_revision=2))
    simulation = under(intake, BY_SERVICE)
    assert simulation.commands == 2
    assert not simulation.unaimed
    (only,) = simulation.simulated.numbers
    assert simulation.simulated.numbers[only] == 1


def test_what_people_split_and_merge_is_split_and_merged() -> None:
    intake = stormy()
    first, second = intake.declared()
    moved = min(intake.tenant.alerts_of[first])
    part = intake.command(commands.Split(first, (events.SplitAlert(moved, 1, T0, T0),), ADA, title="on its own"))
    assert isinstance(part, outputs.CommandAccepted)
    intake.command(commands.Merge(second, part.incident_id, ADA))
    simulation = under(intake, DEFAULT)
    for grouping in (simulation.recorded, simulation.simulated):
        assert sorted(map(len, grouping.deliveries.values())) == [3, 5]
        assert grouping.incidents == 2
        for incident, deliveries in grouping.deliveries.items():
            fingerprints = [f"fp-{int(id_.removeprefix('m-'))}" for _, id_ in deliveries]
            assert grouping.alert_keys[incident] == [alerts.alert_key(SOURCE, one) for one in fingerprints]
            assert all(grouping.incident_of[one] == incident for one in deliveries)
    assert not any(changes(simulation).values())


def test_a_command_finds_the_incident_whose_first_alert_named_an_erased_person() -> None:
    grouping = Grouping()
    alert = events.Alert(
        source=SOURCE, id="m-1", alert_key=alerts.alert_key(SOURCE, "disk of ada"), title="x",
        event_time=T0, recorded_time=T0, fingerprint="disk of person-1",
    )  # fmt: skip
    grouping.take(Envelope("e", "/", "t", TENANT, subject="i"), events.AlertsAttached((alert,)))
    assert alerts.alert_key(*grouping.first_alert["i"]) == alerts.alert_key(SOURCE, "disk of person-1")


def test_a_command_without_a_target_is_listed_and_timers_are_left_out() -> None:
    intake = stormy()
    first = intake.declared()[0]
    intake.command(commands.AddNote(first, "hm", ADA))
    intake.command(commands.FireTimer(first, "close", T0, "e"))
    silent = RuleSet("quiet", 1, (Rule("all", 1, ("service",), MINUTE, action="record"),))
    simulation = under(intake, silent)
    assert [(one.command, one.incident) for one in simulation.unaimed] == [("com.incidents.command.add_note.v1", first)]
    assert simulation.left_out["com.incidents.command.fire_timer.v1"] == 1


FLAPPING = RuleSet(
    "flaps",
    2,
    (
        Rule(
            "all", 2, ("service",), 10 * MINUTE,
            auto_resolve=True, flap_changes=3, flap_window_ms=30 * MINUTE, flap_stops=("incidents",),
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_how_many_signals_are_decided_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(what_if, "BATCH", at_once)
    intake = Recording()
    for begins in (0, 120):  # two bouts of flapping; the first has been calm long enough before the second
        for n in range(begins, begins + 8):
            intake.now = T0 + n * MINUTE
            status: Any = "resolved" if n % 2 else "firing"
            intake.message(signal(at=T0 + n * MINUTE, status=status), f"m-{n}")
    intake.message(signal("fp-2", at=T0), "m-2")  # a delivery of long ago once more
    simulation = under(intake, FLAPPING)
    assert simulation.signals == 17
    assert simulation.simulated.flapping == 2
    assert len(simulation.simulated.incident_of) == len(simulation.simulated.numbers) == 5


def test_the_report_says_it_all_and_is_the_same_every_time() -> None:
    intake = stormy()
    texts = []
    for _ in range(2):
        simulation = under(intake, BY_SERVICE)
        document = what_if_report.as_document(TENANT, BY_SERVICE, simulation)
        texts.append(
            (
                what_if_report.as_text(document),
                what_if_report.as_json(document),
                what_if_report.as_html(document, simulation),
            )
        )
    assert texts[0] == texts[1]
    text, json, html = texts[0]
    assert "incidents           2 recorded, 1 simulated" in text
    assert "INC-1' High latency (8 alerts) from INC-1, INC-2" in text
    assert '"merged": 1' in json
    assert html.count("<rect") == 3
    assert "<script" not in html


def test_what_providers_wrote_cannot_break_out_of_the_page() -> None:
    intake = Recording()
    intake.send(signal("fp-1", title="<script>alert(1)</script>"))
    simulation = under(intake, BY_SERVICE)
    page = what_if_report.as_html(what_if_report.as_document(TENANT, BY_SERVICE, simulation), simulation)
    assert "<script" not in page


def test_nothing_of_a_what_if_can_write() -> None:
    check = (
        "import sys; import streams.agents.what_if, streams.agents.what_if_report; "
        "sys.exit(any(m.split('.')[0] in {'psycopg', 'httpx', 'confluent_kafka'} for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_differences_between_rule_sets() -> None:
    assert differences(BY_HOST, BY_HOST) == []
    found = differences(DEFAULT, RuleSet("x", 1, (*DEFAULT.rules[1:], DEFAULT.rules[0])))
    assert [entry["change"] for entry in found] == ["reordered"]
    changed = RuleSet("x", 1, (Rule("service-error", 1, ("service",), 10 * MINUTE), *DEFAULT.rules[1:]))
    (entry,) = differences(DEFAULT, changed)
    assert (entry["change"], entry["name"]) == ("changed", "service-error")
    assert "key_fields" in entry["detail"]


def test_an_incident_that_began_before_the_span_is_called_so() -> None:
    intake = stormy()
    since = intake.messages[2].recorded
    later = [message for message in intake.messages if message.recorded >= since]
    record = [(envelope, event) for envelope, event in intake.record() if envelope.recordedtime >= since]
    simulation = simulate(TENANT, BY_SERVICE, later, record)
    document = what_if_report.as_document(TENANT, BY_SERVICE, simulation)
    assert document["began_before"] == len(document["changes"]["merged"][0]["from"]) == 2
    for text in (what_if_report.as_text(document), what_if_report.as_html(document, simulation)):
        assert "INC-0" not in text
        assert "2 of the recorded incidents began before these signals" in text
        assert "from one from before, one from before" in text
