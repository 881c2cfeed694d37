"""Structured logs: one JSON object a line on standard error, with the process name on each."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable

import structlog

REPEAT_S = 10.0
_REMEMBERED = 1000


class Sparingly(logging.Filter):
    """Lets a library say the same again only every ten seconds: a broker that is away is said at each attempt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be written."""
        now, key = self._clock(), (record.name, record.getMessage())
        if now - self._said.get(key, float("-inf")) < REPEAT_S:
            return False
        if len(self._said) >= _REMEMBERED:
            self._said.clear()
        self._said[key] = now
        return True


def configure(process: str, level: str = "INFO") -> None:
    """Set up structlog and the standard library's logging for a process; called once, by its entry point.

    With a terminal on standard error the lines are for people, otherwise they are JSON.
    """
    people = sys.stderr.isatty() and os.environ.get("INCIDENTS_LOG_FORMAT") != "json"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Tracebacks without local variables: those hold tokens and secrets.
    console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    renderer = console if people else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(Sparingly())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
