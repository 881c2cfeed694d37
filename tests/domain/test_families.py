"""Families: incidents of dependent services near in time are linked as cause and effect, whatever comes first."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from streams.agents import state_codec
from streams.domain import commands, events
from streams.domain.correlation import Rule
from streams.domain.families import related
from streams.domain.incident import MAX_FAMILY
from streams.domain.rules import Dependency
from tests.domain.intake import MINUTE, T0, Intake, fold, signal

ADA = "user:ada"
GRAPH = (Dependency("checkout", "payments"), Dependency("payments", "db"), Dependency("search", "db"))


def shop(**more: Any) -> Intake:
    intake = Intake()
    settings: dict[str, Any] = {"dependencies": GRAPH, "family_window_ms": 15 * MINUTE, **more}
    intake.rules(Rule("service", 1, ("service",), 10 * MINUTE), **settings)
    return intake


def family(intake: Intake) -> set[tuple[str, str]]:
    """Pairs of services: of the cause and of the effect."""
    return {
        (r.event.service, r.event.other_service)
        for r in intake.recorded
        if isinstance(r.event, events.Linked) and r.event.role == "cause"
    }


def test_the_order_of_arrival_does_not_matter() -> None:
    signals = [signal(f"fp-{s}", service=s, at=T0 + n * MINUTE) for n, s in enumerate(("checkout", "payments", "db"))]
    for order in permutations(signals):
        intake = shop()
        intake.send(*order)
        assert family(intake) == {("payments", "checkout"), ("db", "payments"), ("db", "checkout")}


def test_both_sides_know_each_other_and_the_fold_agrees() -> None:
    intake = shop()
    intake.send(signal("a", service="checkout"), signal("b", service="payments", at=T0 + 5 * MINUTE))
    effect, cause = (intake.incident(id_) for id_ in intake.declared())
    assert effect.family == ((cause.id, "cause", "payments"),)
    assert cause.family == ((effect.id, "effect", "checkout"),)
    assert {id_: one.family for id_, one in fold(intake.recorded).items()} == {
        effect.id: effect.family,
        cause.id: cause.family,
    }
    link = next(r.event for r in intake.recorded if isinstance(r.event, events.Linked) and r.event.role == "effect")
    assert (link.path, link.apart_ms, link.rule_set) == (("checkout", "payments"), 5 * MINUTE, "tests:1")
    assert state_codec.decode("incident", state_codec.encode("incident", effect)) == effect
    intake.send(signal("c", service="payments", at=T0 + 6 * MINUTE))
    assert len(family(intake)) == 1
    assert sum(isinstance(r.event, events.Linked) for r in intake.recorded) == 2


def test_what_is_far_apart_unrelated_or_too_many_steps_away_is_not_linked() -> None:
    intake = shop()
    intake.send(signal("a", service="db", at=T0 - 16 * MINUTE), signal("b", service="payments"))
    intake.send(signal("c", service="mail"))
    assert family(intake) == set()
    intake = shop(family_depth=1)
    intake.send(signal("a", service="db"), signal("b", service="checkout"))
    assert family(intake) == set()
    intake = shop(family_window_ms=0)
    intake.send(signal("a", service="db"), signal("b", service="payments"))
    assert family(intake) == set()


def test_an_incident_that_still_fires_is_near_whatever_its_age() -> None:
    intake = shop()
    intake.now += 80 * MINUTE
    intake.send(*(signal(f"db-{n}", service="db", at=T0 + n * 8 * MINUTE) for n in range(10)))
    intake.send(signal("b", service="payments", at=T0 + 80 * MINUTE))
    assert len(intake.declared()) == 2
    assert family(intake) == {("db", "payments")}


def test_of_services_that_depend_on_each_other_the_earlier_is_the_cause() -> None:
    both = (Dependency("a", "b"), Dependency("b", "a"))
    for times, expected in (((0, 1), ("a", "b")), ((1, 0), ("b", "a"))):
        intake = shop(dependencies=both)
        intake.send(*(signal(s, service=s, at=T0 + at * MINUTE) for s, at in zip("ab", times, strict=True)))
        assert family(intake) == {expected}


def test_declared_merged_and_canceled_incidents() -> None:
    intake = shop()
    by_hand = intake.command(commands.Declare("db is slow", ADA, service="db")).incident_id
    intake.send(signal("b", service="payments"))
    assert family(intake) == {("db", "payments")}
    other = intake.command(commands.Declare("all of it", ADA)).incident_id
    intake.command(commands.Merge(by_hand, other, ADA))
    intake.send(signal("c", service="search"))
    assert [one.incident_id for one in intake.incident(intake.declared()[-1]).family] == [other]
    intake = shop()
    intake.send(signal("a", service="db"))
    intake.command(commands.ChangeState(intake.declared()[0], "canceled", ADA))
    intake.send(signal("b", service="payments"))
    assert family(intake) == set()


def test_the_family_of_a_merged_incident_moves_to_the_other() -> None:
    intake = shop()
    intake.send(signal("a", service="db"), signal("b", service="payments"))
    cause, effect = intake.declared()
    first = intake.command(commands.Declare("all of it", ADA)).incident_id
    second = intake.command(commands.Declare("all of it, again", ADA)).incident_id
    intake.command(commands.Merge(cause, first, ADA))
    assert intake.incident(first).family == ((effect, "effect", "payments"),)
    assert [one.incident_id for one in intake.incident(effect).family] == [cause, first]
    intake.command(commands.Merge(first, second, ADA))
    assert intake.incident(second).family == ((effect, "effect", "payments"),)
    links = [r.event for r in intake.recorded if isinstance(r.event, events.Linked) and r.envelope.subject == second]
    assert [(one.role, one.service, one.other_service, one.path) for one in links] == [
        ("cause", "db", "payments", ("payments", "db"))
    ]
    intake.command(commands.Merge(effect, second, ADA))
    assert [one.incident_id for one in intake.incident(second).family] == [effect], "none is a relative of itself"
    assert {id_: one.family for id_, one in fold(intake.recorded).items()} == {
        id_: intake.incident(id_).family for id_ in (cause, effect, first, second)
    }


def test_a_family_is_bounded_and_what_is_past_is_forgotten() -> None:
    many = tuple(Dependency(f"s{n}", "db") for n in range(MAX_FAMILY + 5))
    intake = shop(dependencies=many)
    intake.send(signal("a", service="db"), *(signal(d.service, service=d.service) for d in many))
    assert len(intake.incident(intake.declared()[0]).family) == MAX_FAMILY
    intake.now += 2 * 60 * MINUTE
    intake.send(signal("z", service="other"))
    assert not len(intake.tenant.activity)


def test_paths_are_the_shortest_and_cycles_end() -> None:
    graph = (*GRAPH, Dependency("checkout", "db"), Dependency("db", "checkout"))
    causes, effects = related(graph, "checkout", 3)
    assert causes == {"payments": ("checkout", "payments"), "db": ("checkout", "db")}
    assert effects["payments"] == ("checkout", "db", "payments")
