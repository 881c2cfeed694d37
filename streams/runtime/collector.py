"""Python's cycle collector, in processes whose heaps are large and hold no cycles.

What is reachable from events and rows is acyclic, so reference counts free it; walking it again and again finds nothing
and takes, with the default thresholds, a tenth to a quarter of the time.
"""

from __future__ import annotations

import gc

THRESHOLD = (50_000, 20, 1000)


def spare() -> None:
    """Collect seldom, and never walk again what the process has loaded to begin with: for those that go on and on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLD)


def stop() -> None:
    """Collect no cycles at all: for processes that end when their piece of work is done."""
    gc.disable()
