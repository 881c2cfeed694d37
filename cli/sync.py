"""``incidents sync``: the tickets of incidents, their conflicts, and repairing what drifted apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import sync_mapping
from cli.commanding import Tenant, Timeout, actor, send

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from projections.queries.tickets import Ticket
    from streams.agents.ticket_steps import Recorded

app = typer.Typer(help="Tickets in ServiceNow and Jira: state, conflicts, drift, mappings.")
app.add_typer(sync_mapping.app, name="mapping", no_args_is_help=True)

IncidentArgument = Annotated[str, typer.Argument(help="Id or number, e.g. INC-12.")]
IncidentOption = Annotated[str, typer.Option("--incident", help="Only this one: id or number.")]


@app.command()
def status(
    tenant: Tenant,
    incident: IncidentOption = "",
    apart: Annotated[bool, typer.Option("--apart", help="Only those with open conflicts or drifted fields.")] = False,
    as_json: AsJson = False,
) -> None:
    """List tickets: where each is, what is under way, what failed last, and how many conflicts are open."""
    from dataclasses import asdict

    from cli import sync_reading
    from cli.output import print_json, print_table
    from projections.queries.tickets import TicketFilter

    found = sync_reading.tickets(tenant, incident, wanted=TicketFilter(apart=True) if apart else None)
    summary = None if incident else sync_reading.summary(tenant)
    if as_json:
        items = [asdict(ticket) for ticket in found]
        print_json({"tickets": items, "summary": asdict(summary) if summary else None})
        return
    rows = [
        (f"INC-{one.number}", one.external_key or one.external_id or "-", one.connector, one.state, _step(one),
         str(one.open_conflicts), str(one.drifted_fields), _time(one.checked_at), one.last_failure[:60])
        for one in found
    ]  # fmt: skip
    columns = ("incident", "ticket", "connector", "state", "in step", "conflicts", "drift", "looked at", "last failure")
    print_table(columns, rows)
    if summary:
        typer.echo(
            f"{len(found)} tickets; {summary.open_conflicts} open conflicts ({summary.waiting_conflicts} wait for a"
            f" decision), {summary.drifted_fields} drifted fields, {summary.tickets_failed} failed,"
            f" {summary.tickets_gone} gone"
        )


def _step(ticket: Ticket) -> str:
    if ticket.under_way:
        return f"{ticket.under_way.removeprefix('ticket_')} under way"
    return "yes" if ticket.in_step else "no"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "never"


@app.command()
def drift(tenant: Tenant, incident: IncidentOption = "", as_json: AsJson = False) -> None:
    """List the fields on which the two sides differ, with why; exit 1 if there are any."""
    from cli import sync_reading
    from cli.errors import CommandError
    from cli.output import print_json, print_table
    from projections.queries.tickets import TicketFilter

    found = sync_reading.tickets(tenant, incident, wanted=TicketFilter(apart=True))
    apart = [(ticket, one) for ticket in found for one in ticket.fields if one["conflict_id"] or one["drifted_at"]]
    if as_json:
        print_json(
            [{"ticket_id": ticket.ticket_id, "incident": f"INC-{ticket.number}", **one} for ticket, one in apart]
        )
    else:
        rows = [
            (f"INC-{ticket.number}", ticket.external_key, one["field"], one["external_field"], one["ours"],
             one["theirs"], _standing(one), one["explanation"])
            for ticket, one in apart
        ]  # fmt: skip
        print_table(("incident", "ticket", "field", "external", "ours", "theirs", "state", "why"), rows)
    if apart:
        raise CommandError(f"{len(apart)} fields differ")


def _standing(field: Mapping[str, Any]) -> str:
    if not field["conflict_id"]:
        return "drifted, is being repaired"
    return "waits for a decision" if field["waiting"] else "until a side changes"


@app.command()
def explain(
    incident: IncidentArgument,
    field: Annotated[str, typer.Argument(help="title, description, severity, status, service or assignee.")],
    tenant: Tenant,
    as_json: AsJson = False,
) -> None:
    """Say why a field is what it is on both sides: every edit, write, take-over and conflict, with its inputs."""
    from dataclasses import asdict

    from cli import sync_reading
    from cli.output import print_json, print_table
    from streams.agents.ticket_steps import explain as explained

    steps = explained(_record(tenant), sync_reading.incident_id(tenant, incident), field)
    if as_json:
        print_json([asdict(step) for step in steps])
    else:
        rows = [(step.at, step.what, step.ticket, step.text) for step in steps]
        print_table(("time", "what", "external", "how"), rows)


@app.command()
def reconcile(tenant: Tenant, incident: IncidentOption = "", timeout: Timeout = 10.0, as_json: AsJson = False) -> None:
    """Read the tickets again (up to 200, those not looked at for longest first) and repair them by policy."""
    from cli import sync_reading
    from cli.output import print_json
    from infra.local.environment import apply
    from streams.domain.ticket_commands import ReconcileTickets

    apply()
    incident_id = sync_reading.incident_id(tenant, incident) if incident else ""
    send(tenant, ReconcileTickets(incident_id, actor()), timeout)
    if as_json:
        print_json({"tenant": tenant, "incident_id": incident_id})
    else:
        typer.echo("asked for; incidents sync drift shows what is left")


@app.command()
def link(
    incident: IncidentArgument,
    integration: Annotated[str, typer.Argument(help="Id of the integration.")],
    tenant: Tenant,
    ticket: Annotated[str, typer.Option(help="A ticket that is there, by number, key or id; else one is made.")] = "",
    timeout: Timeout = 10.0,
) -> None:
    """Link a ticket to an incident, or have one made for it."""
    from cli import sync_reading
    from streams.domain.ticket_commands import LinkTicket

    incident_id = sync_reading.incident_id(tenant, incident)
    send(tenant, LinkTicket(incident_id, integration, actor(), ticket), timeout)
    typer.echo("asked for; incidents sync status shows when it is there")


@app.command()
def unlink(incident: IncidentArgument, ticket_id: str, tenant: Tenant, timeout: Timeout = 10.0) -> None:
    """Leave a ticket alone from now on."""
    from cli import sync_reading
    from streams.domain.ticket_commands import UnlinkTicket

    send(tenant, UnlinkTicket(sync_reading.incident_id(tenant, incident), ticket_id, actor()), timeout)
    typer.echo("the ticket is left alone from now on")


@app.command()
def resolve(
    incident: IncidentArgument,
    external_field: Annotated[str, typer.Argument(help="The external field, as `incidents sync drift` shows it.")],
    tenant: Tenant,
    side: Annotated[str, typer.Option(help="ours, theirs, or value.")],
    value: Annotated[str, typer.Option(help="Of ours, with --side value.")] = "",
    timeout: Timeout = 10.0,
) -> None:
    """Decide a conflict: for our value, for theirs, or for another one that both shall have."""
    from cli import sync_reading
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.ticket_commands import ResolveConflict

    if side not in {"ours", "theirs", "value"}:
        raise CommandError("--side is ours, theirs or value", ExitCode.USAGE)
    open_ = [
        ticket
        for ticket in sync_reading.tickets(tenant, incident)
        if any(one["external_field"] == external_field and one["conflict_id"] for one in ticket.fields)
    ]
    if len(open_) != 1:
        raise CommandError(f"{len(open_)} tickets of {incident} have an open conflict of {external_field}")
    chosen = ResolveConflict(open_[0].incident_id, open_[0].ticket_id, external_field, side, actor(), value)  # type: ignore[arg-type]
    send(tenant, chosen, timeout)
    typer.echo(f"decided for {value or side}")


def _record(tenant: str) -> list[Recorded]:
    from infra.local.environment import apply
    from streams.agents.recorded import KafkaLog, SpanOf, record
    from streams.runtime.settings import KafkaSettings

    apply()
    with KafkaLog(KafkaSettings()) as log:
        return list(record(log, SpanOf(tenant)))
