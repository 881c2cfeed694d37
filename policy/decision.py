"""The one decision point (R10): REST, GraphQL, SSE and the command line all ask ``decide`` before they answer.

A decision is a pure function of who asks, what for, and on what; it does no I/O, so it may stand on any path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Role = Literal["viewer", "responder", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "responder", "admin")
"""From the narrowest to the widest; each includes the ones before it."""


class Action(StrEnum):
    """Everything that can be asked of the product."""

    READ_INCIDENTS = "incidents:read"
    READ_TIMELINE = "timeline:read"
    READ_ALERTS = "alerts:read"
    READ_ATTACHMENTS = "attachments:read"
    READ_BOARD = "board:read"
    READ_CONNECTORS = "connectors:read"
    READ_OPERATIONS = "operations:read"
    SUBSCRIBE = "events:subscribe"
    DECLARE = "incidents:declare"
    ACT = "incidents:act"
    SEND_SIGNALS = "signals:send"
    READ_INTEGRATIONS = "integrations:read"
    CONFIGURE = "tenant:configure"
    SIMULATE = "rules:simulate"
    READ_TOKENS = "tokens:read"
    MANAGE_TOKENS = "tokens:manage"


_NEEDS: dict[Action, Role] = {
    Action.READ_INCIDENTS: "viewer",
    Action.READ_TIMELINE: "viewer",
    Action.READ_ALERTS: "viewer",
    Action.READ_ATTACHMENTS: "viewer",
    Action.READ_BOARD: "viewer",
    Action.READ_CONNECTORS: "viewer",
    Action.READ_OPERATIONS: "viewer",
    Action.SUBSCRIBE: "viewer",
    Action.DECLARE: "responder",
    Action.ACT: "responder",
    Action.SEND_SIGNALS: "responder",
    Action.READ_INTEGRATIONS: "admin",
    Action.CONFIGURE: "admin",
    Action.SIMULATE: "responder",
    Action.READ_TOKENS: "admin",
    Action.MANAGE_TOKENS: "admin",
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: the tenant and role of a credential; ``token_id`` names it, ``name`` is for people."""

    tenant_id: str
    role: Role
    token_id: str
    name: str = ""

    @property
    def actor(self) -> str:
        """How the record names this principal, e.g. ``token:on-call-bot``."""
        return f"token:{self.name or self.token_id}"


@dataclass(frozen=True, slots=True)
class Resource:
    """What is asked for: a tenant's incident, or the tenant itself (``kind`` and ``id`` empty)."""

    tenant_id: str
    kind: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer; ``reason`` is for people, ``obligations`` name what must be redacted before the data leaves."""

    allowed: bool
    reason: str
    obligations: tuple[str, ...] = ()


Decide = Callable[[Principal, Action, Resource], Decision]
"""The decision point as a port: exits are given it, so that a test can see that each of them asks."""


def decide(principal: Principal, action: Action, resource: Resource) -> Decision:
    """Whether ``principal`` may do ``action`` on ``resource``: never across tenants, else as its role allows."""
    if principal.tenant_id != resource.tenant_id:
        return Decision(allowed=False, reason="the resource belongs to another tenant")
    needed = _NEEDS[action]
    if ROLES.index(principal.role) < ROLES.index(needed):
        return Decision(allowed=False, reason=f"{action} needs the role {needed}, this token has {principal.role}")
    return Decision(allowed=True, reason=f"{principal.role} may {action}")
