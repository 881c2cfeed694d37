"""A page on which the tickets of a fake are edited by hand, as somebody at the provider would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from urllib.parse import parse_qsl

from starlette.requests import Request

_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
form { border: 1px solid #bbb; border-radius: 6px; margin: 1rem 0; padding: .8rem 1rem; }
label { display: inline-block; margin: .2rem 1rem .2rem 0; } h2 { font-size: 1rem; margin: 0 0 .5rem; }
input[type=text] { width: 22rem; } p { color: #555; margin: .3rem 0; white-space: pre-wrap; }
"""


@dataclass(frozen=True, slots=True)
class Input:
    """One field of a form; with ``choices`` (value to label) it is a list."""

    name: str
    label: str
    value: str = ""
    choices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One form: ``notes`` are lines below it."""

    id: str
    heading: str
    inputs: Sequence[Input]
    notes: Sequence[str] = ()


def render(title: str, tickets: Sequence[Ticket], message: str = "") -> str:
    """The whole page, the newest ticket first."""
    forms = "".join(_form(ticket) for ticket in reversed(tickets)) or "<p>No ticket yet.</p>"
    notice = f"<p role='alert'><strong>{escape(message)}</strong></p>" if message else ""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title><style>{_STYLE}</style>"
        f"<h1>{escape(title)}</h1>{notice}<p><a href='/'>Reload</a></p>{forms}</html>"
    )


def _form(ticket: Ticket) -> str:
    inputs = "".join(_input(one) for one in ticket.inputs)
    notes = "".join(f"<p>{escape(note)}</p>" for note in ticket.notes)
    return (
        f"<form method='post' action='/_page/{escape(ticket.id)}'><h2>{escape(ticket.heading)}</h2>{inputs}"
        f"<button>Save</button>{notes}</form>"
    )


def _input(one: Input) -> str:
    label, name = escape(one.label), escape(one.name)
    if not one.choices:
        return f"<label>{label} <input type='text' name='{name}' value='{escape(one.value)}'></label>"
    options = "".join(
        f"<option value='{escape(value)}'{' selected' if value == one.value else ''}>{escape(text)}</option>"
        for value, text in one.choices.items()
    )
    return f"<label>{label} <select name='{name}'>{options}</select></label>"


async def submitted(request: Request) -> dict[str, str]:
    """The fields of a form that was sent."""
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
