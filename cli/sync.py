"""``incidents sync``: the tickets of incidents, their conflicts, and repairing what drifted apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import sync_mapping
from cli.commanding import Tenant, Timeout, actor, send

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]

if TYPE_CHECKING:
    from streams.agents.ticket_history import Recorded, TicketHistory

app = typer.Typer(help="Tickets in ServiceNow and Jira: state, conflicts, drift, mappings.")
app.add_typer(sync_mapping.app, name="mapping", no_args_is_help=True)

IncidentArgument = Annotated[str, typer.Argument(help="Id or number, e.g. INC-12.")]
IncidentOption = Annotated[str, typer.Option("--incident", help="Only this one: id or number.")]


@app.command()
def status(tenant: Tenant, incident: IncidentOption = "", as_json: AsJson = False) -> None:
    """List tickets: where each is, what is under way, what failed last, and how many conflicts are open."""
    from dataclasses import asdict

    from cli.output import print_json, print_table

    found, numbers = _tickets(tenant, incident)
    if as_json:
        print_json([asdict(ticket) for ticket in found])
        return
    rows = [
        (numbers.get(one.incident_id, one.incident_id), one.external_key or one.external_id, one.connector, one.state,
         one.under_way, str(len(one.divergent)), one.last_failure[:60])
        for one in found
    ]  # fmt: skip
    print_table(("incident", "ticket", "connector", "state", "under way", "conflicts", "last failure"), rows)


@app.command()
def drift(tenant: Tenant, incident: IncidentOption = "", as_json: AsJson = False) -> None:
    """List the fields on which the two sides differ, with why; exit 1 if there are any."""
    from dataclasses import asdict

    from cli.errors import CommandError
    from cli.output import print_json, print_table

    found, numbers = _tickets(tenant, incident)
    apart = [(ticket, one) for ticket in found for one in ticket.divergent]
    if as_json:
        print_json([{"ticket_id": ticket.ticket_id, **asdict(one)} for ticket, one in apart])
    else:
        rows = [
            (numbers.get(ticket.incident_id, ""), ticket.external_key, one.field, one.external_field, one.ours,
             one.theirs, "waits for a decision" if one.waiting else "until a side changes", one.explanation)
            for ticket, one in apart
        ]  # fmt: skip
        print_table(("incident", "ticket", "field", "external", "ours", "theirs", "state", "why"), rows)
    if apart:
        raise CommandError(f"{len(apart)} fields differ")


@app.command()
def explain(
    incident: IncidentArgument,
    field: Annotated[str, typer.Argument(help="title, description, severity, status, service or assignee.")],
    tenant: Tenant,
    as_json: AsJson = False,
) -> None:
    """Say why a field is what it is on both sides: every edit, write, take-over and conflict, with its inputs."""
    from dataclasses import asdict

    from cli.output import print_json, print_table
    from streams.agents.ticket_history import explain as explained

    record = _record(tenant)
    steps = explained(record, _incident_id(record, incident), field)
    if as_json:
        print_json([asdict(step) for step in steps])
    else:
        rows = [(step.at, step.what, step.ticket, step.text) for step in steps]
        print_table(("time", "what", "external", "how"), rows)


@app.command()
def reconcile(tenant: Tenant, incident: IncidentOption = "", timeout: Timeout = 10.0, as_json: AsJson = False) -> None:
    """Read the tickets again (up to 200, those not looked at for longest first) and repair them by policy."""
    from cli.output import print_json
    from infra.local.environment import apply
    from streams.domain.ticket_commands import ReconcileTickets

    apply()
    incident_id = _incident_id(_record(tenant), incident) if incident else ""
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
    from streams.domain.ticket_commands import LinkTicket

    incident_id = _incident_id(_record(tenant), incident)
    send(tenant, LinkTicket(incident_id, integration, actor(), ticket), timeout)
    typer.echo("asked for; incidents sync status shows when it is there")


@app.command()
def unlink(incident: IncidentArgument, ticket_id: str, tenant: Tenant, timeout: Timeout = 10.0) -> None:
    """Leave a ticket alone from now on."""
    from streams.domain.ticket_commands import UnlinkTicket

    send(tenant, UnlinkTicket(_incident_id(_record(tenant), incident), ticket_id, actor()), timeout)


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
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.ticket_commands import ResolveConflict

    if side not in {"ours", "theirs", "value"}:
        raise CommandError("--side is ours, theirs or value", ExitCode.USAGE)
    found, _ = _tickets(tenant, incident)
    open_ = [one for one in found if one.fields.get(external_field) in one.divergent]
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


def _incident_id(record: list[Recorded], reference: str) -> str:
    from cli.errors import CommandError
    from cli.exit_codes import ExitCode
    from streams.domain.events import Declared

    for envelope, event in record:
        if isinstance(event, Declared) and reference in {envelope.subject, f"INC-{event.number}", str(event.number)}:
            return envelope.subject
    raise CommandError(f"the record names no incident {reference}", ExitCode.NOT_FOUND)


def _tickets(tenant: str, incident: str) -> tuple[list[TicketHistory], dict[str, str]]:
    """The tickets (of one incident), and the human numbers of incidents by id."""
    from streams.agents.ticket_history import tickets
    from streams.domain.events import Declared

    record = _record(tenant)
    only = _incident_id(record, incident) if incident else ""
    found = [one for one in tickets(record).values() if not only or one.incident_id == only]
    return found, {e.subject: f"INC-{event.number}" for e, event in record if isinstance(event, Declared)}
