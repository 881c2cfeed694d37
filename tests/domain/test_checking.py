"""Each kind of damage is planted in a copy of a record; the first bad event is named, with what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from streams.domain import chain, commands
from streams.domain.batch import Recorded
from streams.domain.checking import Damage, Link, Mark, RecordChecker, RecordHead
from tests.domain.intake import TENANT, Intake, signal

ADA = "user:ada"


@pytest.fixture(scope="module")
def record() -> list[Recorded]:
    """Two incidents, notes on the first in turn with alerts of the second."""
    intake = Intake()
    intake.send(*(signal(f"fp-{n}", service=f"s{n % 2}") for n in range(6)))
    first = intake.declared()[0]
    for n in range(5):
        intake.send(commands.AddNote(first, f"note {n}", ADA))
        intake.send(signal(f"late-{n}", service="s1"))
    return intake.recorded


def check(record: Sequence[Recorded], *marks: Mark) -> tuple[list[Damage], RecordChecker]:
    checker = RecordChecker()
    for mark in marks:
        checker.expect(TENANT, mark)
    for place, one in enumerate(record):
        checker.take(one.envelope, one.value, f"@{place}")
    return checker.finish(), checker


def head(record: Sequence[Recorded]) -> RecordHead:
    damage, checker = check(record)
    assert not damage
    return checker.heads()[TENANT]


def note(record: Sequence[Recorded], number: int) -> int:
    """The place of a note."""
    return [n for n, one in enumerate(record) if one.envelope.type.endswith("note_added.v1")][number]


def resealed(one: Recorded, **changes: object) -> Recorded:
    """An event that was changed by somebody who knows how hashes are made."""
    return replace(one, envelope=chain.sealed(replace(one.envelope, **changes)))  # type: ignore[arg-type]


def test_a_whole_record_has_no_damage(record: list[Recorded]) -> None:
    damage, checker = check(record, Mark("a checkpoint", head(record)), Mark("an older one", head(record[:7])))
    assert not damage
    assert checker.events == len(record) == checker.heads()[TENANT].tenantsequence


def test_edited_data_is_named(record: list[Recorded]) -> None:
    place = note(record, 2)
    bad = [*record]
    bad[place] = replace(bad[place], value=bad[place].value.replace(b"note 2", b"note 9"))
    [damage], _ = check(bad)
    assert (damage.kind, damage.event_id, damage.where) == ("edited", record[place].envelope.id, f"@{place}")
    assert "data" in damage.detail


def test_an_edited_attribute_is_named(record: list[Recorded]) -> None:
    place = note(record, 1)
    bad = [*record]
    bad[place] = replace(bad[place], envelope=replace(bad[place].envelope, recordedtime=1))
    [damage], _ = check(bad)
    assert (damage.kind, damage.event_id) == ("edited", record[place].envelope.id)


def test_an_edited_event_with_a_new_hash_is_named_by_the_one_after_it(record: list[Recorded]) -> None:
    place = note(record, 1)
    bad = [*record]
    bad[place] = resealed(bad[place], causationid="somebody-else")
    [damage], _ = check(bad)
    envelope = record[place].envelope
    assert (damage.kind, damage.event_id, damage.tenantsequence) == ("edited", envelope.id, envelope.tenantsequence)


def test_a_deleted_event_is_named(record: list[Recorded]) -> None:
    place = note(record, 2)
    [damage], _ = check([*record[:place], *record[place + 1 :]])
    assert (damage.kind, damage.tenantsequence) == ("deleted", record[place].envelope.tenantsequence)


def test_a_whole_incident_that_vanished_is_noticed(record: list[Recorded]) -> None:
    gone = record[0].envelope.subject
    [damage], _ = check([one for one in record if one.envelope.subject != gone])
    assert (damage.kind, damage.tenantsequence) == ("deleted", 1)


def test_swapped_events_are_not_called_deleted(record: list[Recorded]) -> None:
    bad = [*record]
    bad[5], bad[6] = bad[6], bad[5]
    [damage], _ = check(bad)
    assert (damage.kind, damage.event_id) == ("swapped", record[5].envelope.id)


def test_an_event_that_stands_there_twice_is_named(record: list[Recorded]) -> None:
    [damage], _ = check([*record[:8], record[3], *record[8:]])
    assert (damage.kind, damage.event_id, damage.where) == ("inserted", record[3].envelope.id, "@8")


def test_a_truncated_record_is_noticed_by_a_checkpoint_only(record: list[Recorded]) -> None:
    assert not check(record[:-3])[0]
    [damage], _ = check(record[:-3], Mark("signed checkpoint 4", head(record)))
    assert (damage.kind, damage.tenantsequence) == ("truncated", len(record) - 2)
    assert "signed checkpoint 4" in damage.detail


def test_a_rewritten_tail_is_noticed_by_a_checkpoint_only(record: list[Recorded]) -> None:
    """The last event and its hash are new, so the chain itself holds."""
    bad = [*record[:-1], resealed(record[-1], causationid="somebody-else")]
    assert not check(bad)[0]
    [damage], _ = check(bad, Mark("signed checkpoint 4", head(record)))
    assert (damage.kind, damage.event_id) == ("rewritten", record[-1].envelope.id)


def test_of_several_that_contradict_the_same_event_one_is_named(record: list[Recorded]) -> None:
    bad = [*record[:-1], resealed(record[-1], causationid="somebody-else")]
    marks = [Mark(f"signed checkpoint {number}", head(record)) for number in (4, 5)]
    [damage], checker = check(bad, *marks)
    assert (damage.kind, damage.event_id) == ("rewritten", record[-1].envelope.id)
    assert checker.events == len(record)


def test_a_state_that_says_otherwise_is_named(record: list[Recorded]) -> None:
    incident = record[0].envelope.subject
    mark = Mark("the state", RecordHead(len(record)), {incident: Link(99, "other")})
    [damage], _ = check(record, mark)
    assert (damage.kind, damage.incident_id) == ("differs", incident)


def test_erased_data_leaves_the_chain_whole(record: list[Recorded]) -> None:
    place = note(record, 2)
    erased = [*record]
    erased[place] = replace(erased[place], value=b"", envelope=replace(erased[place].envelope, datasalt=""))
    damage, checker = check(erased, Mark("a checkpoint", head(record)))
    assert not damage
    assert checker.erased == 1


def test_data_that_is_gone_while_its_salt_is_there_was_not_erased_in_order(record: list[Recorded]) -> None:
    place = note(record, 2)
    bad = [*record]
    bad[place] = replace(bad[place], value=b"")
    [damage], _ = check(bad)
    assert (damage.kind, damage.event_id) == ("edited", record[place].envelope.id)
