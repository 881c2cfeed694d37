"""One at a time: a lock on a file of the stack's folder, freed by the kernel when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.errors import AnotherCopyRunning

RETRY_SECONDS = 0.1


@contextmanager
def exclusive(path: Path, what: str, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock at `path` for `incidents <what>`, waiting at most so long for its holder.

    Raises `AnotherCopyRunning`, which names the holder's pid, when the wait ends first.
    """
    deadline = time.monotonic() + timeout_seconds
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise AnotherCopyRunning(what, f"pid {path.read_text().strip() or 'unknown'}") from None
                time.sleep(RETRY_SECONDS)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
