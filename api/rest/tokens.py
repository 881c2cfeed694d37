"""API tokens of the caller's tenant: list, create, rotate with overlap, revoke at once (admin)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from api import tokens
from api.body import StrictRoute
from api.dependencies import Parts, allowed
from api.problems import Problem
from api.rest.models import Input, Name
from api.rest.responses import json_response
from api.tokens import IssuedToken, Token
from policy.decision import Action, Principal, Role

router = APIRouter(route_class=StrictRoute, prefix="/api/v1/tokens", tags=["tokens"])

TokenId = str
Reader = Annotated[Principal, Depends(allowed(Action.READ_TOKENS))]
Manager = Annotated[Principal, Depends(allowed(Action.MANAGE_TOKENS))]


class NewToken(Input):
    """A token to create."""

    name: Name = Field(examples=["on-call-bot"])
    role: Role = Field(examples=["responder"])
    expires_at: AwareDatetime | None = Field(None, examples=["2027-01-01T00:00:00Z"])


class Rotation(Input):
    """How to rotate a token."""

    overlap_s: int = Field(3600, ge=0, le=2_592_000, description="how long the old token goes on, in seconds")


def view(token: Token) -> dict[str, Any]:
    """A token as clients see it."""
    return {
        "token_id": token.token_id,
        "tenant_id": token.tenant_id,
        "name": token.name,
        "role": token.role,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "rotated_from": token.rotated_from or None,
    }


def issued_view(issued: IssuedToken) -> dict[str, Any]:
    """A new token, with its text for the only time."""
    return {"token": issued.text, **view(issued.token)}


@router.get("", summary="List the tenant's tokens")
async def list_tokens(principal: Reader, api: Parts) -> Response:
    """All tokens, those that are over too; never their secrets."""
    async with api.database.tenant(principal.tenant_id) as connection:
        found = await tokens.list_tokens(connection, principal.tenant_id)
    return json_response({"items": [view(token) for token in found]})


@router.post("", status_code=201, summary="Create a token")
async def create_token(principal: Manager, api: Parts, body: NewToken) -> Response:
    """The answer holds the token's text, which is shown only here."""
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        raise Problem(422, "invalid-input", "The input is not valid", "expires_at is in the past")
    async with api.database.tenant(principal.tenant_id, write=True) as connection:
        issued = await tokens.issue(connection, principal.tenant_id, body.role, body.name, body.expires_at)
    return json_response(issued_view(issued), 201, {"Cache-Control": "no-store"})


@router.post("/{token_id}/rotate", status_code=201, summary="Replace a token, with overlap")
async def rotate_token(principal: Manager, api: Parts, token_id: TokenId, body: Rotation) -> Response:
    """A successor with the same name and role; the old token ends after the overlap."""
    async with api.database.tenant(principal.tenant_id, write=True) as connection:
        issued = await tokens.rotate(connection, principal.tenant_id, token_id, timedelta(seconds=body.overlap_s))
    if issued is None:
        raise _unknown(token_id)
    return json_response(issued_view(issued), 201, {"Cache-Control": "no-store"})


@router.delete("/{token_id}", status_code=204, summary="Revoke a token at once")
async def revoke_token(principal: Manager, api: Parts, token_id: TokenId) -> Response:
    """It ends at its next use, on every replica that hears the database; streams opened with it end too."""
    async with api.database.tenant(principal.tenant_id, write=True) as connection:
        if not await tokens.revoke(connection, principal.tenant_id, token_id):
            raise _unknown(token_id)
    api.authenticator.refresh()
    return Response(status_code=204)


def _unknown(token_id: str) -> Problem:
    return Problem(404, "unknown-token", "Not found", f"no valid token {token_id[:40]}")
