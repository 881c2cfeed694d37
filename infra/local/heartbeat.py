"""The heartbeat: a URL that is called while all is well, so that somebody else notices when it no longer is.

A dead man's switch: what watches the calls (another machine, a hosted service) alarms when they stop, whether because
a process is not ready, the supervisor is gone, or the machine is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.local.settings import LOOPBACK

READY_TIMEOUT_S = 3.0
CALL_TIMEOUT_S = 10.0


class HeartbeatSettings(BaseSettings):
    """Whom to tell that all is well (environment prefix ``INCIDENTS_HEARTBEAT_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_HEARTBEAT_", extra="ignore", env_ignore_empty=True)

    url: SecretStr = Field(
        SecretStr(""), description="called with GET while every process is ready; https, or http to this machine"
    )
    every_s: float = Field(60.0, gt=0, description="how often")

    @field_validator("url")
    @classmethod
    def _allowed(cls, url: SecretStr) -> SecretStr:
        why = refused(url.get_secret_value())
        if why:
            raise ValueError(why)
        return url


def refused(url: str) -> str:
    """Why a URL may not be called (without repeating it: it is secret); empty where it may, or where there is none."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is not a URL"
    host = parts.hostname or ""
    if (parts.scheme == "https" and host) or (parts.scheme == "http" and _is_loopback(host)):
        return ""
    return "must be https, or http to an address of this machine"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False  # a name can be made to resolve to anything


async def beat(
    settings: HeartbeatSettings, ports: Sequence[int], stopping: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Every ``every_s`` seconds, call the URL if what serves these ports is ready; until ``stopping`` is set.

    Whatever the network does is said once, when it begins and when it is over, and has no other effect.
    """
    trouble = ""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), settings.every_s)
            if stopping.is_set():
                return
            before, trouble = trouble, await _beat_once(client, settings, ports)
            if trouble != before:
                say(f"heartbeat: {trouble or 'all is well'}")


async def _beat_once(client: httpx.AsyncClient, settings: HeartbeatSettings, ports: Sequence[int]) -> str:
    """What kept the heartbeat back; empty when it was sent."""
    ready = await asyncio.gather(*(_is_ready(client, port) for port in ports))
    silent = [str(port) for port, is_ready in zip(ports, ready, strict=True) if not is_ready]
    if silent:
        return f"not sent, not ready: port {', '.join(silent)}"
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            answer = await client.get(settings.url.get_secret_value())
    except (httpx.HTTPError, TimeoutError) as error:
        return f"the URL cannot be called ({type(error).__name__})"
    return "" if answer.is_success else f"the URL answers {answer.status_code}"


async def _is_ready(client: httpx.AsyncClient, port: int) -> bool:
    try:
        answer = await client.get(f"http://{LOOPBACK}:{port}/health/ready", timeout=READY_TIMEOUT_S)
    except httpx.HTTPError:
        return False
    return answer.is_success
