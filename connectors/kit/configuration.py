"""Checking an integration's configuration against its connector's model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from connectors.kit.http import refused_url


def problems(model: type[BaseModel], config: Mapping[str, Any], hosts: frozenset[str], url: str = "base_url") -> str:
    """What is wrong with a configuration, empty when nothing is; its address ``url`` must be at one of ``hosts``."""
    try:
        found = model.model_validate(dict(config))
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    why = refused_url(str(getattr(found, url)), hosts, allow_loopback=True)
    return f"{url}: {why}" if why else ""
