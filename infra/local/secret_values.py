"""Secrets that the local stack makes for itself, once for each home, in a file that only its owner reads."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from infra.local.locks import exclusive


@dataclass(frozen=True, slots=True, repr=False)
class StackSecrets:
    """Passwords and keys of one home. ``secret_key`` (32 bytes, base64) encrypts the secrets of integrations.

    ``signing_key`` (the same) is the Ed25519 key that signs checkpoints.
    """

    postgres_password: str
    s3_access_key: str
    s3_secret_key: str
    secret_key: str
    signing_key: str = ""


def load_or_make(path: Path) -> StackSecrets:
    """The secrets of a home, made at the first call."""
    if path.exists():
        found = StackSecrets(**orjson.loads(path.read_bytes()))
        return found if found.signing_key else _with_signing_key(path, found)
    made = StackSecrets(
        postgres_password=secrets.token_urlsafe(24),
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_urlsafe(30),
        secret_key=_key(),
        signing_key=_key(),
    )
    own = path.with_name(f"{path.name}.{os.getpid()}")
    write_private(own, orjson.dumps(asdict(made)))
    try:
        os.link(own, path)
    except FileExistsError:  # another command made them at the same moment; there is one set for each home
        return StackSecrets(**orjson.loads(path.read_bytes()))
    finally:
        own.unlink()
    return made


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _with_signing_key(path: Path, found: StackSecrets) -> StackSecrets:
    """The secrets of a home that is older than the signing key; of two commands at once one makes it."""
    with exclusive(path.with_suffix(".lock"), "secrets", 30.0):
        again = StackSecrets(**orjson.loads(path.read_bytes()))
        if again.signing_key:
            return again
        made = replace(found, signing_key=_key())
        write_private(path, orjson.dumps(asdict(made)))
        return made


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 600 in one step: a reader sees the old content or the new, and nobody else sees either."""
    scratch = path.with_name(path.name + ".tmp")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)
