"""Logs of a process: a traceback shows where, never what the variables held."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from streams.runtime.logging import Sparingly

PROGRAM = """
import logging, sys
if {people}:
    sys.stderr.isatty = lambda: True
import structlog
from streams.runtime.logging import configure
configure("test")
def fail():
    token = "".join(["the-", "token"])
    raise ValueError(len(token))
for log in (structlog.get_logger("ours"), logging.getLogger("theirs")):
    try:
        fail()
    except ValueError:
        log.exception("it failed")
"""


@pytest.mark.parametrize("people", [True, False])
def test_tracebacks_hold_no_local_variables(people: bool) -> None:  # noqa: FBT001  a parameter of the test
    program = PROGRAM.format(people=people)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.count("it failed") == 2
    assert done.stderr.count("ValueError: 9") == 2
    assert "the-token" not in done.stderr


def test_a_library_that_repeats_itself_is_heard_every_ten_seconds() -> None:
    now = [0.0]
    sparingly = Sparingly(lambda: now[0])

    def passes(text: str) -> bool:
        return sparingly.filter(logging.LogRecord("aiokafka", logging.ERROR, "", 0, text, None, None))

    assert [passes("away"), passes("away"), passes("something else")] == [True, False, True]
    now[0] = 10.0
    assert passes("away")
