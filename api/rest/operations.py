"""What became of a write that was answered 202."""

from __future__ import annotations

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import Parts, allowed
from api.problems import Problem
from api.rest.outcome import operation_view
from api.rest.responses import json_response
from policy.decision import Action, Principal

router = APIRouter(route_class=StrictRoute, prefix="/api/v1/operations", tags=["operations"])


@router.get("/{command_id}", summary="The outcome of a write")
async def operation(
    principal: Annotated[Principal, Depends(allowed(Action.READ_OPERATIONS))], api: Parts, command_id: uuid.UUID
) -> Response:
    """`pending`, `accepted` or `rejected` with the reason.

    404 means that this replica knows nothing of it: not sent, not decided yet, or decided long ago. Sending the write
    again with its Idempotency-Key is always safe and gives the outcome.
    """
    outcome = api.live.outcomes.get(principal.tenant_id, str(command_id))
    if outcome is None and not api.live.outcomes.is_pending(principal.tenant_id, str(command_id)):
        detail = "not known here; send the write again with its Idempotency-Key to learn its outcome"
        raise Problem(404, "unknown-operation", "Not found", detail)
    return json_response(operation_view(str(command_id), outcome))
