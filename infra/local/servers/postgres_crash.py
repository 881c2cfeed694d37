"""What a postmaster that was killed leaves behind, and that a new one refuses to start beside.

Its idle backends notice and end; a busy one goes on until its query is done and holds the shared memory. And as long as
nobody has reaped the dead postmaster (for ever in a container whose first process does not), its pid in postmaster.pid
looks alive.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

ORPHAN_GRACE_SECONDS = 5.0


def clear(data: Path) -> None:
    """End the backends of a dead postmaster of this data folder and remove its lock file.

    Where a postmaster lives in the folder nothing is touched: PostgreSQL itself will refuse a second one. Recovery does
    not depend on how the orphans end: everything committed is in the write-ahead log.
    """
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    former = lock.read_text().partition("\n")[0].strip()
    residents = list(_residents(data.resolve()))
    if any(str(process.pid) == former for process in residents):
        return
    for process in residents:
        _signal(process, kill=False)
    _, stubborn = psutil.wait_procs(residents, timeout=ORPHAN_GRACE_SECONDS)
    for process in stubborn:
        _signal(process, kill=True)
    psutil.wait_procs(stubborn, timeout=ORPHAN_GRACE_SECONDS)
    lock.unlink(missing_ok=True)


def _residents(data: Path) -> Iterator[psutil.Process]:
    """Live postgres processes that work in this folder: each of them changes into it at its start."""
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(data):
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        return
