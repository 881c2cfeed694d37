"""One authorized call to the REST API; alerts and linked records make the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp
from connectors.kit.intake import as_object
from connectors.kit.outcome import PermanentFailure, TransientFailure
from connectors.pagerduty.config import HOSTS

_ACCEPT = "application/vnd.pagerduty+json;version=2"


async def authorized(
    http: ProviderHttp,
    integration: Integration,
    api_url: str,
    from_email: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | None,
) -> Answer | TransientFailure | PermanentFailure:
    """Make the call with the integration's token, on behalf of ``from_email`` where one is given."""
    tokens = integration.valid("api_token", int(time.time() * 1000))
    if not tokens:
        return PermanentFailure("the integration has no api_token")
    headers = {"Accept": _ACCEPT, "Authorization": f"Token token={tokens[-1]}"}
    if from_email:
        headers["From"] = from_email
    return await http.call(method, api_url, path, HOSTS, headers, body)


def objects(answer: Answer, name: str) -> list[dict[str, Any]]:
    """The objects of a list in an answer."""
    found = as_object(answer.json()).get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
