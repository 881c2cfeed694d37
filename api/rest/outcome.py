"""What a write answers: the incident as read, or where its outcome can be asked for."""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from api.auth import Unavailable
from api.commands import Submitted
from api.dependencies import Api
from api.problems import Problem
from api.rest.responses import json_response
from api.views import incident_view
from policy.decision import Principal
from streams.domain.commands import Command
from streams.domain.outputs import CommandAccepted, CommandRejected

_ETAG = re.compile(r'(?:W/)?"(\d{1,18})"')


def etag(revision: int) -> str:
    """The entity tag of an incident: its revision, which moves only with what people edit."""
    return f'"{revision}"'


def expected_revision(if_match: str | None) -> int:
    """The revision that ``If-Match`` names; 0 for none or ``*``.

    Raises ``Problem`` 400 for anything but one entity tag of this API, 412 for revision 0, which no incident has.
    """
    if if_match is None or if_match.strip() == "*":
        return 0
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        raise Problem(400, "malformed-if-match", "If-Match is not an entity tag", 'send If-Match: "<revision>"')
    if int(match[1]) == 0:
        raise Problem(412, "stale-revision", "The incident has changed", "no incident has revision 0")
    return int(match[1])


async def carry_out(
    api: Api, principal: Principal, command: Command, *, key: str, traceparent: str, created: bool = False
) -> Response:
    """Submit a command and answer it: 200 or 201 with the incident as read, 202 while that has to wait.

    Raises ``Problem`` as ``Commands.submit`` does.
    """
    submitted = await api.commands.submit(principal, command, key=key, traceparent=traceparent)
    outcome = submitted.outcome
    if outcome is None or not submitted.visible:
        return accepted(submitted)
    try:
        return await _as_read(api, principal, submitted.command_id, outcome, created=created)
    except Unavailable:
        return accepted(submitted)


async def _as_read(
    api: Api, principal: Principal, command_id: str, outcome: CommandAccepted, *, created: bool
) -> Response:
    position = {"command_id": command_id, "tenantsequence": outcome.tenantsequence}
    if not outcome.incident_id:
        return json_response({"status": "accepted", **position})
    incident = await api.reads.incident(principal.tenant_id, outcome.incident_id)
    if incident is None:
        raise Unavailable("the read model does not show the incident yet")
    headers = {"ETag": etag(incident.revision)}
    if created:
        headers["Location"] = f"/api/v1/incidents/{incident.incident_id}"
    return json_response({**incident_view(incident), **position}, 201 if created else 200, headers)


def accepted(submitted: Submitted) -> Response:
    """202: the command is durable; its outcome, or its effect on reads, is not there yet."""
    link = f"/api/v1/operations/{submitted.command_id}"
    document = operation_view(submitted.command_id, submitted.outcome)
    return json_response({**document, "operation": link}, 202, {"Location": link, "Retry-After": "1"})


def operation_view(command_id: str, outcome: CommandAccepted | CommandRejected | None) -> dict[str, Any]:
    """An operation as clients see it."""
    match outcome:
        case None:
            return {"command_id": command_id, "status": "pending"}
        case CommandRejected():
            reason = {"reason": outcome.reason, "detail": outcome.detail}
            return {
                "command_id": command_id,
                "status": "rejected",
                "incident_id": outcome.incident_id or None,
                **reason,
            }
        case CommandAccepted():
            return {
                "command_id": command_id,
                "status": "accepted",
                "incident_id": outcome.incident_id or None,
                "number": outcome.number or None,
                "revision": outcome.revision,
                "sequence": outcome.sequence,
                "tenantsequence": outcome.tenantsequence,
            }
