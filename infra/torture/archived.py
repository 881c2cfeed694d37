"""The archive of a run: how far it has come, and whether it is whole."""

from __future__ import annotations

import time

from streams.archive.checkpoints import Verifier
from streams.archive.reading import Archive, completeness
from streams.archive.settings import SigningSettings
from streams.archive.verifying import Verification, Verified
from streams.domain.errors import Transient
from streams.runtime.settings import DatabaseSettings, KafkaSettings

LIMIT_S = 120.0
_LOOK_S = 0.5


def now_ms() -> int:
    """The clock of everything in this world."""
    return time.time_ns() // 1_000_000


def complete_until(archive: Archive) -> int:
    """Everything acknowledged before then (milliseconds) is archived; 0 where nothing is or S3 is away."""
    try:
        return completeness(archive)[0]
    except Transient:
        return 0


def verify(archive: Archive, kafka: KafkaSettings, database: DatabaseSettings, signing: SigningSettings) -> Verified:
    """Verify everything once the archive holds all that is there now; one that does not come so far is a problem."""
    now, deadline = now_ms(), time.monotonic() + LIMIT_S
    while complete_until(archive) < now:
        if time.monotonic() > deadline:
            return Verified(problems=[f"the archive is not complete after {LIMIT_S:.0f} s"])
        time.sleep(_LOOK_S)
    return Verification(kafka, database, archive, Verifier(signing)).run()
