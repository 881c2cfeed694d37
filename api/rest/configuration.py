"""The tenant's configuration, which enters through the intake like everything else (admin)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import IdempotencyKey, Parts, allowed
from api.rest.models import PreferencesInput, SubscriptionInput
from api.rest.openapi import WRITE_ANSWERS
from api.rest.outcome import carry_out
from policy.decision import Action, Principal
from streams.domain import commands

router = APIRouter(route_class=StrictRoute, prefix="/api/v1", tags=["configuration"], responses=WRITE_ANSWERS)

Configurer = Annotated[Principal, Depends(allowed(Action.CONFIGURE))]
SubscriptionId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,100}$")]


@router.put("/subscriptions/{subscription_id}", summary="Send events to a connector")
async def set_subscription(
    principal: Configurer,
    api: Parts,
    subscription_id: SubscriptionId,
    body: SubscriptionInput,
    idempotency_key: IdempotencyKey = "",
) -> Response:
    """An inactive one takes the subscription away."""
    command = commands.SetSubscription(subscription_id, actor=principal.actor, **body.model_dump())
    return await carry_out(api, principal, command, key=idempotency_key, traceparent="")


@router.put("/preferences", summary="Set the tenant's preferences")
async def set_preferences(
    principal: Configurer, api: Parts, body: PreferencesInput, idempotency_key: IdempotencyKey = ""
) -> Response:
    """Members that are absent get their defaults."""
    command = commands.SetPreferences(actor=principal.actor, **body.model_dump())
    return await carry_out(api, principal, command, key=idempotency_key, traceparent="")
