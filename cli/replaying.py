"""Replaying dead letters in batches: which of them can be, as what, and why the others cannot."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from streams.codec import cloudevents
from streams.domain.errors import IncidentsError, InvalidEvent
from streams.domain.signals import ProviderIngested
from streams.runtime.dead_letter import DeadLetter, Original
from streams.runtime.dead_letters import BATCH, DeadLetters, SourceGone

if TYPE_CHECKING:
    from connectors.kit.contract import Integration

NOT_UNDERSTOOD = "not-understood"


class _CannotReplay(IncidentsError):  # noqa: N818  as the other errors, named for what is wrong
    """This letter stays where it is; the message says why."""


class Replay:
    """One run: ``done`` names the letters that were replayed, ``failed`` the others with the reason."""

    def __init__(self, store: DeadLetters, actor: str, *, dry_run: bool = False) -> None:
        self.done: list[str] = []
        self.failed: dict[str, str] = {}
        self._store = store
        self._actor = actor
        self._dry_run = dry_run
        self._integrations: dict[str, Integration] | None = None

    def take(self, letters: Iterable[DeadLetter]) -> None:
        """Replay those of the letters that wait, in their order; raises ``dead_letters.NotWritten``."""
        left = iter(letters)
        while batch := list(islice(left, BATCH)):
            ready = [(letter, found) for letter in batch if (found := self._found(letter))]
            if not self._dry_run:
                self._store.replay(ready, self._actor, int(time.time() * 1000))
            self.done += [str(letter.place) for letter, _ in ready]

    def _found(self, letter: DeadLetter) -> list[Original]:
        if letter.mark.state != "waiting":
            self.failed[str(letter.place)] = waiting(letter)
            return []
        try:
            original = self._store.original(letter)
            return self._parsed_again(letter, original) if letter.reason == NOT_UNDERSTOOD else [original]
        except (SourceGone, _CannotReplay) as error:
            self.failed[str(letter.place)] = str(error)
            return []

    def _parsed_again(self, letter: DeadLetter, original: Original) -> list[Original]:
        """What the connector makes of the raw body now."""
        from connectors.reparsing import StillNotUnderstood, parse_again

        try:
            _, data = cloudevents.decode(original.headers, original.value)
        except InvalidEvent as error:
            raise _CannotReplay(str(error)) from error
        if not isinstance(data, ProviderIngested):
            return [original]
        integration = self._known().get(data.integration_id)
        if integration is None or integration.tenant_id != letter.tenant:
            raise _CannotReplay(f"there is no integration {data.integration_id} of {letter.tenant} any more")
        try:
            messages = parse_again(integration, data.raw or _stored(data.raw_ref))
        except StillNotUnderstood as error:
            raise _CannotReplay(f"still not understood: {error}") from error
        found = [(envelope, *cloudevents.encode(envelope, message)) for envelope, message in messages]
        return [Original(envelope.tenantid.encode(), value, headers) for envelope, value, headers in found]

    def _known(self) -> dict[str, Integration]:
        if self._integrations is None:
            self._integrations = {one.integration_id: one for one in _integrations()}
        return self._integrations


def waiting(letter: DeadLetter) -> str:
    """Why a letter that no longer waits is left alone."""
    return f"was {letter.mark.state} by {letter.mark.actor}"


def _integrations() -> list[Integration]:
    """Every integration with its configuration, without its secrets: what was verified need not be again."""
    import psycopg

    from connectors.kit import integrations
    from connectors.kit.contract import Integration
    from streams.runtime.settings import DatabaseSettings

    try:
        with integrations.connect(DatabaseSettings()) as connection:
            listed = integrations.list_all(connection)
    except psycopg.Error as error:
        raise _CannotReplay(f"the integration's settings cannot be read: PostgreSQL: {error}") from error
    return [Integration(one.integration_id, one.tenant_id, one.connector, one.name, one.config) for one in listed]


def _stored(reference: str) -> bytes:
    """A raw body that was too large to be carried, from object storage."""
    from streams.runtime.object_storage import ObjectStorage, StorageUnavailable, UnknownObject
    from streams.runtime.settings import ObjectStorageSettings

    try:
        return ObjectStorage(ObjectStorageSettings()).get(reference)
    except (StorageUnavailable, UnknownObject) as error:
        raise _CannotReplay(f"the raw body {reference} cannot be fetched: {error}") from error
