"""Files and links of incidents, as they are now; those that were taken away stay as such."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from projections.attachment_rows import FILE_COLUMNS, LINK_COLUMNS, FileRow, LinkRow, stored, to_file, to_link
from projections.base import Record
from projections.connections import Connection
from projections.staging import Staging, excluded
from streams.domain.attachment_events import AttachmentEvent
from streams.domain.attachment_history import AttachmentHistory, FileHistory, LinkHistory, key_of
from streams.domain.catalogue import Topic

Key = tuple[str, str]
"""Tenant, and the id of a file or a link."""

_SELECT = """
SELECT {columns} FROM {table} WHERE (tenant_id, {key}) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""


class Attachments:
    """Writes ``attachments`` and ``links``."""

    name = "attachments"
    topic: Topic = "incident-events"
    whole_log = True
    early = ("pkey",)

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        files, links = (f"read_data.{name}_g{generation}" for name in ("attachments", "links"))
        self.tables = (files, links)
        self._files = Staging(
            files, FILE_COLUMNS, f"(tenant_id, attachment_id) DO UPDATE SET {excluded(FILE_COLUMNS, 2)}"
        )
        self._links = Staging(links, LINK_COLUMNS, f"(tenant_id, link_id) DO UPDATE SET {excluded(LINK_COLUMNS, 2)}")
        self._select_files = _SELECT.format(columns=", ".join(FILE_COLUMNS), table=files, key="attachment_id").encode()
        self._select_links = _SELECT.format(columns=", ".join(LINK_COLUMNS), table=links, key="link_id").encode()

    def prepare(self, connection: Connection) -> None:
        """Create the temporary tables."""
        self._files.prepare(connection)
        self._links.prepare(connection)

    def apply(self, connection: Connection, records: Sequence[Record]) -> int:
        """Fold the events into the rows of their files and links; those that a row holds already are passed over."""
        about = [record for record in records if isinstance(record.data, AttachmentEvent)]
        if not about:
            return 0
        known, folded = self._load(connection, {(one.envelope.tenantid, key_of(one.data)) for one in about})
        last: dict[Key, Record] = {}
        for record in about:
            key = record.envelope.tenantid, key_of(record.data)
            if record.envelope.tenantsequence > known.get(key, 0):
                folded.setdefault(key[0], AttachmentHistory()).take(record.envelope, record.data)
                last[key] = record
        files: list[tuple[Any, ...]] = []
        links: list[tuple[Any, ...]] = []
        for tenant, id_ in sorted(last):
            found: FileHistory | LinkHistory | None = folded[tenant].files.get(id_)
            if found is not None:
                files.append(stored(found, last[tenant, id_]))
            elif (found := folded[tenant].links.get(id_)) is not None:
                links.append(stored(found, last[tenant, id_]))
        self._files.load(connection, files)
        self._links.load(connection, links)
        return len(files) + len(links)

    def fill(self, connection: Connection, records: Sequence[Record]) -> int:
        """As ``apply``: later events change earlier rows."""
        return self.apply(connection, records)

    def unify(self, connection: Connection) -> None:
        """Nothing: with their keys from the beginning, no two rows have the same."""

    def _load(self, connection: Connection, keys: set[Key]) -> tuple[dict[Key, int], dict[str, AttachmentHistory]]:
        """The last event in each row, and what the rows say, by tenant."""
        columns = [list(column) for column in zip(*sorted(keys), strict=True)]
        last: dict[Key, int] = {}
        folded: dict[str, AttachmentHistory] = {}
        for row in connection.execute(self._select_files, columns):
            file = FileRow(*row)
            last[file.tenant_id, file.attachment_id] = file.tenantsequence
            folded.setdefault(file.tenant_id, AttachmentHistory()).files[file.attachment_id] = to_file(file)
        for row in connection.execute(self._select_links, columns):
            link = LinkRow(*row)
            last[link.tenant_id, link.link_id] = link.tenantsequence
            folded.setdefault(link.tenant_id, AttachmentHistory()).links[link.link_id] = to_link(link)
        return last, folded
