"""What was erased from the archive: signed documents that vouch for the files that took the place of others.

Manifests and checkpoints stay as they are: a document names the file that was replaced and the one that is read
instead, and for each event of the record the digest of the data that is left. So the chain still holds, and data that
is gone without such a document is damage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from streams.archive.checkpoints import BadSignature, Signer, Verifier
from streams.domain.errors import IncidentsError
from streams.runtime.object_storage import ObjectStorage

FORMAT = 1


class BadErasure(IncidentsError):  # noqa: N818
    """A document of an erasure was not signed by a key that is trusted, was changed, or one before it is missing."""


@dataclass(frozen=True, slots=True)
class Erased:
    """One erasure; ``at`` is in milliseconds, ``pseudonym`` stands where the person's identifier stood.

    ``files`` maps keys of files to those that replace them, ``events`` ids of events to the SHA-256 of what is left of
    their data, ``objects`` are raw bodies that were deleted.
    """

    number: int
    tenant: str
    pseudonym: str
    actor: str
    reason: str
    at: int
    files: Mapping[str, str] = field(default_factory=dict)
    events: Mapping[str, str] = field(default_factory=dict)
    objects: tuple[str, ...] = ()
    previous: str = ""

    def payload(self) -> bytes:
        """What is signed."""
        return orjson.dumps({"format": FORMAT, **asdict(self)}, option=orjson.OPT_SORT_KEYS)


def _parse(payload: bytes) -> Erased:
    found: dict[str, Any] = orjson.loads(payload)
    if found.pop("format") != FORMAT:
        raise BadErasure("an erasure has a format that this version does not read")
    found["objects"] = tuple(found["objects"])
    return Erased(**found)


class Erasures:
    """The erasures of one archive."""

    def __init__(self, storage: ObjectStorage, prefix: str) -> None:
        self._storage = storage
        self._folder = f"{prefix}erasures/"

    def publish(self, erased: Erased, signer: Signer) -> bool:
        """Sign and store; whether nobody else had published this number."""
        return self._storage.create(f"{self._folder}{erased.number:010d}.json", signer.sign(erased.payload()))

    def next(self) -> tuple[int, str]:
        """The number of the next erasure, and the digest of the document before it."""
        keys = list(self._storage.keys(self._folder))
        return len(keys) + 1, sha256(self._storage.document(keys[-1])[0]).hexdigest() if keys else ""

    def all(self) -> list[Erased]:
        """Every erasure in its order, the signatures not looked at: for who reads files, whose names are digests."""
        documents = (self._storage.document(key)[0] for key in self._storage.keys(self._folder))
        return [_parse(orjson.loads(document)["payload"].encode()) for document in documents]

    def verified(self, verifier: Verifier) -> Iterator[Erased]:
        """Every erasure in its order; raises ``BadErasure`` with the number of the first bad one."""
        previous = ""
        for number, key in enumerate(self._storage.keys(self._folder), start=1):
            document, _ = self._storage.document(key)
            try:
                erased = _parse(verifier.open(document))
            except BadSignature as error:
                raise BadErasure(f"erasure {number}: {error}") from error
            if (erased.number, erased.previous) != (number, previous):
                raise BadErasure(f"erasure {number} is missing or stands elsewhere")
            previous = sha256(document).hexdigest()
            yield erased

    def replaced(self) -> dict[str, str]:
        """Which file is read in place of which; a file that was replaced twice leads to the last one."""
        newest: dict[str, str] = {}
        for erased in self.all():
            newest = {old: erased.files.get(new, new) for old, new in newest.items()} | dict(erased.files)
        return newest
