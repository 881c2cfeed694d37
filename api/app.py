"""The application: its routes, its middleware and the life of its parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import psycopg
from fastapi import FastAPI, Request

from api import errors, tokens
from api.auth import Authenticator, require
from api.body import BodyLimit
from api.commands import Commands
from api.database import Database
from api.dependencies import Api
from api.graphql.router import graphql_router
from api.ingest.dependencies import IngestDependencies
from api.ingest.routes import Door
from api.ingest.routes import routes as ingest_routes
from api.live.checkpoints import CHECKPOINTS, Notifications
from api.live.fanout import Fanout
from api.live.follow import Follower
from api.live.path import LivePath
from api.reads import Reads
from api.requests import Answered, Measured
from api.rest import ROUTERS
from api.rest.openapi import describe
from api.settings import ApiSettings
from api.tokens import CHANNEL, Token
from connectors.kit.directory import IntegrationDirectory
from connectors.kit.secrets import ConnectorSettings, SecretBox
from policy.decision import Action, Decide, Principal, decide
from projections.connections import AsyncConnection, parameters, pool
from streams.runtime.admission import Admission
from streams.runtime.attachment_storage import AttachmentStorage
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.producer import AcknowledgedProducer
from streams.runtime.settings import AttachmentSettings, DatabaseSettings, KafkaSettings, ObjectStorageSettings

DESCRIPTION = """Incidents, their timeline and their alerts. Writes answer once reads show them; every error is a
problem document (RFC 9457). The tenant is the token's."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Where the servers are that the API uses, the key of the secrets it reads, and how large files may be."""

    kafka: KafkaSettings
    database: DatabaseSettings
    storage: ObjectStorageSettings
    connectors: ConnectorSettings
    attachments: AttachmentSettings = field(default_factory=AttachmentSettings)

    @classmethod
    def from_environment(cls) -> Self:
        """As the environment names them."""
        return cls(KafkaSettings(), DatabaseSettings(), ObjectStorageSettings(), ConnectorSettings())


def create_app(settings: ApiSettings, backends: Backends, *, decision_point: Decide = decide) -> FastAPI:
    """The application; nothing connects before its lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(settings, backends, decision_point) as api:
            app.state.api = api
            async with ingest(api, backends) as dependencies:
                app.state.ingest_routes = ingest_routes(dependencies)
                app.router.routes.extend(app.state.ingest_routes)  # what the door does not take is answered as ever
                yield

    app = FastAPI(
        title="Incidents",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(graphql_router(graphiql=settings.graphiql), prefix="/graphql", include_in_schema=False)
    describe(app)
    errors.install(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, upload_limit=backends.attachments.max_bytes)
    app.add_middleware(Door)
    app.add_middleware(Answered)
    app.add_middleware(Measured)
    return app


@asynccontextmanager
async def running(settings: ApiSettings, backends: Backends, decision_point: Decide) -> AsyncIterator[Api]:
    """The parts of the API from start to stop; a database or broker that is down now may come later."""
    async with AsyncExitStack() as held:
        connections = pool(backends.database, "api", name="api", max_size=settings.pool_max)
        await connections.open(wait=False)
        held.push_async_callback(connections.close, timeout=2.0)
        sessions = Database(connections)
        reads = Reads(sessions)
        authenticator = Authenticator(
            _token_finder(sessions), size=settings.token_cache, max_age_s=settings.token_max_age_s
        )
        producer = AcknowledgedProducer(backends.kafka, "incidents-api")
        held.push_async_callback(asyncio.to_thread, producer.close)
        fanout = Fanout(queue_limit=settings.subscriber_queue, max_subscribers=settings.max_subscribers)
        live = LivePath(backends.kafka, fanout, reads.checkpoints, held_events=settings.held_events)
        live.start()
        held.push_async_callback(live.stop)
        changes = {CHECKPOINTS: live.checkpoints.told, CHANNEL: lambda _: authenticator.refresh()}
        listening = asyncio.create_task(
            Notifications(_listener(backends.database), changes).run(), name="notifications"
        )
        held.push_async_callback(_cancelled, listening)
        admission = Admission(backends.kafka).start()
        held.push_async_callback(asyncio.to_thread, admission.stop)
        topic = backends.kafka.topic("incident-intake")
        yield Api(
            settings=settings,
            decide=decision_point,
            authenticator=authenticator,
            database=sessions,
            reads=reads,
            producer=producer,
            live=live,
            follower=Follower(
                fanout,
                reads,
                reading=live.events.positioned,
                replay_limit=settings.replay_limit,
                heartbeat_s=settings.heartbeat_s,
            ),
            commands=Commands(
                producer,
                topic,
                live,
                reads,
                timeout_s=settings.outcome_timeout_s,
                admit=partial(admission.check, command=True),
            ),
            admission=admission,
            attachments=AttachmentStorage(ObjectStorage(backends.storage)),
        )


@asynccontextmanager
async def ingest(api: Api, backends: Backends) -> AsyncIterator[IngestDependencies]:
    """What the endpoints of providers and foreign producers need; their callers pass the decision point too."""
    directory = IntegrationDirectory(backends.database, SecretBox(backends.connectors))
    await directory.start()

    async def authenticate(request: Request) -> Principal:
        principal = await api.authenticator.authenticate(request.headers.get("authorization"))
        require(api.decide, principal, Action.SEND_SIGNALS)
        return principal

    try:
        yield IngestDependencies(
            producer=api.producer,
            storage=ObjectStorage(backends.storage),
            directory=directory,
            authenticate=authenticate,
            topic=backends.kafka.topic("incident-intake"),
            max_body_bytes=api.settings.max_body_bytes,
            admission=api.admission,
        )
    finally:
        await directory.close()


def _token_finder(sessions: Database) -> Callable[[bytes], Awaitable[Token | None]]:
    async def find(digest: bytes) -> Token | None:
        async with sessions.anybody() as connection:
            return await tokens.find(connection, digest)

    return find


def _listener(database: DatabaseSettings) -> Callable[[], Awaitable[AsyncConnection]]:
    async def connect() -> AsyncConnection:
        arguments: dict[str, Any] = parameters(database, "api", "incidents-api-notifications")
        return await psycopg.AsyncConnection.connect(autocommit=True, **arguments)

    return connect


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
