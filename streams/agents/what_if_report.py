"""The report of a what-if: as JSON, as text, and as one HTML page with a picture of the time line.

Everything in it comes from the simulation, so that the same input gives the same bytes.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from streams.agents.grouping import Grouping
from streams.agents.what_if import Simulation, changes
from streams.domain.envelope import rfc3339
from streams.domain.rules import RuleSet

EXAMPLES = 10
_WIDTH, _ROW, _LEFT = 960, 18, 70
_PRIME = "'"
_OLDER = "one from before"
_CHANGES = ("merged", "split", "appeared", "vanished", "moved")


def as_document(tenant: str, rule_set: RuleSet, simulation: Simulation) -> dict[str, Any]:
    """The whole report, JSON-ready."""
    found = changes(simulation)
    recorded, simulated = simulation.recorded, simulation.simulated
    return {
        "tenant": tenant,
        "rules": {"name": rule_set.name, "version": rule_set.version},
        "signals": simulation.signals,
        "commands": simulation.commands,
        "began_before": recorded.began_before,
        "incidents": {"recorded": recorded.incidents, "simulated": simulated.incidents},
        "noise": {"recorded": _noise(recorded), "simulated": _noise(simulated)},
        "families": {"recorded": recorded.families, "simulated": simulated.families},
        "flapping": {"recorded": recorded.flapping, "simulated": simulated.flapping},
        "effects": {
            action: {"recorded": recorded.effects[action], "simulated": simulated.effects[action]}
            for action in sorted({*recorded.effects, *simulated.effects})
        },
        "counts": {name: len(found[name]) for name in _CHANGES},
        "changes": {name: list(found[name]) for name in _CHANGES},
        "left_out": dict(sorted(simulation.left_out.items())),
        "without_target": [
            {"command": one.command, "incident": one.incident, "actor": one.actor, "why": one.why}
            for one in simulation.unaimed
        ],
    }


def _noise(grouping: Grouping) -> float:
    """Incidents per grouped alert: 1 means that every alert is an incident of its own."""
    return round(len(grouping.deliveries) / len(grouping.incident_of), 4) if grouping.incident_of else 0.0


def as_json(document: Mapping[str, Any]) -> str:
    """The report as indented JSON."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode() + "\n"


def as_text(document: Mapping[str, Any]) -> str:
    """The report for people, with the first examples of each change."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    rules, incidents, noise = document["rules"], document["incidents"], document["noise"]
    yield f"{document['tenant']} under rules {rules['name']} version {rules['version']}"
    yield f"  {document['signals']} signals and {document['commands']} commands of people"
    if document["began_before"]:
        yield f"  {document['began_before']} of the recorded incidents began before these signals ({_OLDER})"
    yield f"  incidents           {incidents['recorded']} recorded, {incidents['simulated']} simulated"
    yield f"  incidents an alert  {noise['recorded']} recorded, {noise['simulated']} simulated"
    for name, of in (("family links", "families"), ("flapping alerts", "flapping")):
        yield f"  {name:<19} {document[of]['recorded']} recorded, {document[of]['simulated']} simulated"
    for action, counts in document["effects"].items():
        yield f"  {action:<19} {counts['recorded']} recorded, {counts['simulated']} simulated"
    for name in _CHANGES:
        entries = document["changes"][name]
        yield f"{len(entries)} {_TITLES[name]}"
        for entry in entries[:EXAMPLES]:
            yield f"  {_example(name, entry)}"
        if len(entries) > EXAMPLES:
            yield f"  and {len(entries) - EXAMPLES} more"
    if document["without_target"]:
        yield f"{len(document['without_target'])} commands found no target"
        for entry in document["without_target"][:EXAMPLES]:
            yield f"  {entry['command']} of {entry['actor']} on {entry['incident']}: {entry['why']}"


_TITLES = {
    "merged": "incidents that several recorded ones would become",
    "split": "recorded incidents that would be several",
    "appeared": "incidents of alerts that were in none",
    "vanished": "recorded incidents that would not be",
    "moved": "alerts that would stand with others",
}


def _example(kind: str, entry: Mapping[str, Any]) -> str:
    if kind == "moved":
        where = f"to {_name(entry['to'], _PRIME)}" if entry["to"] else "to no incident"
        return f"{entry['id'][:40]} from {_name(entry['from'])} {where}"
    title = f" {entry['title'][:50]}" if entry["title"] else ""
    shown = f"{_name(entry['number'], _mark(kind))}{title} ({entry['alerts']} alerts)"
    for name, mark in (("from", ""), ("into", _PRIME)):
        if name in entry:
            shown += f" {name} " + ", ".join(_name(one["number"], mark) for one in entry[name][:EXAMPLES])
    return shown


def _name(number: int, mark: str = "") -> str:
    """An incident for people; number 0 is that of one whose beginning lies before everything that was read."""
    return f"INC-{number}{mark}" if number else _OLDER


def _mark(kind: str) -> str:
    """Simulated incidents are marked with a prime, as their numbers are not those of the record."""
    return _PRIME if kind in {"merged", "appeared"} else ""


def as_html(document: Mapping[str, Any], simulation: Simulation) -> str:
    """One page without scripts or references: the text, and both groupings on a time line."""
    body = html.escape(as_text(document))
    title = html.escape(f"What if {document['rules']['name']} version {document['rules']['version']}")
    style = "body{font:14px sans-serif;margin:2em}pre{background:#f6f6f6;padding:1em}text{font-size:11px}"
    pictures = "".join(
        f"<h2>{name}</h2>{_picture(grouping, colour)}"
        for name, grouping, colour in (
            ("Recorded", simulation.recorded, "#8a2be2"),
            ("Simulated", simulation.simulated, "#2e8b57"),
        )
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"</head><body><h1>{title}</h1><pre>{body}</pre>{pictures}</body></html>\n"
    )


def _label(grouping: Grouping, incident: str) -> str:
    number = grouping.numbers.get(incident, 0)
    return f"INC-{number}" if number else "before"


def _picture(grouping: Grouping, colour: str) -> str:
    """One bar an incident, from its first alert to its last (SVG)."""
    bars: Sequence[tuple[str, tuple[int, int]]] = sorted(
        grouping.spans.items(), key=lambda item: grouping.numbers.get(item[0], 0)
    )[:200]
    if not bars:
        return "<p>no incident</p>"
    begin, end = min(span[0] for _, span in bars), max(span[1] for _, span in bars)
    scale = (_WIDTH - _LEFT - 10) / max(1, end - begin)
    rows = []
    for row, (incident, (first, last)) in enumerate(bars):
        x, width = _LEFT + (first - begin) * scale, max(3.0, (last - first) * scale)
        label = html.escape(f"{grouping.titles.get(incident, '')} ({len(grouping.deliveries[incident])} alerts)")
        rows.append(
            f'<text x="2" y="{row * _ROW + 13}">{_label(grouping, incident)}</text>'
            f'<rect x="{x:.1f}" y="{row * _ROW + 3}" width="{width:.1f}" height="{_ROW - 6}" fill="{colour}">'
            f"<title>{label}</title></rect>"
        )
    height = len(bars) * _ROW + 20
    axis = f'<text x="{_LEFT}" y="{height - 4}">{rfc3339(begin)}</text>'
    axis += f'<text x="{_WIDTH - 150}" y="{height - 4}">{rfc3339(end)}</text>'
    return f'<svg width="{_WIDTH}" height="{height}" role="img">{"".join(rows)}{axis}</svg>'
