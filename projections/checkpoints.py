"""Positions of projections: stored with the rows that they produced, fenced by an epoch (R6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import orjson
from psycopg import sql

from projections.base import Projection
from projections.connections import Connection
from streams.domain.catalogue import Topic
from streams.domain.errors import IncidentsError

CHANNEL = "incidents_checkpoints"
"""Notified with a ``Progress`` as the rows up to there become visible, or with ``{}``: look where everything stands."""

_CLAIM = """
INSERT INTO ops.projection_checkpoints AS c (projection, generation, topic, partition, next_offset, epoch)
VALUES (%s, %s, %s, %s, %s, 1)
ON CONFLICT (projection, generation, topic, partition) DO UPDATE SET epoch = c.epoch + 1
RETURNING next_offset, epoch
"""
_EXISTS = """
SELECT 1 FROM ops.projection_checkpoints
WHERE projection = %s AND generation = %s AND topic = %s AND partition = %s
"""
_READ = """
SELECT next_offset, epoch FROM ops.projection_checkpoints
WHERE projection = %s AND generation = %s AND topic = %s AND partition = %s
"""
_ADVANCE = """
UPDATE ops.projection_checkpoints c SET next_offset = m.following
FROM unnest(%s::text[], %s::int[], %s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[])
  AS m (projection, generation, topic, partition, expected, epoch, following)
WHERE c.projection = m.projection AND c.generation = m.generation AND c.topic = m.topic AND c.partition = m.partition
  AND c.next_offset = m.expected AND c.epoch = m.epoch
"""
_ADVANCE_AND_SAY = (
    sql.SQL(
        "WITH moved AS ({} RETURNING 1)"
        " SELECT (SELECT count(*) FROM moved), count(pg_notify(%s, payload)) FROM unnest(%s::text[]) AS payload"
    )
    .format(sql.SQL(_ADVANCE))
    .as_bytes()
)


_ACTIVE = "SELECT projection, generation FROM ops.projection_active"


_PASSED = """
SELECT partition, min(next_offset)
FROM ops.projection_checkpoints c LEFT JOIN ops.projection_active a USING (projection)
WHERE topic = %s AND c.generation = coalesce(a.generation, c.generation) GROUP BY partition
"""


class Progress(NamedTuple):
    """What a transaction of a projector made visible: the rows of these projections up to an offset of a partition."""

    topic: str
    partition: int
    next_offset: int
    projections: Sequence[str]

    def payload(self) -> str:
        """As it is notified."""
        return orjson.dumps(self._asdict()).decode()

    @classmethod
    def of(cls, payload: str) -> Self | None:
        """What a notification says; ``None`` for one that says nothing, or was sent by an earlier version."""
        try:
            return cls(**orjson.loads(payload))
        except (orjson.JSONDecodeError, TypeError):
            return None


class Fenced(IncidentsError):  # noqa: N818  says what happened, as the other errors do
    """Another process has taken the partition over: this one must leave without writing."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Whose position this is, where, and what the holder last knew of it."""

    projection: str
    generation: int
    topic: Topic
    partition: int
    next_offset: int
    epoch: int

    @property
    def key(self) -> tuple[str, int, str, int]:
        """Its primary key."""
        return self.projection, self.generation, self.topic, self.partition


def active(connection: Connection) -> dict[str, int]:
    """The generation that readers see, of each read model and each of its views."""
    return dict(connection.execute(_ACTIVE).fetchall())


def passed(connection: Connection, topic: str) -> dict[int, int]:
    """How far everything that readers see has come on a topic, by partition: where the one furthest behind goes on."""
    return dict(connection.execute(_PASSED, [topic]).fetchall())


def claim_serving(
    connection: Connection,
    projections: Sequence[Projection],
    topic: Topic,
    partition: int,
    log_start: Callable[[], int],
) -> list[Checkpoint]:
    """As ``claim``, for whoever writes what readers see; raises ``Fenced`` when that is another generation by now.

    Looked at after the claim: a swap locks the same rows, so that it is seen here or fences this claim.
    """
    with connection.transaction():
        claimed = claim(connection, projections, topic, partition, log_start)
        serving = active(connection)
        for projection in projections:
            if serving.get(projection.name, projection.generation) != projection.generation:
                raise Fenced(f"{projection.name}: generation {serving[projection.name]} is active")
    return claimed


def claim(
    connection: Connection,
    projections: Iterable[Projection],
    topic: Topic,
    partition: int,
    log_start: Callable[[], int],
) -> list[Checkpoint]:
    """Take the partition over for each of the projections that follow the topic: whoever held it is fenced.

    A projection without a position begins at 0 or, where it does not need the whole log, at ``log_start()``.
    """
    claimed = []
    with connection.transaction():
        for projection in projections:
            if projection.topic != topic:
                continue
            key = (projection.name, projection.generation, topic, partition)
            start = 0
            if not projection.whole_log and connection.execute(_EXISTS, key).fetchone() is None:
                start = log_start()
            row = connection.execute(_CLAIM, (*key, start)).fetchone()
            assert row is not None, "RETURNING gives the row"
            claimed.append(Checkpoint(projection.name, projection.generation, topic, partition, *row))
    return claimed


def advance(connection: Connection, moves: Mapping[Checkpoint, int]) -> None:
    """Move each checkpoint to its new offset in the open transaction and say so to listeners once it commits.

    Raises ``Fenced`` when a checkpoint is no longer where its holder left it. Whoever is not fenced holds the
    generations that readers see: a swap raises the epochs of those that it replaces.
    """
    heads: dict[tuple[str, int], dict[str, int]] = {}
    for checkpoint, offset in moves.items():
        heads.setdefault((checkpoint.topic, checkpoint.partition), {})[checkpoint.projection] = offset
    payloads = [
        Progress(topic, partition, min(moved.values()), sorted(moved)).payload()
        for (topic, partition), moved in heads.items()
    ]
    row = connection.execute(_ADVANCE_AND_SAY, [*_columns(moves), CHANNEL, payloads]).fetchone()
    _require_all(moves, row[0] if row else 0)


def move(connection: Connection, moves: Mapping[Checkpoint, int]) -> None:
    """Move each checkpoint without a word to listeners: nobody reads these rows yet; raises ``Fenced``."""
    if moves:
        _require_all(moves, connection.execute(_ADVANCE, _columns(moves)).rowcount)


def _columns(moves: Mapping[Checkpoint, int]) -> list[list[object]]:
    rows = [(*checkpoint.key, checkpoint.next_offset, checkpoint.epoch, offset) for checkpoint, offset in moves.items()]
    return [list(column) for column in zip(*rows, strict=True)]


def _require_all(moves: Mapping[Checkpoint, int], moved: int) -> None:
    if moved != len(moves):
        raise Fenced(f"{len(moves) - moved} of {', '.join(map(str, moves))}: held by another projector, or moved")


def committed(connection: Connection, moves: Mapping[Checkpoint, int]) -> bool:
    """Whether a transaction whose commit was lost on the way took place.

    Raises ``Fenced`` when neither its outcome nor its beginning is what the database holds.
    """
    found = set()
    for checkpoint, offset in moves.items():
        row = connection.execute(_READ, checkpoint.key).fetchone()
        if row == (offset, checkpoint.epoch):
            found.add(True)
        elif row == (checkpoint.next_offset, checkpoint.epoch):
            found.add(False)
        else:
            raise Fenced(f"{checkpoint} is held by another projector or was moved to {row}")
    assert len(found) <= 1, "one transaction moves all or none"
    return found == {True}
