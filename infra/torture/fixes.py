"""What a later version of the application might bring: a fix for what this one does not understand, a newer format."""

from __future__ import annotations

from typing import Any
from unittest import mock

import orjson

from streams.agents import state_codec

FLAPPING, NEWER_STATE = "alertmanager-flapping", "newer-state"


def install(name: str) -> None:
    """Make this process a later version; raises ``KeyError`` for an unknown name."""
    {FLAPPING: _flapping_fires, NEWER_STATE: _newer_state}[name]()


def _flapping_fires() -> None:
    """The connector takes an alert that flaps for one that fires."""
    mock.patch.dict("connectors.alertmanager.inbound._STATUSES", {"flapping": "firing"}).start()


def _newer_state() -> None:
    """State items are written in the next format, which only such a process reads."""
    this, newer = state_codec.FORMAT, state_codec.FORMAT + 1
    decode = state_codec.decode

    def decode_both(kind: str, value: bytes) -> Any:
        format_, values = orjson.loads(value)
        return decode(kind, orjson.dumps([this if format_ == newer else format_, values]))

    mock.patch.multiple("streams.agents.state_codec", FORMAT=newer, decode=decode_both).start()
