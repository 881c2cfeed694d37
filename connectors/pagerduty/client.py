"""The calls to PagerDuty's REST API."""

from __future__ import annotations

import time

from connectors.kit.contract import Integration
from connectors.kit.http import Answer, ProviderHttp, classify
from connectors.kit.outcome import LookUp, NotFound, Outcome, PermanentFailure, TransientFailure, Unknown
from connectors.pagerduty import outbound
from connectors.pagerduty.config import PagerDutyConfig
from connectors.pagerduty.requests import authorized
from streams.domain.outputs import Intent


class PagerDutySends:
    """Acknowledge, resolve and note. The API allows 960 requests a minute for each key."""

    actions = outbound.ACTIONS
    rate_per_s = 15.0

    async def send(self, http: ProviderHttp, integration: Integration, intent: Intent) -> Outcome:
        """Carry out one intent."""
        request = outbound.render(intent)
        if isinstance(request, PermanentFailure):
            return request
        answer = await _call(http, integration, request)
        return outbound.read(answer, intent, time.time()) if isinstance(answer, Answer) else answer

    async def look_up(self, http: ProviderHttp, integration: Integration, intent: Intent) -> LookUp:
        """Search an incident's notes for the marker; the other actions may be repeated."""
        request = outbound.render_look_up(intent)
        if request is None:
            return NotFound()
        answer = await _call(http, integration, request)
        if isinstance(answer, Answer):
            if answer.succeeded:
                return outbound.read_look_up(answer, intent)
            answer = classify(answer, time.time())
        if isinstance(answer, TransientFailure):
            return Unknown(answer.reason, answer.retry_after_s)
        return NotFound()  # for good: sending will say why


async def _call(
    http: ProviderHttp, integration: Integration, request: outbound.Request
) -> Answer | TransientFailure | PermanentFailure:
    config = PagerDutyConfig.model_validate(dict(integration.config))
    return await authorized(
        http, integration, config.api_url, config.from_email, request.method, request.path, request.body
    )
