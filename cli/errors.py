"""How a command fails: one clear line on standard error and an exit code that means something."""

from __future__ import annotations

from cli.exit_codes import ExitCode


class CommandError(Exception):
    """A command cannot go on; the message is one for people."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
