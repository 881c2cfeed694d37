"""Intents to requests of the REST API (https://developer.pagerduty.com/api-reference), and its answers to outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from connectors.kit.http import Answer, classify, retry_after
from connectors.kit.markers import marker
from connectors.kit.outcome import Found, NotFound, Ok, Outcome, PermanentFailure, TransientFailure
from streams.domain.outputs import Intent

ACTIONS = frozenset({"acknowledge", "resolve", "note"})

ALREADY_RESOLVED = 1001
ALREADY_ACKNOWLEDGED = 1002
RATE_LIMITED = 2020
ALREADY = frozenset({ALREADY_RESOLVED, ALREADY_ACKNOWLEDGED})
_NOTE_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """A call below the API's base URL; ``body`` is JSON."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None


def render(intent: Intent) -> Request | PermanentFailure:
    """The request that carries an intent out."""
    if not intent.external_id:
        return PermanentFailure("no PagerDuty incident to act on")
    path = f"/incidents/{quote(intent.external_id, safe='')}"
    match intent.action:
        case "acknowledge":
            return Request("PUT", path, _status("acknowledged"))
        case "resolve":
            return Request("PUT", path, _status("resolved"))
        case "note":
            text = intent.payload.get("text", "")[:_NOTE_CHARACTERS]
            content = f"{text}\n\n{marker(intent.idempotency_key)}"
            return Request("POST", f"{path}/notes", {"note": {"content": content}})
        case _:
            return PermanentFailure(f"PagerDuty knows no action {intent.action!r}")


def _status(status: str) -> dict[str, Any]:
    return {"incident": {"type": "incident_reference", "status": status}}


def render_look_up(intent: Intent) -> Request | None:
    """The request that finds a note again; ``None`` where doing it twice does no harm."""
    if intent.action != "note" or not intent.external_id:
        return None
    return Request("GET", f"/incidents/{quote(intent.external_id, safe='')}/notes")


def read_look_up(answer: Answer, intent: Intent) -> Found | NotFound:
    """Whether the notes of an incident hold the intent's."""
    wanted = marker(intent.idempotency_key)
    document = answer.json()
    notes = document.get("notes") if isinstance(document, dict) else None
    for note in notes if isinstance(notes, list) else ():
        if isinstance(note, dict) and wanted in str(note.get("content", "")):
            return Found(str(note.get("id", "")))
    return NotFound()


def read(answer: Answer, intent: Intent, now: float) -> Outcome:
    """What an answer means: error codes 1001 and 1002 are the wish come true, 2020 is the rate limit."""
    if answer.succeeded:
        return Ok(_reference(answer.json(), intent))
    codes = error_codes(answer.json())
    if codes & ALREADY:
        return Ok(intent.external_id, "already so")
    failure = classify(answer, now)
    if RATE_LIMITED in codes:
        return throttled(answer, now)
    if not codes:
        return failure
    reason = f"{failure.reason}, error {min(codes)}"
    if isinstance(failure, TransientFailure):
        return TransientFailure(reason, failure.retry_after_s, failure.throttled)
    return PermanentFailure(reason)


def throttled(answer: Answer, now: float) -> TransientFailure:
    """The rate limit, with the wait that it asks for."""
    return TransientFailure("rate limited", retry_after(answer.headers, now, throttled=True), throttled=True)


def error_codes(document: Any) -> set[int]:
    """The code of an error body, and those of its ``errors`` where they are numbered."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return set()
    found = [error.get("code")]
    errors = error.get("errors")
    found += [e.get("code") for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
    return {code for code in found if isinstance(code, int)}


def _reference(document: Any, intent: Intent) -> str:
    note = document.get("note") if isinstance(document, dict) else None
    return str(note["id"]) if isinstance(note, dict) and "id" in note else intent.external_id
