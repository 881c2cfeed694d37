"""Whether work becomes dearer as the store grows: CPU of an event from webhook to row, with 10^4 to 10^7 stored events.

The store is seeded directly: for every three events an incident, three alerts and three rows of the timeline.
"""

from __future__ import annotations

from bench import visible
from bench.part import Found, Row, Scale, load_average
from bench.reads import empty
from bench.seed import seed
from bench.world import world

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
GROUPS = 30
SEEDED = ("stored-1", "stored-2", "stored-3", "stored-4")


def measure(scale: Scale) -> Found:
    """Each size on the same stack; the seeded rows belong to tenants of their own and stand in the same tables."""
    found = Found()
    whole: dict[int, float] = {}
    with world() as there:
        visible.one_round(there, GROUPS, "storm", 50)  # warms up
        for turn, size in enumerate(size for size in SIZES if size <= scale.largest * 10):
            empty(there)
            seed(there.database, SEEDED, size // 3)
            # Never the same services twice: their open incidents are known to the workers, and the rows are gone.
            numbers = range(60 + turn * scale.rounds, 60 + (turn + 1) * scale.rounds)
            rounds = [visible.one_round(there, scale.of(GROUPS), "storm", number) for number in numbers]
            events = sum(one["events"] for one in rounds)
            cost = {name: round(sum(one[name] for one in rounds) / events * 1e6, 1) for name in visible.PROCESSES}
            whole[size] = round(sum(cost.values()), 1)
            found.rows.append(
                Row(
                    f"{size:,} stored events: CPU of all processes (µs/event)",
                    f"{whole[size]}",
                    f"PostgreSQL {cost['postgres']}, projector {cost['projector']}",
                )
            )
            found.details[f"{size}"] = {"cpu_us_per_event": cost, "load_average": load_average()}
    largest, smallest = max(whole), min(whole)
    ratio = round(whole[largest] / whole[smallest], 2)
    found.rows.append(Row(f"{largest:,} against {smallest:,} stored events", f"{ratio}", goal="at most 1.2"))
    found.figures["growth_1e7_vs_1e4"] = ratio if largest == SIZES[-1] else None
    found.details["growth"] = {"ratio": ratio, "largest": largest}
    return found
