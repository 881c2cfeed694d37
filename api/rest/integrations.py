"""Integrations of the caller's tenant: list them, change their names and settings (admin)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import Field
from starlette.responses import Response

from api import integrations
from api.body import StrictRoute
from api.dependencies import Parts, allowed
from api.problems import Problem
from api.rest.models import Input, Name
from api.rest.openapi import ERRORS
from api.rest.responses import json_response
from connectors.registry import CONNECTORS
from policy.decision import Action, Principal

router = APIRouter(route_class=StrictRoute, prefix="/api/v1/integrations", tags=["integrations"], responses=ERRORS)

Reader = Annotated[Principal, Depends(allowed(Action.READ_INTEGRATIONS))]
Configurer = Annotated[Principal, Depends(allowed(Action.CONFIGURE))]
Id = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,100}$")]


class IntegrationInput(Input):
    """What to change; what is absent stays. ``config`` replaces the settings as a whole."""

    name: Name | None = None
    config: dict[str, Any] | None = Field(None, max_length=100, examples=[{"marker_field_id": "01FCNDV6P870EA6S"}])


@router.get("", summary="List the tenant's integrations")
async def list_integrations(principal: Reader, api: Parts) -> Response:
    """Also those that are disabled; never their secrets."""
    async with api.database.tenant(principal.tenant_id) as connection:
        return json_response({"items": await integrations.list_all(connection)})


@router.patch("/{integration_id}", summary="Change the name or the settings of an integration")
async def update_integration(principal: Configurer, api: Parts, integration_id: Id, body: IntegrationInput) -> Response:
    """They count from the next call on. Another account of the provider is another integration, since tickets stay."""
    if body.name is None and body.config is None:
        raise Problem(422, "invalid-input", "The input is not valid", "send at least one of name, config")
    async with api.database.tenant(principal.tenant_id, write=True) as connection:
        changed = await integrations.update(connection, CONNECTORS, integration_id, body.name or "", body.config)
    return json_response(changed)
