"""Rule sets over HTTP: publish and change their stage (admin), try them on what was recorded (responder)."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from api.body import StrictRoute
from api.dependencies import Api, IdempotencyKey, Parts, allowed
from api.problems import Problem
from api.rest.models import Input
from api.rest.openapi import ERRORS, WRITE_ANSWERS
from api.rest.outcome import carry_out
from api.rest.responses import json_response
from policy.decision import Action, Principal
from projections import simulations
from projections.base import milliseconds
from projections.simulations import Simulation, TooMany
from streams.agents import what_if_report
from streams.agents.rule_files import BadRules, RuleFile, parse
from streams.agents.rule_tests import failed
from streams.domain.commands import ChangeRuleSet, Stage

router = APIRouter(route_class=StrictRoute, prefix="/api/v1", tags=["rules"])

Configurer = Annotated[Principal, Depends(allowed(Action.CONFIGURE))]
Simulating = Annotated[Principal, Depends(allowed(Action.SIMULATE))]
Rules = Annotated[str, Field(min_length=1, max_length=100_000, description="a rule set as YAML, see docs/rules.md")]
Form = Annotated[Literal["json", "text", "html"], Query(alias="format")]
JobId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]

_TYPES = {"json": "application/json", "text": "text/plain; charset=utf-8", "html": "text/html; charset=utf-8"}
# The page has a style and a picture of its own and nothing else, whatever titles providers sent.
_SAFE = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}


class RulesInput(Input):
    """A rule set to go by, or to run in the shadow."""

    rules: Rules
    stage: Stage = "active"


class RuleSetInput(Input):
    """Which rule set is meant: that of the shadow, or the one that decides and is taken back."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", examples=["shop"])]
    version: Annotated[int, Field(ge=1, examples=[3])]


class WhatIfInput(Input):
    """A rule set, and the span of recorded signals to try it on; absent ends are those of what there is."""

    rules: Rules
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    service: Annotated[str, Field(max_length=500)] = ""
    source: Annotated[Literal["log", "archive"], Field(description="Kafka, or the archive's files")] = "log"


@router.put("/rules", summary="Publish a rule set", responses=WRITE_ANSWERS)
async def publish(
    principal: Configurer, api: Parts, body: RulesInput, idempotency_key: IdempotencyKey = ""
) -> Response:
    """Its own tests must pass. At the stage ``shadow`` it decides nothing, and its report grows."""
    file = await _parsed(body.rules)
    if failing := await asyncio.to_thread(failed, file):
        raise Problem(422, "rule-tests-failed", "Its tests fail", ", ".join(failing))
    command = file.command(principal.actor, body.stage)
    return await carry_out(api, principal, command, key=idempotency_key, traceparent="")


@router.post("/rules/{change}", summary="Promote, take back or withdraw", responses=WRITE_ANSWERS)
async def change(
    principal: Configurer,
    api: Parts,
    change: Literal["promote", "rollback", "withdraw"],
    body: RuleSetInput,
    idempotency_key: IdempotencyKey = "",
) -> Response:
    """``promote`` lets the draft decide, ``rollback`` the rule set before, ``withdraw`` takes the draft away."""
    what: Any = {"rollback": "roll_back"}.get(change, change)
    command = ChangeRuleSet(what, body.name, body.version, principal.actor)
    return await carry_out(api, principal, command, key=idempotency_key, traceparent="")


@router.get("/rules/shadow", summary="The live report of the draft", responses=ERRORS)
async def shadow(principal: Simulating, api: Parts, form: Form = "json") -> Response:
    """The same report as that of a what-if, over the signals since the draft was published."""
    async with api.database.tenant(principal.tenant_id) as connection:
        found = await simulations.shadow(connection)
    if found is None:
        raise Problem(404, "no-shadow", "Not found", "no rule set runs in the shadow of the tenant's rules")
    return _report(form, *found[2:])


@router.post("/what-ifs", status_code=202, summary="Try a rule set on recorded signals", responses=ERRORS)
async def start(principal: Simulating, api: Parts, body: WhatIfInput) -> Response:
    """A job: ask its address for progress, then for the report. At most two of a tenant wait or run at once."""
    await _parsed(body.rules)
    request = {**body.model_dump(), "since": milliseconds(body.since), "until": milliseconds(body.until)}
    job_id = str(uuid.uuid4())
    try:
        async with api.database.tenant(principal.tenant_id, write=True) as connection:
            await simulations.submit(connection, principal.tenant_id, job_id, request, principal.actor)
    except TooMany as error:
        raise Problem(429, "too-many-what-ifs", detail=str(error), retry_after_s=10) from error
    address = {"Location": f"/api/v1/what-ifs/{job_id}"}
    return json_response(_view(await _job(api, principal, job_id)), 202, address)


@router.get("/what-ifs", summary="The tenant's what-ifs", responses=ERRORS)
async def list_jobs(principal: Simulating, api: Parts) -> Response:
    """The newest first; the last twenty are kept."""
    async with api.database.tenant(principal.tenant_id) as connection:
        found = await simulations.listed(connection)
    return json_response({"items": [_view(job) for job in found]})


@router.get("/what-ifs/{job_id}", summary="How far a what-if is", responses=ERRORS)
async def progress(principal: Simulating, api: Parts, job_id: JobId) -> Response:
    """``done`` of ``total`` records were read; a failed one says what is wrong."""
    return json_response(_view(await _job(api, principal, job_id)))


@router.get("/what-ifs/{job_id}/report", summary="The report of a what-if", responses=ERRORS)
async def report(principal: Simulating, api: Parts, job_id: JobId, form: Form = "json") -> Response:
    """The same input gives the same bytes."""
    job = await _job(api, principal, job_id)
    async with api.database.tenant(principal.tenant_id) as connection:
        found = await simulations.report(connection, job_id)
    if found is None:
        raise Problem(409, "no-report", "There is no report", f"the what-if is {job.state} {job.problem}".strip())
    return _report(form, *found)


@router.delete("/what-ifs/{job_id}", status_code=204, summary="Cancel a what-if", responses=ERRORS)
async def cancel(principal: Simulating, api: Parts, job_id: JobId) -> Response:
    """One that is over stays as it is and answers 409."""
    job = await _job(api, principal, job_id)
    async with api.database.tenant(principal.tenant_id, write=True) as connection:
        if not await simulations.cancel(connection, job_id):
            raise Problem(409, "not-running", "It is over", f"the what-if is {job.state}")
    return Response(status_code=204)


async def _parsed(text: str) -> RuleFile:
    try:
        return await asyncio.to_thread(parse, text)
    except BadRules as error:
        raise Problem(422, "invalid-rules", "The rule set is not valid", str(error), problems=error.problems) from error


async def _job(api: Api, principal: Principal, job_id: str) -> Simulation:
    async with api.database.tenant(principal.tenant_id) as connection:
        found = await simulations.find(connection, job_id)
    if found is None:
        raise Problem(404, "unknown-what-if", "Not found", f"no what-if {job_id}")
    return found


def _view(job: Simulation) -> dict[str, Any]:
    asked = {name: job.request[name] for name in ("since", "until", "service", "source")}
    return {
        "id": job.simulation_id,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "problem": job.problem or None,
        "actor": job.actor,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        **asked,
    }


def _report(form: Literal["json", "text", "html"], document: str, page: str) -> Response:
    content = {"json": document, "html": page}.get(form) or what_if_report.as_text(orjson.loads(document))
    return Response(content, media_type=_TYPES[form], headers=_SAFE)
