"""The live path of one replica put together: tails, hold, checkpoints, fan-out and command outcomes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import time

import structlog
from confluent_kafka import Consumer, Message

from api.live.checkpoints import Checkpoints, Fetch
from api.live.events import RecordedEvent
from api.live.fanout import Fanout, SequenceGap
from api.live.hold import Hold
from api.live.outcomes import Outcomes
from api.live.tail import Tail, earliest, last_stable
from projections.registry import READ_MODELS
from streams.codec import cloudevents
from streams.domain.errors import InvalidEvent, UnknownSchema
from streams.domain.outputs import CommandAccepted, CommandRejected
from streams.runtime import metrics
from streams.runtime.settings import KafkaSettings

_EVENTS = "incident-events"
_OUTCOMES_BACK = 5_000
_log = structlog.get_logger(__name__)


class LivePath:
    """Owned by the application; started and stopped on its event loop.

    Events are read from the serving projections' checkpoints on, not from the end: what is committed to Kafka but not
    projected yet when a replica starts is then held like everything that comes later, and nobody misses it.
    """

    def __init__(
        self, kafka: KafkaSettings, fanout: Fanout, fetch: Fetch, *, held_events: int, clock: Callable[[], float] = time
    ) -> None:
        self.fanout = fanout
        self.outcomes = Outcomes()
        self.checkpoints = Checkpoints(fetch, self._release, topic=_EVENTS, serving=READ_MODELS)
        self._hold = Hold(held_events)
        self._clock = clock
        self.results = Tail(kafka, "command-results", _recent, self._take_outcomes)
        self.events = Tail(
            kafka,
            _EVENTS,
            self._first_unprojected,
            self._take_events,
            is_full=lambda: self._hold.full,
        )
        self._task: asyncio.Task[None] | None = None
        self.failure = ""

    def start(self) -> None:
        """Begin to read."""
        metrics.API_PROJECTION_LAG_SECONDS.set_function(self.lag_s)
        self._task = asyncio.create_task(self.checkpoints.run(), name="checkpoints")
        self._task.add_done_callback(self._note_failure)
        self.results.start()
        self.events.start()

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        """Nothing is released any more: say so, and be not ready until the process is started again."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Show nothing more: the server ends the process, and a new one reads again from the checkpoints."""
        self.failure = f"{type(error).__name__}: {error}"
        _log.critical("the live path has stopped", exc_info=error)
        self.fanout.stop()

    async def stop(self) -> None:
        """Stop reading; streams that are still open get nothing more."""
        await asyncio.gather(self.results.stop(), self.events.stop())
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait_for(self, tenant_id: str, tenantsequence: int, timeout_s: float) -> bool:
        """Whether the read models show the tenant's events up to ``tenantsequence`` within ``timeout_s``."""
        waiter = self.fanout.waiter(tenant_id, tenantsequence)
        try:
            await asyncio.wait_for(waiter, timeout_s)
        except TimeoutError:
            return False
        return True

    def lag_s(self) -> float:
        """How old the oldest event is that the read models do not show yet, in seconds; 0 when they show all."""
        oldest = self._hold.oldest()
        return max(0.0, self._clock() - oldest.envelope.recordedtime / 1000) if oldest else 0.0

    def _first_unprojected(self, asker: Consumer, topic: str) -> Mapping[int, int] | None:
        passed = self.checkpoints.known
        if passed is None:
            return None
        ends = last_stable(asker, topic)
        begins = earliest(asker, topic, list(ends))
        return {p: min(max(passed.get(p, 0), begins[p]), end) for p, end in ends.items()}

    def _take_events(self, messages: Sequence[Message]) -> None:
        for message in messages:
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            try:
                event = RecordedEvent.from_record(message.headers(), message.value())
            except InvalidEvent as error:  # projections stop at such a record, so nothing behind it is released
                _log.error("unreadable record", partition=partition, offset=offset, error=str(error))
                continue
            self._hold.add(partition, offset, event)
        self._release(self.checkpoints.known or {})

    def _release(self, passed: Mapping[int, int]) -> None:
        if self.failure:
            return
        released = self._hold.release(passed)
        metrics.API_HELD_EVENTS.set(len(self._hold))
        metrics.API_RELEASED_EVENTS.inc(len(released))
        try:
            self.fanout.publish(released)
        except SequenceGap as error:
            self._fail(error)

    def _take_outcomes(self, messages: Sequence[Message]) -> None:
        for message in messages:
            try:
                envelope, outcome = cloudevents.decode(message.headers(), message.value())
            except (InvalidEvent, UnknownSchema) as error:
                _log.error("unreadable outcome", offset=message.offset(), error=str(error))
                continue
            if isinstance(outcome, CommandAccepted | CommandRejected):
                self.outcomes.deliver(envelope.tenantid, outcome)


def _recent(asker: Consumer, topic: str) -> Mapping[int, int]:
    """A little before the end, so that a replica that was restarted still knows recent outcomes."""
    ends = last_stable(asker, topic)
    begins = earliest(asker, topic, list(ends))
    return {partition: max(end - _OUTCOMES_BACK, begins[partition]) for partition, end in ends.items()}
