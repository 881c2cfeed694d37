"""``incidents topics``: create the topics of the catalogue, or check them."""

from __future__ import annotations

from typing import Annotated

import typer


def command(
    check: Annotated[bool, typer.Option("--check", help="Only check; create nothing.")] = False,
    partitions: Annotated[int | None, typer.Option(help="Partitions of every topic; chosen once, for growth.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Create what is missing on Kafka and check what is there; safe to run at any time."""
    from dataclasses import asdict

    from cli.output import print_json, print_table
    from infra.local.environment import apply
    from streams.runtime.settings import KafkaSettings
    from streams.runtime.topics import provision

    apply()
    found = provision(KafkaSettings(), partitions=partitions, create=not check)
    if as_json:
        print_json([asdict(topic) for topic in found])
    else:
        print_table(["topic", "partitions", "outcome"], [[t.topic, str(t.partitions), t.outcome] for t in found])
