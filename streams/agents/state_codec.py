"""State items to bytes and back: a JSON array, the format number first (R12).

A worker that meets a format that it does not know refuses the partition: it never guesses at what a newer one wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Any

import orjson

from streams.domain.attachments import Attached, HeldFile, HeldLink
from streams.domain.correlation import Rule, Window
from streams.domain.errors import UnknownSchema
from streams.domain.events import AlertRef, External
from streams.domain.incident import Incident, Relative
from streams.domain.mapping import FieldMapping, TicketMapping
from streams.domain.rules import Dependency, RuleSet, SeverityRule, Silence, Span
from streams.domain.state import AlertState, Flap, Head, Outcome, Preferences, SeenIds, Subscription
from streams.domain.ticket_files import Copy, RemoteFile, TicketFiles
from streams.domain.ticket_link import Asked, FieldLink, TicketLink

FORMAT = 2
"""What is written. Format 1 is read as well: later formats only add values at the end of an item."""

_READ = frozenset({1, 2})
_SEPARATOR = "\x1f"


def item_key(tenant: str, kind: str, key: str) -> bytes:
    """The key of an item in the state topic."""
    return _SEPARATOR.join((tenant, kind, key)).encode()


def split_key(key: bytes) -> tuple[str, str, str]:
    """Tenant, kind and key of an item."""
    tenant, kind, item = key.decode().split(_SEPARATOR, 2)
    return tenant, kind, item


def _values(data: type) -> Callable[[Any], list[Any]]:
    get = attrgetter(*(field.name for field in fields(data)))
    return lambda instance: list(get(instance))


_outcome, _preferences, _rule = _values(Outcome), _values(Preferences), _values(Rule)
_alert_ref, _silence = _values(AlertRef), _values(Silence)
_EXTERNALS = Incident._fields.index("externals")


def _encode_incident(incident: Incident) -> list[Any]:
    externals = [[e.connector, e.integration_id, e.external_id] for e in incident.externals]
    return [*incident[:_EXTERNALS], externals, [list(one) for one in incident.family]]


def _decode_incident(values: list[Any]) -> Incident:
    lists: list[Any] = [tuple(External(*external) for external in values[_EXTERNALS])]
    lists += [tuple(Relative(*one) for one in family) for family in values[_EXTERNALS + 1 :]]
    return Incident(*values[:_EXTERNALS], *lists)


def _decode_rule(values: list[Any]) -> Rule:
    named = dict(zip((field.name for field in fields(Rule)), values, strict=False))
    for name in {"key_fields", "flap_stops"} & named.keys():
        named[name] = tuple(named[name])
    return Rule(**named)


def _encode_silence(silence: Silence) -> list[Any]:
    *plain, windows = _silence(silence)
    return [*plain, [[window.starts, window.ends] for window in windows]]


def _decode_silence(values: list[Any]) -> Silence:
    named = dict(zip((field.name for field in fields(Silence)), values, strict=False))
    return Silence(**{**named, "windows": tuple(Span(*window) for window in named.get("windows", ()))})


def _encode_rule_set(rule_set: RuleSet) -> list[Any]:
    return [
        rule_set.name,
        rule_set.version,
        [_rule(rule) for rule in rule_set.rules],
        [[entry.when, entry.severity] for entry in rule_set.severities],
        [_encode_silence(silence) for silence in rule_set.silences],
        [[one.service, one.on] for one in rule_set.dependencies],
        rule_set.family_window_ms,
        rule_set.family_depth,
    ]


def _decode_rule_set(values: list[Any]) -> RuleSet:
    name, version, rules, severities, silences, *family = values
    dependencies, *limits = family or ((),)
    return RuleSet(
        name,
        version,
        tuple(map(_decode_rule, rules)),
        tuple(SeverityRule(*entry) for entry in severities),
        tuple(map(_decode_silence, silences)),
        tuple(Dependency(*one) for one in dependencies),
        *limits,
    )


def _encode_windows(windows: tuple[Window, ...]) -> list[Any]:
    return [list(window) for window in windows]


def _decode_windows(values: list[Any]) -> tuple[Window, ...]:
    return tuple(Window(*value) for value in values)


def _decode_flap(values: list[Any]) -> Flap:
    flap = Flap(*values)
    return flap._replace(changes=tuple(values[1]), last=AlertRef(*values[-1]))


def _decode_subscription(values: list[Any]) -> Subscription:
    *names, actions = values
    return Subscription(*(*names, tuple((type_, action) for type_, action in actions)))


def _decode_mapping(values: list[Any]) -> TicketMapping:
    [named] = values
    fields_ = tuple(FieldMapping(**{**one, "transform": tuple(one["transform"])}) for one in named["fields"])
    return TicketMapping(**{**named, "fields": fields_, "create_for": tuple(named["create_for"])})


def _encode_ticket(link: TicketLink) -> list[Any]:
    named = link._asdict()
    return [{**named, "fields": [list(one) for one in link.fields], "asked": [list(one) for one in link.asked]}]


def _decode_ticket(values: list[Any]) -> TicketLink:
    [named] = values
    tuples = {name: tuple(named[name]) for name in ("comments", "duplicates")}
    fields_ = tuple(FieldLink(*one) for one in named["fields"])
    asked = tuple(Asked(*one) for one in named["asked"])
    return TicketLink(**{**named, **tuples, "fields": fields_, "asked": asked})


def _decode_attached(values: list[Any]) -> Attached:
    files, links = values
    return Attached(tuple(HeldFile(**one) for one in files), tuple(HeldLink(**one) for one in links))


def _decode_ticket_files(values: list[Any]) -> TicketFiles:
    [named] = values
    texts = {name: tuple(named[name]) for name in ("outgoing", "failed", "links")}
    incoming = tuple(RemoteFile(**one) for one in named["incoming"])
    copies = tuple(Copy(**one) for one in named["copies"])
    return TicketFiles(**{**named, **texts, "incoming": incoming, "copies": copies})


_CODECS: dict[str, tuple[Callable[[Any], list[Any]], Callable[[list[Any]], Any]]] = {
    "head": (list, lambda values: Head(*values)),
    "incident": (_encode_incident, _decode_incident),
    "alert": (list, lambda values: AlertState(*values)),
    "window": (_encode_windows, _decode_windows),
    "activity": (_encode_windows, _decode_windows),
    "flap": (lambda flap: [*flap[:-1], _alert_ref(flap.last)], _decode_flap),
    "outcome": (_outcome, lambda values: Outcome(*values)),
    "seen": (lambda seen: [seen.at, seen.digests.hex()], lambda values: SeenIds(values[0], bytes.fromhex(values[1]))),
    "subscription": (
        lambda s: [s.subscription_id, s.connector, s.integration_id, [list(pair) for pair in s.actions]],
        _decode_subscription,
    ),
    "rule_set": (_encode_rule_set, _decode_rule_set),
    "preferences": (_preferences, lambda values: Preferences(*values)),
    "mapping": (lambda mapping: [asdict(mapping)], _decode_mapping),
    "ticket": (_encode_ticket, _decode_ticket),
    "attached": (lambda held: [list(map(asdict, held.files)), list(map(asdict, held.links))], _decode_attached),
    "ticket_files": (lambda files: [asdict(files)], _decode_ticket_files),
}


def encode(kind: str, item: Any) -> bytes:
    """The bytes of an item of one of ``state.KINDS``."""
    return orjson.dumps([FORMAT, _CODECS[kind][0](item)])


def decode(kind: str, value: bytes) -> Any:
    """The item; raises ``UnknownSchema`` for a format or a kind that a newer version wrote."""
    format_, values = orjson.loads(value)
    if format_ not in _READ or kind not in _CODECS:
        raise UnknownSchema(f"a state item of kind {kind!r} has format {format_}, this version reads {FORMAT}")
    return _CODECS[kind][1](values)
