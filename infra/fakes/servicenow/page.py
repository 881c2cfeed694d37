"""The fake's page: each incident with the fields that a person at ServiceNow edits."""

from __future__ import annotations

from starlette.responses import HTMLResponse

from infra.fakes.page import Input, Ticket, render
from infra.fakes.servicenow import fields
from infra.fakes.servicenow.attachments import Attachments, File
from infra.fakes.servicenow.table import IncidentTable, Record
from infra.fakes.store import Store

_TEXTS = {
    "short_description": "Short description",
    "close_code": "Resolution code",
    "close_notes": "Resolution notes",
}


def answer(table: IncidentTable, store: Store, attachments: Attachments, message: str = "") -> HTMLResponse:
    """The page; ``message`` is why a change was refused."""
    tickets = [
        _ticket(one, table.journal(one["sys_id"]), attachments.of(one["sys_id"])) for one in store.all("incident")
    ]
    return HTMLResponse(render("ServiceNow incidents (fake)", tickets, message), 403 if message else 200)


def _ticket(record: Record, journal: list[Record], files: list[File]) -> Ticket:
    choices = [
        Input(name, name.capitalize(), record[name], fields.CHOICES[name]) for name in ("state", "impact", "urgency")
    ]
    people = {"": "nobody"} | {one: name for one, name in fields.NAMES.items() if name in fields.PEOPLE["sys_user"]}
    texts = [Input(name, label, record[name]) for name, label in _TEXTS.items()]
    inputs = [*choices, Input("assigned_to", "Assigned to", record["assigned_to"], people), *texts]
    heading = f"{record['number']} · priority {record['priority']} · changed {record['sys_mod_count']} times"
    notes = [f"{one['sys_created_on']} {one['sys_created_by']}: {one['value']}" for one in journal]
    notes += [f"file {one['file_name']}, {one['size_bytes']} bytes, by {one['sys_created_by']}" for one in files]
    more = [Input("work_notes", "Work note"), Input("file_name", "New text file"), Input("file_text", "Its text")]
    return Ticket(record["sys_id"], heading, [*inputs, *more], notes)
