"""Signed checkpoints: what the record was at a moment, vouched for by the archiver's Ed25519 key (RFC 8032).

Whoever can write to Kafka, PostgreSQL and the archive can make a new chain that holds. They cannot make the signature:
a record that was truncated or rewritten no longer agrees with a checkpoint. The documents are numbered and each names
the digest of the one before it, so that one that vanished from the middle is missed too.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from streams.archive.settings import SigningSettings
from streams.domain.checking import RecordHead
from streams.domain.errors import IncidentsError
from streams.runtime.object_storage import ObjectStorage

FORMAT = 1
_KEY_BYTES = 32


class BadSignature(IncidentsError):  # noqa: N818
    """A checkpoint was not signed by a key that is trusted, or was changed, or one before it is missing."""


class NoSigningKey(IncidentsError):  # noqa: N818
    """There is no key to sign checkpoints with, or to check them with."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The heads of the tenants of one partition of ``incident-events`` before offset ``position``.

    ``archive`` has the position and link of each manifest of the partition; ``at`` is in milliseconds.
    """

    number: int
    partition: int
    position: int
    at: int
    tenants: Mapping[str, RecordHead] = field(default_factory=dict)
    archive: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    previous: str = ""

    def payload(self) -> bytes:
        """What is signed."""
        return orjson.dumps(
            {
                "format": FORMAT,
                "number": self.number,
                "partition": self.partition,
                "position": self.position,
                "at": self.at,
                "previous": self.previous,
                "archive": {topic: list(place) for topic, place in self.archive.items()},
                "tenants": {tenant: list(head) for tenant, head in self.tenants.items()},
            },
            option=orjson.OPT_SORT_KEYS,
        )

    @classmethod
    def parse(cls, payload: bytes) -> Checkpoint:
        """The checkpoint of a payload; raises ``BadSignature`` for another format."""
        found: dict[str, Any] = orjson.loads(payload)
        if found.pop("format") != FORMAT:
            raise BadSignature("a checkpoint has a format that this version does not read")
        found["tenants"] = {tenant: RecordHead(*head) for tenant, head in found["tenants"].items()}
        found["archive"] = {topic: (place[0], place[1]) for topic, place in found["archive"].items()}
        return cls(**found)


class Signer:
    """Signs with the first key of the settings; raises ``NoSigningKey`` where there is none."""

    def __init__(self, settings: SigningSettings) -> None:
        text = settings.signing_key.get_secret_value()
        if not text:
            raise NoSigningKey("INCIDENTS_SIGNING_KEY is not set: it signs the checkpoints of the record")
        self._key = Ed25519PrivateKey.from_private_bytes(_bytes(text, "INCIDENTS_SIGNING_KEY"))
        self.public = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, payload: bytes) -> bytes:
        """The signed document of a payload."""
        signature = base64.b64encode(self._key.sign(payload)).decode()
        return orjson.dumps({"payload": payload.decode(), "key": self.public, "signature": signature})


class Verifier:
    """Opens documents that one of the trusted keys has signed."""

    def __init__(self, settings: SigningSettings) -> None:
        texts = [text.strip() for text in settings.trusted_keys.split(",") if text.strip()]
        self._trusted = texts or [Signer(settings).public]

    def open(self, document: bytes) -> bytes:
        """The payload; raises ``BadSignature``."""
        try:
            found = orjson.loads(document)
            key, payload = found["key"], found["payload"].encode()
            if key not in self._trusted:
                raise BadSignature(f"signed with key {key}, which is not trusted")
            public = Ed25519PublicKey.from_public_bytes(_bytes(key, "the key"))
            public.verify(base64.b64decode(found["signature"]), payload)
        except InvalidSignature as error:
            raise BadSignature("its signature does not belong to its content") from error
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise BadSignature(f"it cannot be read: {error!r}") from error
        return bytes(payload)


def _bytes(text: str, name: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise NoSigningKey(f"{name} is not base64") from error
    if len(key) != _KEY_BYTES:
        raise NoSigningKey(f"{name} has {len(key)} bytes, not {_KEY_BYTES}")
    return key


class Checkpoints:
    """The checkpoints of one archive."""

    def __init__(self, storage: ObjectStorage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix

    def latest(self, partition: int, verifier: Verifier) -> tuple[Checkpoint, str] | None:
        """The last checkpoint of a partition and the digest of its document."""
        keys = list(self._storage.keys(self._folder(partition)))
        if not keys:
            return None
        document, _ = self._storage.document(keys[-1])
        return Checkpoint.parse(verifier.open(document)), sha256(document).hexdigest()

    def publish(self, checkpoint: Checkpoint, signer: Signer) -> str | None:
        """Sign and store; the digest of the document, or none when another archiver has published this number."""
        document = signer.sign(checkpoint.payload())
        key = f"{self._folder(checkpoint.partition)}{checkpoint.number:010d}.json"
        return sha256(document).hexdigest() if self._storage.create(key, document) else None

    def read(self, partition: int, verifier: Verifier) -> Iterator[Checkpoint]:
        """All checkpoints of a partition, in order; raises ``BadSignature`` with the number of the first bad one."""
        previous = ""
        for number, key in enumerate(self._storage.keys(self._folder(partition)), start=1):
            document, _ = self._storage.document(key)
            try:
                checkpoint = Checkpoint.parse(verifier.open(document))
            except BadSignature as error:
                raise BadSignature(f"checkpoint {number} of partition {partition}: {error}") from error
            if (checkpoint.number, checkpoint.partition, checkpoint.previous) != (number, partition, previous):
                raise BadSignature(f"checkpoint {number} of partition {partition} is missing or stands elsewhere")
            previous = sha256(document).hexdigest()
            yield checkpoint

    def _folder(self, partition: int) -> str:
        return f"{self._prefix}checkpoints/{partition:05d}/"
