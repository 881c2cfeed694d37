"""What the exit codes of `incidents` mean; the same for every command."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes. 130 (128 + SIGINT) says that the command was interrupted from the keyboard."""

    OK = 0
    FAILED = 1  # it was tried and did not work; the message says what
    USAGE = 2  # the command line or a setting is wrong; nothing was tried
    NOT_RUNNING = 3  # what the command needs has not been started (`incidents up`, `incidents run`)
    ALREADY_RUNNING = 4  # another copy is running
    PREREQUISITE = 5  # this machine lacks something: a program, a package, disk space, a free port
    REFUSED = 6  # the product understood and refused: policy, an illegal change, a conflict
    NOT_FOUND = 7  # what the command names does not exist
    INTERRUPTED = 130
