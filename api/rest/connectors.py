"""The connectors of this product and what they can do (viewer)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import allowed
from api.rest.openapi import ERRORS
from api.rest.responses import json_response
from connectors.kit.contract import Connector
from connectors.registry import CONNECTORS
from policy.decision import Action, Principal
from streams.domain.tickets import TICKET_ACTIONS

router = APIRouter(route_class=StrictRoute, prefix="/api/v1/connectors", tags=["connectors"], responses=ERRORS)


@router.get("", summary="List connectors and their capabilities")
async def list_connectors(_principal: Annotated[Principal, Depends(allowed(Action.READ_CONNECTORS))]) -> Response:
    """What each takes in and what it can do at the provider."""
    return json_response({"items": [connector_view(connector) for connector in CONNECTORS.values()]})


def _actions(connector: Connector) -> frozenset[str]:
    sends = connector.sends.actions if connector.sends else frozenset()
    return sends | (TICKET_ACTIONS if connector.tickets else frozenset())


def connector_view(connector: Connector) -> dict[str, Any]:
    """A connector as clients see it."""
    return {
        "name": connector.name,
        "receives": sorted(connector.receives.content_types) if connector.receives else [],
        "actions": sorted(_actions(connector)),
        "webhook_path": f"/api/v1/webhooks/{connector.name}/{{integration_id}}" if connector.receives else None,
    }
