"""``python -m infra.torture.process NAME [ARGUMENT...]``: a process of the application as the command starts it.

Before the command runs, what the harness asked for is put around the production code: fail points and planted bugs.
Nothing else can: production code imports nothing of this package, and no setting of it is read anywhere else.

Environment: ``INCIDENTS_TORTURE_FOLDER`` (where fail points are armed), ``INCIDENTS_TORTURE_NAME`` (what the harness
calls this process; the command's name where it is not set), ``INCIDENTS_TORTURE_PLANTED`` (names of planted bugs),
``INCIDENTS_TORTURE_LATER`` (what makes it a later version of the application: `fixes`).
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from infra.torture import failpoints, fixes, planted

FOLDER, NAME, PLANTED = "INCIDENTS_TORTURE_FOLDER", "INCIDENTS_TORTURE_NAME", "INCIDENTS_TORTURE_PLANTED"
LATER = "INCIDENTS_TORTURE_LATER"


def environment(
    folder: Path, name: str, planted_bugs: tuple[str, ...] = (), later: tuple[str, ...] = ()
) -> dict[str, str]:
    """The variables to start a process with; ``later`` names what makes it a later version."""
    return {FOLDER: str(folder.absolute()), NAME: name, PLANTED: ",".join(planted_bugs), LATER: ",".join(later)}


def command(*arguments: str) -> tuple[str, ...]:
    """The command line that starts ``incidents <arguments>`` under torture."""
    return sys.executable, "-m", "infra.torture.process", *arguments


def main(arguments: list[str]) -> None:
    """Install what the environment asks for and run the command; raises ``KeyError`` for an unknown planted bug."""
    kind = arguments[0]
    for bug in filter(None, os.environ.get(PLANTED, "").split(",")):
        planted.install(bug, kind)
    for fix in filter(None, os.environ.get(LATER, "").split(",")):
        fixes.install(fix)
    folder = os.environ.get(FOLDER)
    if folder:
        failpoints.install(Path(folder), kind, os.environ.get(NAME) or kind)
    sys.argv = ["incidents", *arguments]
    runpy.run_module("cli.main", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
