"""The one way out: an HTTP client with deadlines, without redirects, and only to hosts that a connector allows.

Base URLs come from configuration, so they are attacker-reachable (server-side request forgery, OWASP A10): https to a
host of the connector's list, or http to this machine where the setting allows it, for the provider fakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from connectors.kit.outcome import PermanentFailure, TransientFailure

TIMEOUT_S = 8.0
"""For a whole call, answer included: shorter than the time that a process has to stop."""

TRANSFER_TIMEOUT_S = 60.0
"""For a call that carries a file; a process that has to stop gives it up, and the next one looks first."""

_MAX_ANSWER_BYTES = 1_048_576
_MAX_DETAIL_CHARACTERS = 300
_RETRYABLE = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the status is one of the 2xx."""
        return httpx.codes.is_success(self.status)

    def json(self) -> Any:
        """The body as JSON; ``None`` where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to send: as the body itself, or as the part ``field`` of a form (RFC 7578) where that is named."""

    file_name: str
    media_type: str
    content: bytes
    field: str = ""

    def parts(self, headers: dict[str, str]) -> dict[str, Any]:
        """The arguments of the request; the media type goes to the headers where the body is the file itself."""
        if self.field:
            return {"files": {self.field: (self.file_name, self.content, self.media_type)}}
        headers["Content-Type"] = self.media_type
        return {"content": self.content}


def refused_url(url: str, hosts: frozenset[str], *, allow_loopback: bool) -> str:
    """Why a base URL may not be called; empty when it may. ``*.example.com`` in ``hosts``: any one name below it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "not a URL"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "a base URL has no credentials, query or fragment"
    host = parts.hostname or ""
    if allow_loopback and parts.scheme == "http" and _is_loopback(host):
        return ""
    if parts.scheme != "https":
        return "must begin with https://"
    if not hosts & {host, f"*.{host.partition('.')[2]}"} or port not in {None, 443}:
        return f"host must be one of {', '.join(sorted(hosts))}"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name can be made to resolve to anything


def retry_after(headers: Mapping[str, str], now: float, *, throttled: bool = False) -> float:
    """Seconds that an answer asks to wait (RFC 9110 section 10.2.3); 0 when it does not.

    ``ratelimit-reset`` counts only when we are ``throttled``: some providers send it with every answer.
    """
    value = headers.get("retry-after") or (headers.get("ratelimit-reset") if throttled else "") or ""
    if value.isascii() and value.isdigit():
        return float(min(int(value[:9]), 86_400))
    try:
        return min(max(0.0, parsedate_to_datetime(value).timestamp() - now), 86_400.0)
    except (ValueError, OverflowError):
        return 0.0


def classify(answer: Answer, now: float, detail: str = "") -> TransientFailure | PermanentFailure:
    """What an answer other than success means by its status alone; ``detail`` is what the provider says of it."""
    reason = f"HTTP {answer.status}" + (f": {detail[:_MAX_DETAIL_CHARACTERS]}" if detail else "")
    if answer.status in _RETRYABLE or httpx.codes.is_server_error(answer.status):
        throttled = answer.status == httpx.codes.TOO_MANY_REQUESTS
        return TransientFailure(reason, retry_after(answer.headers, now, throttled=throttled), throttled)
    return PermanentFailure(reason)


class ProviderHttp:
    """The client that connectors call providers with; one for a process."""

    def __init__(self, *, allow_loopback: bool = False, timeout_s: float = TIMEOUT_S) -> None:
        self._allow_loopback = allow_loopback
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=min(3.0, timeout_s)),
            follow_redirects=False,
            trust_env=False,
            headers={"User-Agent": "incidents"},
        )

    async def call(
        self,
        method: str,
        base_url: str,
        path: str,
        hosts: frozenset[str],
        headers: Mapping[str, str],
        body: object = None,
        form: Mapping[str, str] | None = None,
        upload: Upload | None = None,
        most: int = 0,
    ) -> Answer | TransientFailure | PermanentFailure:
        """Make one call and read its answer; what the network does becomes a result, never an exception.

        ``path`` is appended to ``base_url``; its parts must be quoted by the caller. ``body`` is sent as JSON, ``form``
        in its place as a form, ``upload`` as a file. With ``most`` the answer is a file of at most so many bytes; one
        that is larger is not read to its end and has the status 413.
        """
        if why := refused_url(base_url, hosts, allow_loopback=self._allow_loopback):
            return PermanentFailure(f"refused address: {why}")
        content = None if body is None else orjson.dumps(body)
        sent = {**headers, "Content-Type": "application/json"} if content else dict(headers)
        url = base_url.rstrip("/") + path
        timeout_s = max(self._timeout_s, TRANSFER_TIMEOUT_S) if upload or most else self._timeout_s
        if most:
            sent["Accept-Encoding"] = "identity"  # a small answer must not unpack into a large one
        parts: dict[str, Any] = {"content": content, "data": form} if upload is None else upload.parts(sent)
        request = self._client.build_request(method, url, headers=sent, timeout=timeout_s, **parts)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(request, most)
        except (TimeoutError, httpx.TimeoutException):
            return TransientFailure("no answer in time")
        except httpx.RequestError as error:
            return TransientFailure(f"connection: {type(error).__name__}")

    async def _answer(self, request: httpx.Request, most: int) -> Answer | TransientFailure:
        response = await self._client.send(request, stream=True)
        is_file = bool(most) and response.is_success
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if is_file and len(body) > most:
                    return Answer(httpx.codes.REQUEST_ENTITY_TOO_LARGE, response.headers, b"")
                if not is_file and len(body) > _MAX_ANSWER_BYTES:
                    return TransientFailure("answer too large")
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, bytes(body))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
