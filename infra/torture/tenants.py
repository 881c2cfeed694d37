"""The tenants of a run: tokens and integrations, made as the command line makes them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from pydantic import SecretStr

from api import tokens
from connectors.kit import integrations
from connectors.kit.secrets import ConnectorSettings, SecretBox
from connectors.registry import CONNECTORS
from policy.decision import Role
from projections.connections import parameters
from streams.runtime.settings import DatabaseSettings


@dataclass(frozen=True, slots=True)
class PagerDutyAccount:
    """Where PagerDuty's API is, and what it wants to see."""

    url: str
    token: str
    email: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An integration: where its deliveries go, the secret that they show or are signed with, and their source."""

    integration_id: str
    path: str
    secret: str
    source: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant of the run."""

    name: str
    admin_token: str
    viewer_token: str
    alertmanager: Endpoint
    pagerduty: Endpoint


def make_tenants(
    names: Sequence[str], database: DatabaseSettings, secret_key: SecretStr, account: PagerDutyAccount
) -> list[Tenant]:
    """Tenants with two tokens and two integrations each; PagerDuty's side effects go to the account."""
    box = SecretBox(ConnectorSettings(secret_key=secret_key))
    config = {"api_url": account.url, "from_email": account.email}
    made = []
    for name in names:
        admin, viewer = asyncio.run(_tokens(database, name))
        with integrations.connect(database) as connection:
            alertmanager = integrations.add(connection, box, CONNECTORS["alertmanager"], name)
            pagerduty = integrations.add(
                connection,
                box,
                CONNECTORS["pagerduty"],
                name,
                config=config,
                webhook_secret=secrets.token_urlsafe(32),
                api_token=account.token,
            )
        made.append(
            Tenant(name, admin, viewer, _endpoint("alertmanager", alertmanager), _endpoint("pagerduty", pagerduty))
        )
    return made


def _endpoint(connector: str, added: integrations.Added) -> Endpoint:
    id_ = added.integration_id
    return Endpoint(id_, f"/api/v1/webhooks/{connector}/{id_}", added.secret.value, f"/integrations/{connector}/{id_}")


async def _tokens(database: DatabaseSettings, tenant: str) -> tuple[str, str]:
    roles: tuple[Role, Role] = ("admin", "viewer")
    async with await psycopg.AsyncConnection.connect(**parameters(database, "api", "torture")) as connection:
        await connection.execute("SELECT set_config('incidents.tenant', %s, true)", [tenant])
        await tokens.register_tenant(connection, tenant)
        admin, viewer = [(await tokens.issue(connection, tenant, role, "torture")).text for role in roles]
    return admin, viewer
