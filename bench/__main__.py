"""``make bench``: every part, one after the other, each on a stack of its own; no result passes or fails.

    python -m bench [--only accept,visible] [--quick] [--rounds 3] [--largest 1000000] [--page x.md]

Prints a table, writes ``bench/results/<date>-<time>.md`` after each part, and prints one JSON object with all figures
as its last line.
"""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path

import orjson

from bench import alone
from bench.part import Found, Scale, load_average
from bench.report import headline, markdown, table

PARTS = (
    "raw",
    "accept",
    "visible",
    "saturated",
    "push",
    "rebuild",
    "what-if",
    "as-of",
    "verify",
    "reads",
    "writes",
    "growth",
    "subscribers",
    "scale",
    "recovery",
    "storm",
)
FIGURES = (
    "accept_batch_eps",
    "accept_single_rps",
    "accept_single_p99_ms",
    "visible_eps",
    "cpu_us_per_event",
    "push_p50_ms_500",
    "push_p99_ms_500",
    "rebuild_eps",
    "rebuild_vs_copy",
    "what_if_sps",
    "verify_eps",
    "as_of_10k_ms",
    "reads_rps",
    "reads_p95_ms",
    "writes_rps",
    "growth_1e7_vs_1e4",
    "subscribers_10k_mb",
    "calm_tenant_s",
)
"""What the last line always has, with null for what was not measured."""

QUICK = Scale(size=0.2, rounds=2, largest=100_000)


def main() -> None:
    """Measure the parts that are asked for and report."""
    arguments = _arguments()
    scale = QUICK if arguments.quick else Scale(rounds=arguments.rounds, largest=arguments.largest)
    chosen = [name for name in arguments.only.split(",") if name] or list(PARTS)
    if unknown := set(chosen) - set(PARTS):
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    path: Path = arguments.page.absolute()
    path.parent.mkdir(exist_ok=True)
    found: dict[str, Found] = {}
    for name in chosen:
        print(f"measuring: {name}", flush=True)
        began = time.monotonic()
        found[name] = _measured(name, scale)
        found[name].details["part"] = {"seconds": round(time.monotonic() - began), "load_average": load_average()}
        print(table({name: found[name]}), flush=True)
        path.write_text(markdown(found, headline(arguments, scale)))  # what is measured stays if a later part fails
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    figures: dict[str, object] = dict.fromkeys(FIGURES)
    for one in found.values():
        figures |= one.figures
    print(orjson.dumps(figures).decode())


def _measured(name: str, scale: Scale) -> Found:
    if name in alone.ALONE:
        return alone.measure(name, scale)
    found: Found = importlib.import_module(f"bench.{name}").measure(scale)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What this machine carries")
    parser.add_argument("--only", default="", help=f"parts, by commas: {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="a fifth of everything, to see that it works")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement, after a warm-up")
    page = Path(__file__).parent / "results" / f"{time.strftime('%Y-%m-%d-%H%M')}.md"
    parser.add_argument("--page", type=Path, default=page, help="where to write the results")
    parser.add_argument("--largest", type=int, default=1_000_000, help="incidents and events in a seeded store")
    return parser.parse_args()


if __name__ == "__main__":
    main()
