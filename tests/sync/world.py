"""Our side (the real decider over a log of messages), the model of theirs, and everything that can happen between."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.kit.contract import Integration
from connectors.kit.file_attempt import FileAttempt, FileReport, Store
from connectors.kit.http import ProviderHttp
from connectors.kit.outcome import TransientFailure
from connectors.kit.results import files_command, ticket_command
from connectors.kit.ticket_attempt import Result, TicketAttempt, TicketReport
from connectors.kit.ticket_messages import files_message
from connectors.kit.tickets import FilesSeen, Ticket
from streams.agents import state_codec
from streams.agents.conditions import holds
from streams.domain import commands, outputs
from streams.domain.attachment_commands import AddLink, AttachFile
from streams.domain.batch import PartitionState
from streams.domain.envelope import derive_id
from streams.domain.incident import Incident
from streams.domain.mapping import FieldMapping, Owner, Policy
from streams.domain.message import Data, Message
from streams.domain.state import KINDS
from streams.domain.ticket_commands import LinkTicket, ReconcileTickets, ResolveConflict, SetMapping
from streams.domain.ticket_files import FILE_ACTIONS
from streams.domain.ticket_link import TicketLink
from streams.domain.tickets import TicketObserved
from tests.domain.intake import TENANT, Intake
from tests.sync.files import ModelFiles, Objects
from tests.sync.provider import Provider

INTEGRATION = Integration("int_1", TENANT, "servicenow")
SEVERITIES = {"SEV-1": "1", "SEV-2": "2", "SEV-3": "3"}
STATES = {"open": "2", "mitigated": "6", "resolved": "6", "closed": "7", "canceled": "8"}
MOST_BYTES = 100
"""Of a file that is brought here."""

READS = frozenset({"ticket_read", "ticket_list_files"})
MOST_STEPS = 2_000
"""Of the dispatcher in a row, before it counts as a loop: a write takes about five."""

_NO_HTTP = ProviderHttp()
Choice = tuple[Owner, Policy]


def mapping(title: Choice, severity: Choice, status: Choice, assignee: Choice) -> tuple[FieldMapping, ...]:
    """A mapping with these owners and policies."""
    return (
        FieldMapping("title", "short_description", *title, transform=("single_line", "truncate:40")),
        FieldMapping("severity", "urgency", *severity, values=SEVERITIES),
        FieldMapping("status", "state", *status, values=STATES, inbound={"1": "open"}),
        FieldMapping("assignee", "assigned_to", *assignee),
    )


@dataclass
class Job:
    """An intent in the outbox: its attempts, and the call that is being made."""

    intent: outputs.Intent
    attempts: int = 0
    running: Coroutine[Any, Any, Result | FileReport] | None = None
    reported: bool = False


@dataclass
class World:
    """Both sides. Every method is one thing that can happen; ``log`` is the intake as it can be replayed."""

    provider: Provider
    fields: tuple[FieldMapping, ...]
    comments: bool = True
    intake: Intake = field(default_factory=Intake)
    log: list[list[Message]] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    incidents: list[str] = field(default_factory=list)
    seen_intents: int = 0
    edits: int = 0
    notes: list[str] = field(default_factory=list)
    http: ProviderHttp = _NO_HTTP
    files: ModelFiles = field(init=False)
    objects: Objects = field(default_factory=Objects)
    links_made: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Configure the tenant and declare the first incident."""
        self.provider.clock = self.intake.now
        self.files = ModelFiles(self.provider)
        version = SetMapping("int_1", "servicenow", 1, self.fields, "user:ada", ("SEV-1", "SEV-2", "SEV-3"))
        self.send(version)
        self.declare()

    # ---- our side

    def send(self, *data: Data, ids: Sequence[str] = ()) -> None:
        """Put messages on the intake and decide them as one batch."""
        self.intake.now = max(self.intake.now, self.provider.clock)
        messages = [
            self.intake.message(one, ids[place] if ids else "", source="/world") for place, one in enumerate(data)
        ]
        self.provider.clock = self.intake.now
        self.log.append(messages)
        self.intake.decide(messages)
        for intent in self.intake.intents[self.seen_intents :]:
            self.jobs[intent.intent_id] = Job(intent)
        self.seen_intents = len(self.intake.intents)

    def declare(self) -> None:
        """Open an incident."""
        self.send(commands.Declare(self.text("t"), "user:ada"))
        self.incidents = self.intake.declared()

    def text(self, prefix: str) -> str:
        """A value that nobody used before."""
        self.edits += 1
        return f"{prefix}{self.edits}"

    def incident(self, place: int) -> Incident:
        """One of the incidents, whatever the place."""
        return self.intake.incident(self.incidents[place % len(self.incidents)])

    def links(self) -> list[TicketLink]:
        """What is remembered of tickets."""
        return list(self.intake.tenant.tickets.values())

    def edit_ours(self, place: int, name: str, choice: int) -> None:
        """A person edits a field of an incident."""
        incident = self.incident(place)
        if incident.merged_into:
            return
        command: Data
        if name == "title":
            command = commands.ChangeFields(incident.id, {"title": self.text("t")}, "user:ada")
        elif name == "severity":
            command = commands.SetSeverity(incident.id, list(SEVERITIES)[choice % 3], "user:ada")
        elif name == "assignee":
            command = commands.Assign(incident.id, self.text("u"), "user:ada")
        else:
            command = commands.ChangeState(incident.id, list(STATES)[choice % len(STATES)], "user:ada")
        self.send(command)

    def note(self, place: int) -> None:
        """A person writes a note."""
        if not self.incident(place).merged_into:
            text = self.text("note ")
            self.send(commands.AddNote(self.incident(place).id, text, "user:ada"))
            self.notes.append(text)

    def attach_ours(self, place: int) -> None:
        """A person attaches a file."""
        if not self.incident(place).merged_into:
            content = self.text("file ").encode()
            digest, name = self.objects.keep(content), f"{content.decode()}.txt"
            self.send(AttachFile(self.incident(place).id, name, "text/plain", len(content), digest, "user:ada"))

    def link_ours(self, place: int) -> None:
        """A person adds a link."""
        if not self.incident(place).merged_into:
            url = f"https://links.example/{self.text('l')}/"
            self.send(AddLink(self.incident(place).id, url, "user:ada"))
            self.links_made.append(url)

    def merge(self) -> None:
        """The second incident is folded into the first."""
        if len(self.incidents) > 1:
            self.send(commands.Merge(self.incidents[1], self.incidents[0], "user:ada"))

    def decide_conflict(self, place: int, choice: int) -> None:
        """A person decides one of the open conflicts."""
        found = [(link, one) for link in self.links() for one in link.fields if one.conflict]
        if found:
            link, one = found[place % len(found)]
            side: Any = ("ours", "theirs")[choice % 2]
            command = ResolveConflict(link.follows, link.ticket_id, one.external_field, side, "user:ada")
            self.send(command)

    def tamper(self, place: int, what: str) -> None:
        """A person copies or deletes a ticket, or wants one again after it was lost."""
        live = self.provider.live()
        if what == "relink" and not self.incident(place).merged_into:
            self.send(LinkTicket(self.incident(place).id, "int_1", "user:ada"))
        elif what == "copy" and live and len(self.provider.tickets) < 6:
            self.provider.copy(live[place % len(live)].external_id)
        elif what == "delete" and live and place < 2:
            self.provider.delete(live[place % len(live)].external_id)

    def restart(self) -> None:
        """The orchestrator dies and restores its state from what it wrote."""
        old, new = self.intake.state, PartitionState(holds=holds)
        for tenant, state in old.tenants.items():
            for kind in KINDS:
                table = state.table(kind)
                for key in list(table):
                    item = state_codec.decode(kind, state_codec.encode(kind, table.get(key)))
                    new.tenant(tenant).table(kind).load(key, item)
        self.intake.state = new

    # ---- between

    def job(self, place: int) -> Job | None:
        """One of the intents that are not finished."""
        return list(self.jobs.values())[place % len(self.jobs)] if self.jobs else None

    def step(self, place: int) -> None:
        """The dispatcher takes one step in carrying out an intent."""
        job = self.job(place)
        if job is None:
            return
        if job.running is None:
            job.attempts += 1
            job.running = self._attempt(job)
        try:
            job.running.send(None)
        except StopIteration as stop:
            job.running = None
            self._report(job, stop.value)

    def _attempt(self, job: Job) -> Coroutine[Any, Any, Result | FileReport]:
        if job.intent.action in FILE_ACTIONS:
            turns = asyncio.Semaphore(MOST_STEPS)  # nobody waits: there is no loop
            store = Store(self.objects, MOST_BYTES, turns)  # type: ignore[arg-type]  # the same two methods
            return FileAttempt(self.files, self.http, INTEGRATION, job.intent, store).make()
        return TicketAttempt(self.provider, self.http, INTEGRATION, job.intent, job.attempts).make()

    def _report(self, job: Job, result: Result | FileReport) -> None:
        if isinstance(result, TransientFailure):
            return
        del self.jobs[job.intent.intent_id]
        command: Data
        if isinstance(result, TicketReport) or job.intent.action not in FILE_ACTIONS:
            assert not isinstance(result, FileReport)
            command = ticket_command(job.intent, job.attempts, result)
        else:
            command = files_command(job.intent, job.attempts, result)
        self.send(command, ids=[derive_id(job.intent.intent_id, "effect")])

    def crash(self, place: int) -> None:
        """The dispatcher dies in the middle of a call; what it sent may have arrived."""
        job = self.job(place)
        if job is not None and job.running is not None:
            job.running.close()
            job.running = None

    def crash_after_report(self, place: int) -> None:
        """The dispatcher reports a result and dies before it can close the row: the intent is carried out again."""
        job = self.job(place)
        while job is not None and job.intent.intent_id in self.jobs:
            self.step(place)
        if job is not None:
            self.jobs[job.intent.intent_id] = Job(job.intent, job.attempts)

    def deliver(self, place: int, *, keep: bool = False) -> None:
        """A webhook arrives: any of those under way, and perhaps not for the last time."""
        if self.provider.webhooks:
            at = place % len(self.provider.webhooks)
            seen = self.provider.webhooks[at] if keep else self.provider.webhooks.pop(at)
            self.observe(seen, "webhook")

    def lose(self, place: int) -> None:
        """A webhook is lost."""
        if self.provider.webhooks:
            self.provider.webhooks.pop(place % len(self.provider.webhooks))

    def observe(self, seen: Ticket | FilesSeen | str, origin: Any) -> None:
        """A ticket, or which files it has, is shown to us."""
        if isinstance(seen, FilesSeen):
            envelope, hint = files_message(INTEGRATION, seen, origin)
            self.send(hint, ids=[envelope.id])
            return
        if isinstance(seen, str):
            observed = TicketObserved("servicenow", "int_1", seen, origin, deleted=True)
            self.send(observed, ids=[f"deleted-{seen}"])
            return
        observed = TicketObserved(
            "servicenow",
            "int_1",
            seen.external_id,
            origin,
            seen.external_key,
            seen.url,
            seen.marker,
            seen.version,
            seen.updated_at,
            seen.updated_by,
            fields=seen.fields,
        )
        self.send(observed, ids=[f"{seen.external_id}-{seen.version}-{seen.marker}-{sorted(seen.fields.items())}"])

    def poll(self) -> None:
        """The poller reads what changed, with all the overlap it likes."""
        for ticket in self.provider.live():
            if ticket.marker:
                self.observe(self.provider.shown(ticket), "poll")
                self.observe(self.files.seen(ticket), "poll")

    def reconcile(self) -> None:
        """The scheduled check."""
        self.send(ReconcileTickets("", "system:poller"))

    def wait(self, milliseconds: int) -> None:
        """Time passes."""
        self.provider.clock += milliseconds

    # ---- their side

    def edit_theirs(self, place: int, name: str, choice: int) -> None:
        """A person edits a ticket."""
        live = self.provider.live()
        if not live:
            return
        ticket = live[place % len(live)]
        if name == "urgency":
            value = ("1", "2", "3", "4")[choice % 4]
        elif name == "state":
            value = ("1", "2", "3", "6", "7", "8")[choice % 6]
        else:
            value = self.text("t" if name == "short_description" else "u")
        self.provider.edit(ticket.external_id, name, value, "grace")

    def attach_theirs(self, place: int) -> None:
        """A person puts a file on a ticket, perhaps one that is larger than what is taken."""
        live = self.provider.live()
        if live:
            content = self.text("their file ").encode() * (1 if place % 4 else 20)
            self.files.add(live[place % len(live)].external_id, f"{self.edits}.txt", content, "grace")

    def detach_theirs(self, place: int) -> None:
        """A person deletes a file of a ticket."""
        held = [(ticket.external_id, one) for ticket in self.provider.live() for one in ticket.files]
        if held:
            self.files.take_away(*held[place % len(held)])

    # ---- the end

    def settle(self, rounds: int = 60) -> int:
        """Let everything finish with nobody editing; how many rounds of looking again it took."""
        for number in range(rounds):
            before = (self.provider.writes, len(self.intake.recorded))
            if not self._work():
                return rounds
            while self.provider.webhooks:
                self.deliver(0)
            self.poll()
            self.reconcile()
            if not self._work():
                return rounds
            if before == (self.provider.writes, len(self.intake.recorded) - self._reads(before[1])):
                return number
        return rounds

    def _work(self) -> bool:
        """Carry out what waits; false where that goes on and on."""
        for _ in range(MOST_STEPS):
            if not self.jobs:
                return True
            self.step(0)
        return False

    def _reads(self, since: int) -> int:
        """How many of the newest events are about reading only, or about what is kept of strangers."""
        names = {"SyncRequested", "SyncCompleted"}
        new = self.intake.recorded[since:]
        return sum(
            (type(one.event).__name__ in names and getattr(one.event, "action", "") in READS)
            or type(one.event).__name__ == "ProviderIngested"
            for one in new
        )
