"""The results of a run as ``bench/results/peers.md`` and as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.figures import median, spread
from bench.peers.contract import About
from bench.peers.measure import Figures, Part

NOT_BUILT = {
    "GoAlert": (
        "`go install github.com/target/goalert/cmd/goalert@v0.34.1` (Go 1.26.8, 2026-11-26) ends with `loading "
        "deprecation for github.com/target/goalert: module github.com/target/goalert: reading …/@v/list: 403 "
        "Forbidden: This module version is not available.` The module proxy refuses its list of versions, and no other "
        "registry has it, so it was neither built nor measured."
    ),
}
"""What could not be installed at all when this was written, with what was tried."""

ONLY_NAMED = {
    "keep": (
        "the only current package of it is another publisher's upload, which nobody here has compared with its source; "
        "`ONLY=keep,incidents` installs and measures it all the same"
    ),
}
"""What is measured where it is asked for by name, and why not otherwise."""

OURS = About(
    "this commit",
    [
        "everything running: worker, projector, dispatcher, scheduler, archiver, API",
        "POST /webhooks/alertmanager/…, a secret for each of eight tenants, the default rule set",
    ],
    "Kafka (4 partitions), PostgreSQL and S3 of the same run",
    "what was answered 202: Kafka has acknowledged it with acks=all before",
    [
        "Repetitions of a delivery are recognized by their id and change nothing.",
        "Visible means: decided, grouped into incidents, recorded in a hash chain, the alert's row returned by REST.",
        "It signs, archives and keeps eight tenants apart; each peer is one tenant.",
    ],
)


@dataclass(slots=True)
class Result:
    """Of one product: what it is and its rounds by part, or why there are none."""

    name: str
    about: About | None = None
    rounds: dict[str, list[Figures]] = field(default_factory=dict)
    failed: str = ""

    def figures(self) -> dict[str, object]:
        """For the JSON line."""
        found: dict[str, object] = {"failed": self.failed} if self.failed else {}
        if self.about:
            found["version"] = self.about.version
        for part, rounds in self.rounds.items():
            found[part] = {
                "accepted_eps": median([one.accepted for one in rounds]),
                "taken_eps": median([one.taken for one in rounds]),
                "visible_eps": median([one.visible for one in rounds]),
                "cpu_us": median([one.cpu_us for one in rounds]),
            }
        return found


def table(results: Sequence[Result]) -> list[str]:
    """A row for each product and part, as Markdown."""
    lines = [
        "| product | part | accepted/s | visible/s | visible/s without repetitions | CPU µs an alert |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        for part, rounds in result.rounds.items():
            columns = [[getattr(one, name) for one in rounds] for name in ("accepted", "taken", "visible", "cpu_us")]
            cells = [f"{median(values):,}" + (f" ({spread(values)})" if len(values) > 1 else "") for values in columns]
            lines.append(f"| {result.name} | {part} | {' | '.join(cells)} |")
        if result.failed:
            lines.append(f"| {result.name} | not measured | {result.failed} | | | |")
    return lines


def markdown(results: Sequence[Result], parts: Sequence[Part], about: Mapping[str, str], senders: int) -> str:
    """The whole page."""
    sizes = "; ".join(f"{one.name}: {one.requests} requests of each sender" for one in parts)
    lines = [
        "# The same storm against what users run today",
        "",
        *(f"- {name}: {text}" for name, text in about.items()),
        (
            f"- Load: {senders} senders, a connection each, the next request when the last was answered. {sizes}. The "
            "same alerts for all (storm of few keys, 30 % repetitions, 20 % resolutions), each product's own API asked "
            "until it shows them, then everything counted once more."
        ),
        "",
        *table(results),
        "",
        (
            "A resolution and the alert that it ends are two signals of ours and one row of a peer; both count as what "
            "was sent. `visible/s` counts every alert that was sent, the next column leaves repetitions out."
        ),
        "",
    ]
    for result in results:
        if result.about:
            lines += _section(result.name, result.about)
    lines += ["## Not built", "", *(f"- {name}: {why}" for name, why in NOT_BUILT.items()), ""]
    if left := {name: why for name, why in ONLY_NAMED.items() if name not in {result.name for result in results}}:
        lines += ["## Measured only by name", "", *(f"- {name}: {why}" for name, why in left.items()), ""]
    return "\n".join(lines)


def _section(name: str, about: About) -> list[str]:
    return [
        f"## {name}",
        "",
        f"- Version: {about.version}",
        f"- Configuration: {'; '.join(about.configuration)}",
        f"- Database: {about.database}",
        f"- Survives a kill: {about.survives}",
        "",
        "Not comparable:" if name != "incidents" else "To know:",
        "",
        *(f"- {text}" for text in about.not_comparable),
        "",
    ]
