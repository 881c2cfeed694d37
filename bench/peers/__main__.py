"""``make bench-peers``: the same storm against what users run today, in the same run as ours.

    python -m bench.peers [--only alerta,keep] [--quick] [--rounds 3] [--alertmanager prometheus-alertmanager]

Each peer is installed into ``.incidents/peers`` at its pinned version, which takes some minutes the first time; one
that cannot be is named with the reason. Prints a table, writes ``bench/results/peers.md``, and prints one JSON object
as its last line.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench.part import Scale, load_average
from bench.peers import page
from bench.peers.alerta import Alerta
from bench.peers.alertmanager import Alertmanager
from bench.peers.contract import Peer, PeerFailedError, Wanted
from bench.peers.keep import Keep
from bench.peers.measure import Part, one_round, ours
from bench.peers.page import OURS, Result
from bench.report import here
from bench.world import EVERYTHING, TENANTS, World, world

PAGE = Path(__file__).resolve().parents[1] / "results" / "peers.md"
OWN = "incidents"


def main() -> None:
    """Install, measure, report."""
    arguments = _arguments()
    scale = Scale(size=0.2, rounds=1) if arguments.quick else Scale(rounds=arguments.rounds)
    parts = [Part("single", scale.of(200), 1), Part("groups_of_100", scale.of(10), 100)]
    peers: list[Peer] = [Alertmanager(arguments.alertmanager), Alerta(), Keep()]
    chosen = [one for one in arguments.only.split(",") if one] or [
        *(peer.name for peer in peers if peer.name not in page.ONLY_NAMED),
        OWN,
    ]
    if unknown := set(chosen) - {OWN, *(peer.name for peer in peers)}:
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}")
    results = {peer: _installed(peer) for peer in peers if peer.name in chosen}
    with world(()) as there:
        for peer, result in results.items():
            if not result.failed:
                _measured(peer, result, there, parts, scale.rounds)
        found = [*results.values(), *([_ours(there, parts, scale.rounds)] if OWN in chosen else [])]
    only = f" ONLY={arguments.only}" if arguments.only else ""
    about = {"Command": f"`make bench-peers{only}{' QUICK=1' if arguments.quick else ''}`", **here()}
    about["Rounds"] = f"{scale.rounds} after a warm-up, medians; in brackets the smallest and the largest"
    print("\n".join(page.table(found)))
    arguments.page.write_text(page.markdown(found, parts, about, len(TENANTS)))
    figures: dict[str, object] = {result.name: result.figures() for result in found}
    print(orjson.dumps({**figures, "not_built": list(page.NOT_BUILT), "load_average": load_average()}).decode())


def _installed(peer: Peer) -> Result:
    print(f"installing: {peer.name}", flush=True)
    try:
        return Result(peer.name, peer.install())
    except PeerFailedError as error:
        return Result(peer.name, failed=str(error))


def _measured(peer: Peer, result: Result, there: World, parts: Sequence[Part], rounds: int) -> None:
    print(f"measuring: {peer.name}", flush=True)
    url = there.database.url.get_secret_value()
    wanted, server = Wanted(), there.pids["postgres"]
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        try:
            with peer.running(url, Path(folder)) as running:
                for part, number, counts in _rounds(parts, rounds):
                    figures = one_round(peer, running, server, part, number, wanted)
                    if counts:
                        result.rounds.setdefault(part.name, []).append(figures)
        except PeerFailedError as error:
            result.failed = str(error)


def _ours(there: World, parts: Sequence[Part], rounds: int) -> Result:
    print(f"measuring: {OWN}", flush=True)
    result = Result(OWN, OURS)
    there.start(EVERYTHING)
    for part, number, counts in _rounds(parts, rounds):
        figures = ours(there, part, number)
        if counts:
            result.rounds.setdefault(part.name, []).append(figures)
    return result


def _rounds(parts: Sequence[Part], rounds: int) -> list[tuple[Part, int, bool]]:
    """Each part with the numbers of its rounds, of which the first, a short one, only warms up."""
    return [
        (
            part if number else Part(part.name, max(1, part.requests // 10), part.size),
            50 * position + number,
            number > 0,
        )
        for position, part in enumerate(parts)
        for number in range(rounds + 1)
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="The same storm against its peers")
    parser.add_argument("--only", default="", help=f"by commas: alertmanager, alerta, keep, {OWN}")
    parser.add_argument("--quick", action="store_true", help="a fifth of everything, one round")
    parser.add_argument("--rounds", type=int, default=3, help="of each part, after a warm-up")
    parser.add_argument("--alertmanager", default="", help="an installed one to measure instead of a built one")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to write the results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
