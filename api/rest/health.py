"""Health and metrics, for probes and scrapers: no token, and nothing about any tenant."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import Api, Parts
from api.rest.responses import json_response
from streams.runtime.admission import WEBHOOKS_S
from streams.runtime.health import WARNING, verdict

router = APIRouter(route_class=StrictRoute, tags=["health"])


@router.get("/health/live", summary="The process runs")
async def live() -> Response:
    """200 as long as the event loop turns."""
    return json_response({"status": "ok"})


@router.get("/health/ready", summary="Everything that answers need is there")
async def ready(api: Parts) -> Response:
    """200, or 503 with what is wrong: Kafka, the database, or projections that lag behind."""
    judged = verdict(readiness(api))
    return json_response(judged.as_json(), 200 if judged.is_ready else 503)


def readiness(api: Api) -> dict[str, str]:
    """Names of what was checked, each with ``ok``, ``warning: ...`` or what is wrong with it."""
    kafka = api.producer.is_ready() and api.live.results.reachable
    lag_s = api.live.lag_s()
    behind = f"the read models are {lag_s:.0f} s behind"
    return {
        "kafka": "ok" if kafka else "Kafka does not answer",
        "database": "ok" if api.live.checkpoints.reachable else "the database does not answer",
        "events": _events(api),
        "projections": "ok" if lag_s <= api.settings.max_lag_s else behind,
        "intake": _intake(api.admission.waiting_s()),
    }


def _intake(waiting_s: float) -> str:
    """The orchestrator's backlog holds providers back, which is not this replica's fault."""
    return "ok" if waiting_s < WEBHOOKS_S else f"{WARNING}{waiting_s:.0f} s of work wait to be decided"


def _events(api: Api) -> str:
    if api.live.failure:
        return f"the live path has stopped: {api.live.failure}"
    return "ok" if api.live.events.positioned.is_set() else "the record is not being read yet"


@router.get("/metrics", summary="Prometheus metrics")
async def metrics() -> Response:
    """The Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
