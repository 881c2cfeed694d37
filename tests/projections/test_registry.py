"""What holds for every projection, also for those to come: the suite runs over the registry."""

from __future__ import annotations

import typing
from collections.abc import Sequence

import pytest
from psycopg import sql

from projections.base import Projection, Record
from projections.connections import Connection
from projections.registry import projections
from streams.domain import events
from streams.domain.catalogue import CATALOGUE
from tests.projections.histories import History, declared, examples_of, full, intent

pytestmark = pytest.mark.stack

EVERY = pytest.mark.parametrize("projection", projections(), ids=lambda p: p.name)


_TABLES = """
SELECT schemaname, tablename FROM pg_tables
WHERE schemaname IN ('read_data', 'ops') AND tablename <> 'alembic_version'
"""
_ROWS = sql.SQL("SELECT t::text FROM {} t ORDER BY 1")


def dump(owner: Connection) -> dict[str, list[str]]:
    """All rows of all tables as text."""
    return {
        ".".join(name): [text for (text,) in owner.execute(_ROWS.format(sql.Identifier(*name)))]
        for name in owner.execute(_TABLES).fetchall()
    }


def empty(owner: Connection, projection: Projection) -> None:
    """Forget what the projection wrote."""
    for table in projection.tables:
        owner.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(*table.split("."))))


def apply(connection: Connection, projection: Projection, *batches: Sequence[Record]) -> None:
    """Apply batches as the writer does, each in a transaction of its own."""
    projection.prepare(connection)
    connection.commit()
    for batch in batches:
        with connection.transaction():
            projection.apply(connection, batch)


def history_for(projection: Projection) -> list[Record]:
    """Records of the topic that the projection follows."""
    if projection.topic == "incident-events":
        return full(History())
    history = History(topic=projection.topic)
    return [history.add("a", intent(f"intent-{number}")) for number in range(3)]


def test_the_full_history_has_every_event_type() -> None:
    kinds = set(typing.get_args(events.Event))
    assert {type(record.data) for record in full(History())} == kinds


def test_names_are_unique_and_every_table_of_the_read_models_has_one_writer() -> None:
    names = [projection.name for projection in projections()]
    assert len(names) == len(set(names))
    tables = [table for p in projections() for table in p.tables if table.startswith("read_data.")]
    assert len(tables) == len(set(tables))


@EVERY
def test_applied_twice_is_applied_once(projection: Projection, projector: Connection, owner: Connection) -> None:
    records = history_for(projection)
    apply(projector, projection, records)
    once = dump(owner)
    apply(projector, projection, records)
    assert dump(owner) == once
    assert any(once[table] for table in projection.tables)


@EVERY
def test_batches_may_be_cut_anywhere(projection: Projection, projector: Connection, owner: Connection) -> None:
    records = history_for(projection)
    apply(projector, projection, records)
    whole = dump(owner)
    for size in (1, 2, 7):
        empty(owner, projection)
        apply(projector, projection, *(records[at : at + size] for at in range(0, len(records), size)))
        assert dump(owner) == whole


@EVERY
def test_only_its_own_tables_are_touched(projection: Projection, projector: Connection, owner: Connection) -> None:
    before = dump(owner)
    apply(projector, projection, history_for(projection))
    after = dump(owner)
    assert {table for table in after if after[table] != before[table]} <= set(projection.tables)


@EVERY
def test_rows_do_not_depend_on_the_clock(projection: Projection, projector: Connection, owner: Connection) -> None:
    records = history_for(projection)
    apply(projector, projection, records)
    first = dump(owner)
    empty(owner, projection)
    owner.execute("SELECT pg_sleep(0.01)")
    apply(projector, projection, records)
    assert dump(owner) == first


@EVERY
def test_every_committed_example_on_its_topic_is_taken(projection: Projection, projector: Connection) -> None:
    for spec in CATALOGUE:
        if projection.topic not in spec.topics:
            continue
        for number, example in enumerate(examples_of(spec.type)):
            history = History(tenant=f"{spec.type}-{number}", topic=projection.topic)
            if spec.data in typing.get_args(events.IncidentEvent) and spec.data is not events.Declared:
                history.add(f"{spec.type}-{number}", declared())
            history.add(f"{spec.type}-{number}", example)
            apply(projector, projection, history.records)
