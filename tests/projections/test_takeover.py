"""A projector that froze in its transaction does not hold up the one that takes its partitions over."""

from __future__ import annotations

import psycopg
import pytest

from projections import checkpoints
from projections.connections import Connection, connect
from projections.registry import projections
from projections.writer import TRANSIENT
from streams.runtime.settings import DatabaseSettings

pytestmark = pytest.mark.stack


def test_locks_of_a_frozen_process_are_freed_for_its_successor(
    database: DatabaseSettings, projector: Connection
) -> None:
    with connect(database, "projector", name="frozen", autocommit=True) as frozen:
        held = checkpoints.claim(frozen, projections(), "incident-events", 0, lambda: 0)
        frozen.execute("BEGIN")
        checkpoints.advance(frozen, dict.fromkeys(held, 5))
        taken = checkpoints.claim(projector, projections(), "incident-events", 0, lambda: 0)
        assert [one.next_offset for one in taken] == [0] * len(held), "nothing of the frozen transaction is there"
        with pytest.raises(TRANSIENT):
            frozen.execute("COMMIT")
        assert frozen.info.transaction_status == psycopg.pq.TransactionStatus.UNKNOWN
