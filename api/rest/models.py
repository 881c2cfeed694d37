"""Bodies that clients send; lengths are those of the domain, so that what passes here is not refused for them later."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Short = Annotated[str, StringConstraints(max_length=500)]
Text = Annotated[str, StringConstraints(max_length=16_000)]
Severity = Literal["SEV-1", "SEV-2", "SEV-3", "SEV-4", "SEV-5"]


class Input(BaseModel):
    """A request body: unknown members are refused, so that a misspelt one is not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclareInput(Input):
    """A new incident."""

    title: Annotated[Short, Field(min_length=1, examples=["Checkout answers 500"])]
    severity: Severity = "SEV-3"
    service: Short = Field("", examples=["checkout"])
    description: Text = ""
    draft: bool = Field(default=False, description="keep it out of the way until it is opened")


class StateInput(Input):
    """A step of the lifecycle."""

    to: Short = Field(min_length=1, examples=["mitigated"])
    reason: Text = ""


class AssignInput(Input):
    """Who becomes responsible; empty takes the assignment back."""

    assignee: Short = Field(examples=["ada"])


class SeverityInput(Input):
    """The new severity."""

    severity: Severity = Field(examples=["SEV-1"])


class FieldsInput(Input):
    """The fields to edit; those that are absent stay."""

    title: Annotated[Short, Field(min_length=1)] | None = Field(None, examples=["Checkout is down"])
    service: Short | None = None
    description: Text | None = None


class NoteInput(Input):
    """A note for the timeline."""

    text: Text = Field(min_length=1, examples=["Rolled back to 4.2.1"])


class LinkInput(Input):
    """A link; without a title its address stands for it."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2_000)] = Field(
        examples=["https://grafana.example/d/7"]
    )
    title: Short = Field("", examples=["Latency of checkout"])


class LinkTicketInput(Input):
    """A ticket to link; without ``external_id`` one is made."""

    integration_id: Name
    external_id: Annotated[str, StringConstraints(max_length=200, strip_whitespace=True)] = ""


class ResolveConflictInput(Input):
    """The decision of a conflict; ``value`` goes with the side ``value``."""

    external_field: Name = Field(examples=["assigned_to"])
    side: Literal["ours", "theirs", "value"]
    value: Text = ""


class MappingInput(Input):
    """A mapping, as ``incidents sync mapping defaults`` prints it, as JSON."""

    mapping: dict[str, Any]


class PreviewInput(MappingInput):
    """A mapping, and a record of the ticket system: its raw values by external field."""

    record: dict[str, Text] = Field(max_length=500, examples=[{"state": "6", "urgency": "1"}])


class MergeInput(Input):
    """The incident to fold this one into: its id or number."""

    into: Short = Field(min_length=1, examples=["INC-7"])


class SignalRef(Input):
    """The identity of a signal: the CloudEvents source and id of its delivery."""

    source: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    id: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class LookupInput(Input):
    """Signals to look up."""

    items: list[SignalRef] = Field(min_length=1, max_length=1000)


class SubscriptionInput(Input):
    """Which events go to which connector, as which of its actions."""

    connector: Name = Field(examples=["pagerduty"])
    integration_id: Name
    actions: dict[Name, Name] = Field(max_length=50, examples=[{"com.incidents.acknowledged.v1": "acknowledge"}])
    active: bool = True


class PreferencesInput(Input):
    """The tenant's preferences; times in milliseconds, 0 turns a timer off."""

    auto_resolve: bool = False
    close_after_ms: int = Field(259_200_000, ge=0, le=31_536_000_000)
    archive_after_ms: int = Field(604_800_000, ge=0, le=31_536_000_000)
