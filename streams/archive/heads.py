"""Where each tenant of a partition stands, folded while its events are archived."""

from __future__ import annotations

from collections.abc import Iterable

from streams.archive.checkpoints import Checkpoint
from streams.archive.manifests import Manifest
from streams.archive.reading import Archive
from streams.codec import cloudevents
from streams.domain.checking import RecordHead
from streams.runtime.partition_reader import StoredRecord


class Heads:
    """The heads by tenant; ``fresh`` counts the events since the last checkpoint."""

    def __init__(self, checkpoint: Checkpoint | None = None) -> None:
        self.tenants: dict[str, RecordHead] = dict(checkpoint.tenants) if checkpoint else {}
        self.fresh = 0
        self._link = checkpoint.archive["incident-events"][1] if checkpoint else ""

    def catch_up(self, archive: Archive, manifest: Manifest) -> Heads:
        """Fold the files that were archived after the checkpoint."""
        links = [entry.link for entry in manifest.entries]
        after = links.index(self._link) + 1 if self._link in links else 0
        for entry in manifest.entries[after:]:
            if entry.kind == "file":
                self.take(archive.file(manifest, entry))
        return self

    def take(self, records: Iterable[StoredRecord]) -> None:
        """Fold records of ``incident-events``."""
        for record in records:
            envelope, _, _ = cloudevents.decode_headers(record.headers)
            head = self.tenants.get(envelope.tenantid, RecordHead())
            if envelope.tenantsequence > head.tenantsequence:
                self.tenants[envelope.tenantid] = head.after(envelope)
            self.fresh += 1
