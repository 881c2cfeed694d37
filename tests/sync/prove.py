"""``make sync-proof``: many random interleavings, brought to rest and checked; the last line is one JSON object."""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

from tests.sync.checks import violations
from tests.sync.random_walk import walk

_SHOWN = 20


def check(seed: str) -> tuple[str, list[str]]:
    """What is wrong with one interleaving."""
    return seed, violations(walk(seed))


def main(count: int, seed: str) -> int:
    """Check ``count`` interleavings; the exit code."""
    began, found = time.monotonic(), 0
    seeds = [f"{seed}:{number}" for number in range(count)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        wrong = ((one, what) for one, what in pool.map(check, seeds, chunksize=50) if what)
        for one, what in islice(wrong, _SHOWN):
            found += len(what)
            print(f"seed {one}: {'; '.join(what)}")
        found += sum(len(what) for _, what in wrong)
    seconds = round(time.monotonic() - began, 1)
    print(json.dumps({"interleavings": count, "violations": found, "seed": seed, "seconds": seconds}))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2]))
