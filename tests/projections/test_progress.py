"""What a projector notifies as it commits: that everything which serves has passed an offset."""

from __future__ import annotations

import pytest
from psycopg import sql

from projections import checkpoints
from projections.checkpoints import CHANNEL, Progress
from projections.connections import Connection, connect
from projections.registry import READ_MODELS, projections
from streams.runtime.settings import DatabaseSettings

pytestmark = pytest.mark.stack


def test_it_says_how_far_all_that_serves_has_come(database: DatabaseSettings, projector: Connection) -> None:
    held = checkpoints.claim(projector, projections(), "incident-events", 0, int)
    with connect(database, "api", name="listener", autocommit=True) as listener:
        listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        with projector.transaction():
            checkpoints.advance(projector, {one: 5 + number for number, one in enumerate(held)})
            assert not list(listener.notifies(timeout=0.1)), "nothing is said before it is committed"
        [notification] = listener.notifies(timeout=10, stop_after=1)
    progress = Progress.of(notification.payload)
    assert progress is not None
    assert (progress.topic, progress.partition, progress.next_offset) == ("incident-events", 0, 5)
    assert set(READ_MODELS) <= set(progress.projections)
