"""Subscriptions: what changes, once reads show it, each payload with the cursor to resume behind (viewer)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import field
from typing import Annotated, Self, cast

import strawberry

from api.graphql.context import Resolving
from api.graphql.sharing import Answer, Burst, Feed, Shareable
from api.graphql.types import Board, Incident, TimelineEvent, board_of
from api.live.batch import Batch
from api.live.events import RecordedEvent
from api.live.fanout import TooManySubscribers
from api.live.follow import Followed, Reset, Selection
from api.live.subscription import SlowSubscriber, Stopping
from api.problems import Problem
from api.reads import sequence_of
from api.rest.actions import resolve
from api.rest.streams import known_types
from policy.decision import Action, Principal

Cursor = Annotated[str | None, strawberry.argument(description="resume behind this cursor; null: from now")]
_BOARD_PAUSE_S = 0.2


@strawberry.type(description="An incident changed")
class IncidentUpdate:
    """``reset``: the cursor could not be resumed from, read everything afresh; then ``incident`` is null."""

    cursor: str
    reset: bool = False
    types: list[str] = strawberry.field(default_factory=list, description="the events since the last payload")
    incident: Incident | None = None


@strawberry.type(description="An event was recorded")
class TimelineUpdate(Shareable):
    """``reset``: the cursor could not be resumed from, read everything afresh; then ``event`` is null."""

    cursor: str
    reset: bool = False
    event: TimelineEvent | None = None
    answered: strawberry.Private[dict[object, Answer]] = field(default_factory=dict)

    def answers(self) -> dict[object, Answer]:
        """What was asked of this update so far."""
        return self.answered

    @classmethod
    def of(cls, event: RecordedEvent) -> Self:
        """The update that says so."""
        return cls(cursor=str(event.tenantsequence), event=TimelineEvent.of(event))


@strawberry.type(description="The board as it is now")
class BoardUpdate:
    """The whole board; changes that come together make one payload."""

    cursor: str
    board: Board


async def _follow(info: Resolving, selection: Selection, after: str | None) -> AsyncGenerator[Followed | Reset, None]:
    """What is selected; ends with the process, and as a ``Problem`` when the client must come back."""
    api = info.context.api
    position = sequence_of(after)
    stream = api.follower.follow(selection, position)
    try:
        async with aclosing(stream):
            async for item in stream:
                await info.context.ask(Action.SUBSCRIBE)
                position = item.cursor
                yield item
    except SlowSubscriber as error:
        detail = "events were taken too slowly; subscribe again with the last cursor"
        raise Problem(503, "slow-subscriber", "Cut off", detail, cursor=str(position)) from error
    except TooManySubscribers as error:
        raise Problem(503, "too-many-streams", "Too many streams") from error
    except Stopping:
        return


async def _timeline(info: Resolving, selection: Selection, after: str | None) -> AsyncGenerator[Burst, None]:
    """The ``TimelineUpdate`` of what is selected, those that came together in one burst."""
    async with aclosing(_follow(info, selection, after)) as stream:
        async for item in stream:
            if isinstance(item, Reset):
                yield Burst([TimelineUpdate(cursor=str(item.cursor), reset=True)])
            elif item.events:
                yield item.events.once(Burst, _burst)


def _burst(batch: Batch) -> Burst:
    return Burst([event.once(TimelineUpdate.of) for event in batch])


async def _selection(info: Resolving, reference: str | None, types: list[str] | None) -> tuple[Principal, Selection]:
    principal = await info.context.ask(Action.SUBSCRIBE, "incident_id" if reference else "", reference or "")
    id_ = await resolve(info.context.api, principal, reference) if reference else ""
    return principal, Selection(principal.tenant_id, id_, known_types(types or []))


@strawberry.type
class Subscription:
    """The root of streams."""

    @strawberry.subscription(description="Incidents as they change; many changes at once make one payload each")
    async def incident_updated(
        self, info: Resolving, incident_id: str | None = None, after: Cursor = None
    ) -> AsyncGenerator[IncidentUpdate, None]:
        """Every incident of the tenant, or one."""
        principal, selection = await _selection(info, incident_id, None)
        reads = info.context.api.reads
        async with aclosing(_follow(info, selection, after)) as stream:
            cursor = ""
            async for item in stream:
                if isinstance(item, Reset):
                    yield IncidentUpdate(cursor=str(item.cursor), reset=True)
                    continue
                changed: dict[str, list[str]] = {}
                for event in item.events:
                    changed.setdefault(event.incident_id, []).append(event.type)
                rows = await reads.incidents_by_id(principal.tenant_id, list(changed)) if changed else []
                for row in rows:
                    # Only the last payload of an item may be resumed behind: the others are part of the same step.
                    behind = str(item.cursor) if row is rows[-1] else cursor or str(item.events[0].tenantsequence - 1)
                    yield IncidentUpdate(cursor=behind, types=changed[row.incident_id], incident=Incident.of(row))
                cursor = str(item.cursor)

    @strawberry.subscription(description="Events as they are recorded")
    async def timeline_event_added(
        self,
        info: Resolving,
        incident_id: str | None = None,
        types: list[str] | None = None,
        after: Cursor = None,
    ) -> AsyncGenerator[TimelineUpdate, None]:
        """All events of the tenant, or of one incident, or of some types."""
        _, selection = await _selection(info, incident_id, types)
        async with aclosing(_timeline(info, selection, after)) as bursts:
            if info.context.is_socket:
                feed = Feed(bursts)
                yield cast("TimelineUpdate", feed)
                if feed.failure is not None:
                    raise feed.failure
                return
            async for burst in bursts:
                for update in burst.updates:
                    yield cast("TimelineUpdate", update)

    @strawberry.subscription(description="The board: now, and whenever it changed")
    async def board_updated(self, info: Resolving, after: Cursor = None) -> AsyncGenerator[BoardUpdate, None]:
        """The whole board in each payload; with a cursor, only once something happened behind it."""
        principal, selection = await _selection(info, None, None)
        is_first = after is None
        async with aclosing(_follow(info, selection, after)) as stream:
            async for item in stream:
                if is_first or isinstance(item, Reset) or item.events:
                    is_first = False
                    board = await info.context.api.reads.board(principal.tenant_id)
                    yield BoardUpdate(cursor=str(item.cursor), board=board_of(board))
                    await asyncio.sleep(_BOARD_PAUSE_S)
