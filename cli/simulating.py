"""The work of a simulator: what-if jobs one after the other, and beside them the drafts that run in a shadow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
import tenacity
from confluent_kafka import KafkaException

from projections import simulations
from projections.base import milliseconds
from projections.connections import Connection
from projections.simulations import Simulation
from projections.writer import TRANSIENT
from streams.agents import read_ahead, what_if_report
from streams.agents.read_ahead import ReaderEnded
from streams.agents.recorded import EVENTS, INTAKE, INTENTS, Log, NothingThere, SpanOf, record, where
from streams.agents.rule_files import BadRules, parse
from streams.agents.shadow import Draft, Shadows
from streams.agents.what_if import simulate
from streams.archive.files import DamagedFile
from streams.archive.manifests import DamagedManifest
from streams.archive.sources import NotThere
from streams.domain.errors import IncidentsError, Transient
from streams.runtime.partition_reader import OutOfLog
from streams.runtime.settings import KafkaSettings

_LOOK_S = 1.0
_SAY_S = 0.5
_WRONG = (BadRules, NothingThere, NotThere, OutOfLog, DamagedFile, DamagedManifest, ReaderEnded)
"""What is wrong with a job, and not with the servers."""

_LOG = structlog.get_logger()
OpenLog = Callable[[str], Log]
"""Opens the source of records that a job names: ``log`` or ``archive``. It must be possible to pickle it."""


class Cancelled(IncidentsError):  # noqa: N818
    """The job was cancelled, another simulator has taken it over, or this one is to stop: the next begins it again."""


def run_job(connection: Connection, holder: str, job: Simulation, open_log: OpenLog, stop: threading.Event) -> None:
    """Decide a job's span again and store the report; what is wrong with the job itself ends it as failed."""
    asked = job.request
    try:
        rule_set = parse(asked["rules"]).rule_set
        span = SpanOf(job.tenant_id, asked["since"], asked["until"], asked["service"])
        open_source = partial(open_log, asked["source"])
        log = open_source()
        tell = partial(simulations.progress, connection, job.simulation_id, holder)
        seen = _Counting(log, span, tell, stop).take
        with read_ahead.messages(open_source, log, span, seen) as intake:
            simulation = simulate(job.tenant_id, rule_set, intake, record(log, span, seen))
        document = what_if_report.as_document(job.tenant_id, rule_set, simulation)
        texts = what_if_report.as_json(document), what_if_report.as_html(document, simulation)
        simulations.finish(connection, job.simulation_id, holder, ("done", ""), texts)
    except _WRONG as error:
        simulations.finish(connection, job.simulation_id, holder, ("failed", str(error)), ("", ""))
    except Cancelled:
        _LOG.info("simulator.cancelled", job=job.simulation_id)


class _Counting:
    """Counts the records that were read, and tells how many of how many twice a second; is told whether to go on."""

    def __init__(self, log: Log, span: SpanOf, tell: Callable[[int, int], bool], stop: threading.Event) -> None:
        self._tell = tell
        self._stop = stop
        self._said = 0.0
        self._done: dict[str, int] = {}
        self._begin: dict[str, int] = {}
        self._total = 0
        for topic in (EVENTS, INTENTS, INTAKE):
            number, self._begin[topic] = where(log, span, topic)
            self._total += max(0, log.end(topic, number) - self._begin[topic])

    def take(self, topic: str, offset: int) -> None:
        """A record was read, and all that lie before it; raises ``Cancelled``."""
        self._done[topic] = offset - self._begin[topic] + 1
        now = time.monotonic()
        if now - self._said < _SAY_S and not self._stop.is_set():
            return
        self._said = now
        total = max(self._total, 1)
        if self._stop.is_set() or not self._tell(min(sum(self._done.values()), total), total):
            raise Cancelled


class Simulator:
    """One simulator process; several share the jobs, and each follows all shadows."""

    def __init__(
        self,
        kafka: KafkaSettings,
        connect: Callable[[], Connection],
        open_log: OpenLog,
        stop: threading.Event,
        name: str,
    ) -> None:
        self._kafka = kafka
        self._connect = connect
        self._open_log = open_log
        self._stop = stop
        self._name = name
        self.problems: dict[str, str] = {"jobs": "starting", "shadows": "starting"}

    def run(self) -> None:
        """Work until ``stop`` is set; PostgreSQL, Kafka or the archive away is waited out."""
        jobs = threading.Thread(target=self._keep_on, args=("jobs", self._jobs), name="jobs")
        jobs.start()
        self._keep_on("shadows", self._shadows)
        jobs.join()

    def _keep_on(self, what: str, work: Callable[[Connection], None]) -> None:
        def connected() -> None:
            with self._connect() as connection:
                work(connection)

        def say(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            self.problems[what] = f"{type(error).__name__}: {error}".strip()
            _LOG.warning("simulator.retrying", what=what, error=self.problems[what], attempt=state.attempt_number)

        try:
            tenacity.Retrying(
                retry=tenacity.retry_if_exception_type((*TRANSIENT, Transient, KafkaException)),
                wait=tenacity.wait_exponential_jitter(multiplier=0.2, max=5, jitter=0.2),
                stop=tenacity.stop_when_event_set(self._stop),
                sleep=tenacity.sleep_using_event(self._stop),
                before_sleep=say,
                retry_error_callback=lambda _: None,
            )(connected)
        finally:
            self._stop.set()  # whatever ends one half ends the process: it is started again as a whole

    def _jobs(self, connection: Connection) -> None:
        while not self._stop.is_set():
            job = simulations.claim(connection, self._name)
            self.problems["jobs"] = ""
            if job is None:
                self._stop.wait(_LOOK_S)
                continue
            _LOG.info("simulator.job", job=job.simulation_id, tenant=job.tenant_id)
            run_job(connection, self._name, job, self._open_log, self._stop)

    def _shadows(self, connection: Connection) -> None:
        shadows = Shadows(self._kafka)
        try:
            while not self._stop.is_set():
                follow(connection, shadows)
                self.problems["shadows"] = ""
                self._stop.wait(_LOOK_S)
        finally:
            shadows.close()


def follow(connection: Connection, shadows: Shadows) -> None:
    """Bring every draft's report up to what the log holds now."""
    drafts = [
        Draft.from_record(tenant, content, milliseconds(at), id_)
        for tenant, content, at, id_ in simulations.drafts(connection)
    ]
    simulations.end_shadows(connection, [draft.event_id for draft in drafts])
    for shadow in shadows.follow(drafts):
        draft = shadow.draft
        request: dict[str, Any] = {
            "name": draft.rule_set.name,
            "version": draft.rule_set.version,
            "since": draft.since,
            "until": shadow.until,
        }
        done = shadow.run.simulation.signals + shadow.run.simulation.commands
        simulations.keep_shadow(connection, draft.event_id, draft.tenant, request, done, shadow.report())
