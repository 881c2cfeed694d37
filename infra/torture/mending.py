"""Dead letters are put back after a fix: by the command that operators use, in a version that understands them."""

from __future__ import annotations

import os
import subprocess

import orjson
from pydantic import SecretStr

from infra.torture import fixes, process
from infra.torture.children import ROOT
from infra.torture.world import World
from streams.codec import cloudevents
from streams.domain.signals import ProviderIngested
from streams.runtime.dead_letters import DeadLetters
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.settings import ObjectStorageSettings

REASON = "not-understood"
COMMAND = ("dlq", "replay", "--all", "--reason", REASON, "--yes")


class NotReplayed(Exception):  # noqa: N818
    """The command did not do what it was asked to; the message is what it said."""


def replay(world: World) -> dict[str, str]:
    """Put back every letter that a fixed connector understands; the alert's fingerprint by the letter's place.

    Raises ``NotReplayed``.
    """
    waiting = _waiting(world)
    if not waiting:
        return {}
    done = subprocess.run(
        process.command(*COMMAND),
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **world.children.environment,
            process.LATER: fixes.FLAPPING,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise NotReplayed(f"dlq replay ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return waiting


def _waiting(world: World) -> dict[str, str]:
    store, storage = DeadLetters(world.kafka), _storage(world)
    found = {}
    for letter in store.letters():
        if letter.reason == REASON and letter.mark.state == "waiting":
            original = store.original(letter)
            _, kept = cloudevents.decode(original.headers, original.value)
            assert isinstance(kept, ProviderIngested), "what was not understood is kept raw"
            raw = orjson.loads(kept.raw or storage.get(kept.raw_ref))
            found[str(letter.place)] = str(raw["alerts"][0]["fingerprint"])
    return found


def _storage(world: World) -> ObjectStorage:
    values = world.children.environment
    return ObjectStorage(
        ObjectStorageSettings(
            endpoint=values["S3_ENDPOINT"],
            access_key=values["S3_ACCESS_KEY"],
            secret_key=SecretStr(values["S3_SECRET_KEY"]),
        )
    )
