"""What request handlers are given: the parts of the running API, and the principal that may do what they do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Header, Request
from starlette.requests import HTTPConnection

from api.auth import Authenticator, require
from api.commands import Commands
from api.database import Database
from api.live.follow import Follower
from api.live.path import LivePath
from api.reads import Reads
from api.settings import ApiSettings
from policy.decision import Action, Decide, Principal
from streams.runtime.admission import Admission
from streams.runtime.attachment_storage import AttachmentStorage
from streams.runtime.producer import AcknowledgedProducer


@dataclass(slots=True)
class Api:
    """The parts of one API process."""

    settings: ApiSettings
    decide: Decide
    authenticator: Authenticator
    database: Database
    reads: Reads
    producer: AcknowledgedProducer
    live: LivePath
    follower: Follower
    commands: Commands
    admission: Admission
    attachments: AttachmentStorage


def parts(connection: HTTPConnection) -> Api:
    """The parts of the API that serves this connection."""
    return cast("Api", connection.app.state.api)


def allowed(action: Action) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency: the principal of the request's token, which the decision point lets do ``action``.

    It answers 401 and 403 otherwise. The resource is the one in the path, of the principal's own tenant.
    """

    async def principal(request: Request) -> Principal:
        api = parts(request)
        found = await api.authenticator.authenticate(request.headers.get("authorization"))
        kind, id_ = next(iter(request.path_params.items()), ("", ""))
        require(api.decide, found, action, kind, str(id_))
        return found

    return principal


async def _parts(request: Request) -> Api:
    return parts(request)  # a coroutine function: FastAPI runs any other dependency on a thread


Parts = Annotated[Api, Depends(_parts)]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        max_length=255,
        pattern=r"^[\x21-\x7e]*$",
        description="Sending the same key again is answered with the first outcome, for 24 hours",
        examples=["5f6d1c1a-declare-1"],
    ),
]
Traceparent = Annotated[
    str, Header(pattern=r"^([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?$", description="W3C Trace Context")
]
