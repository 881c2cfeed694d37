"""The swap: one short transaction in which readers go over to another generation, with nothing missing or twice.

It locks the live generation's positions, so that the projector waits; brings the new generation to the same offsets;
replaces the views; and raises the epoch of the old positions, so that every projector that still writes the old
generation is fenced and goes over too. A lock that is not to be had in 200 ms is asked for again later: readers never
queue behind this for longer. None of these locks is one that a vacuum of the tables holds, which may take hours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import psycopg
import tenacity

from projections import generations
from projections.base import Rebuildable
from projections.checkpoints import CHANNEL
from projections.connections import Connection
from streams.domain.errors import IncidentsError

_NEAR = 2_000
"""Offsets that may still be missing when the projector is made to wait."""
_PATIENCE_S = 60

_POSITIONS = """
SELECT projection, generation, partition, next_offset FROM ops.projection_checkpoints
WHERE topic = %s AND (projection, generation) IN (SELECT * FROM unnest(%s::text[], %s::int[]))
"""
_FENCE = """
UPDATE ops.projection_checkpoints SET epoch = epoch + 1
WHERE topic = %s AND (projection, generation) IN (SELECT * FROM unnest(%s::text[], %s::int[]))
"""

Pairs = Sequence[tuple[Rebuildable, Rebuildable]]


class SwapBlocked(IncidentsError):  # noqa: N818  says what is wrong, as the other errors do
    """The locks of the swap were not to be had in a minute; nothing was changed, and the next run swaps."""


class UnevenPositions(IncidentsError):  # noqa: N818
    """The read models stand at different offsets, so that they cannot be compared and swapped together."""


class _TooFarBehind(IncidentsError):  # noqa: N818
    """Too much is missing to make the projector wait for it."""


def live_positions(
    connection: Connection, live: Sequence[Rebuildable], topic: str, *, lock: bool = False
) -> dict[int, int]:
    """Where these generations stand, by partition; raises ``UnevenPositions`` when not all of them stand there."""
    query = _POSITIONS + ("ORDER BY partition, projection FOR UPDATE" if lock else "")
    rows = connection.execute(query.encode(), _named(topic, live)).fetchall()
    by_model: dict[tuple[str, int], dict[int, int]] = {(one.name, one.generation): {} for one in live}
    for projection, generation, partition, offset in rows:
        by_model[projection, generation][partition] = offset
    found = list(by_model.values())
    if any(one != found[0] for one in found):
        raise UnevenPositions(f"{by_model}: rebuild them one at a time")
    return found[0]


def swap(owner: Connection, pairs: Pairs, topic: str, catch_up: Callable[[Mapping[int, int]], None]) -> None:
    """Let readers go over from the first of each pair to the second.

    ``catch_up`` writes the new generations up to the offsets that it is given, on a connection of its own. Raises
    ``SwapBlocked``.
    """
    live = [old for old, _ in pairs]
    reached: dict[int, int] = {}

    def attempt() -> None:
        for _ in range(5):  # without a lock as near as possible: while this reads, the live one goes on
            ends = live_positions(owner, live, topic)
            missing = sum(end - reached.get(number, 0) for number, end in ends.items())
            catch_up(ends)
            reached.update(ends)
            if missing < _NEAR:
                break
        _swap_once(owner, pairs, topic, catch_up, reached)

    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, _TooFarBehind)
        ),
        wait=tenacity.wait_random(0.05, 0.5),
        stop=tenacity.stop_after_delay(_PATIENCE_S),
    )
    for old in live:  # if an earlier run did not come to it: no longer live, it would seem to be on its way
        generations.mark_shown(owner, old)
    try:
        retry(attempt)
    except tenacity.RetryError as error:
        raise SwapBlocked(f"not within {_PATIENCE_S} s: {error.last_attempt.exception()}") from error
    for _, new in pairs:
        generations.mark_shown(owner, new)


def _swap_once(
    owner: Connection,
    pairs: Pairs,
    topic: str,
    catch_up: Callable[[Mapping[int, int]], None],
    reached: Mapping[int, int],
) -> None:
    live = [old for old, _ in pairs]
    with owner.transaction():
        owner.execute("SET LOCAL lock_timeout = '200ms'")
        ends = live_positions(owner, live, topic, lock=True)
        missing = sum(end - reached.get(number, 0) for number, end in ends.items())
        if missing > 5 * _NEAR:
            raise _TooFarBehind(f"{missing} offsets are missing")
        catch_up(ends)
        for _, new in pairs:
            generations.show(owner, new)
        owner.execute(_FENCE, _named(topic, live))
        owner.execute("SELECT pg_notify(%s, '{}')", [CHANNEL])


def _named(topic: str, projections: Sequence[Rebuildable]) -> tuple[str, list[str], list[int]]:
    return topic, [one.name for one in projections], [one.generation for one in projections]
