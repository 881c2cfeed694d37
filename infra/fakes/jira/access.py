"""Who may call the fake, and how often: credentials, the burst limit and the limits on writes to one issue."""

from __future__ import annotations

import base64
import hmac
import math
from collections.abc import Callable

from starlette.requests import Request

from infra.fakes.guard import Refused
from infra.fakes.jira.issues import jira_time
from infra.fakes.jira.workflow import errors
from infra.fakes.limits import Window

PER_ISSUE = ((20, 2.0), (100, 30.0))
"""Writes to one issue: so many in so many seconds."""


class Access:
    """``email`` and ``token`` are what a caller must show (basic, or the token as bearer)."""

    def __init__(
        self,
        email: str,
        token: str,
        clock: Callable[[], float],
        *,
        burst: tuple[int, float] = (100, 1.0),
        per_issue: tuple[tuple[int, float], ...] = PER_ISSUE,
    ) -> None:
        self._expected = (f"Basic {base64.b64encode(f'{email}:{token}'.encode()).decode()}", f"Bearer {token}")
        self._clock = clock
        self._burst = Window(*burst, clock)
        self._per_issue = tuple(Window(*limit, clock) for limit in per_issue)

    def check(self, request: Request, *, is_write: bool) -> None:
        """Let a call through or raise ``Refused`` 401 or 429."""
        given = request.headers.get("authorization", "").encode()
        if not any(hmac.compare_digest(given, one.encode()) for one in self._expected):
            raise Refused(401, errors("Client must be authenticated to access this resource."))
        self._limit(self._burst, "", "jira-burst-based")
        if is_write and "key" in request.path_params:
            for window in self._per_issue:
                self._limit(window, request.path_params["key"], "jira-per-issue-on-write")

    def _limit(self, window: Window, key: str, reason: str) -> None:
        wait_s = window.take(key)
        if wait_s:
            headers = {"Retry-After": str(math.ceil(wait_s)), "RateLimit-Reason": reason}
            headers |= {"X-RateLimit-Limit": str(window.limit), "X-RateLimit-Remaining": "0"}
            headers["X-RateLimit-Reset"] = jira_time(self._clock() + wait_s)
            raise Refused(429, errors("Rate limit exceeded."), headers)
