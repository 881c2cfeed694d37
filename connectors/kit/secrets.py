"""Secrets of integrations at rest: AES-256-GCM (NIST SP 800-38D) under a key that is not in the database.

A ciphertext is bound to its tenant and integration (associated data): moved to another row, it does not open.
Layout: version (1 byte), key id (8), nonce (12), ciphertext and tag.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from connectors.kit.contract import Secret
from streams.domain.errors import IncidentsError

_VERSION = b"\x01"
_KEY_BYTES = 32
_ID_END = 9
_NONCE_END = 21


class SecretsSealed(IncidentsError):  # noqa: N818
    """Stored secrets cannot be read, or new ones not be stored, with the keys that this process was given."""


class ConnectorSettings(BaseSettings):
    """What connectors need from the environment (prefix ``INCIDENTS_``)."""

    model_config = SettingsConfigDict(env_prefix="INCIDENTS_", extra="ignore", env_ignore_empty=True)

    secret_key: SecretStr = Field(
        SecretStr(""),
        description="32 random bytes in base64; after a comma, older keys that may still decrypt",
    )
    public_url: str = Field("http://127.0.0.1:8080", description="where providers reach the API")
    allow_loopback_providers: bool = Field(
        default=False, description="lets connectors call http://127.0.0.1, for the provider fakes"
    )


class SecretBox:
    """Encrypts with the first key and decrypts with any of them."""

    def __init__(self, settings: ConnectorSettings) -> None:
        given = [part.strip() for part in settings.secret_key.get_secret_value().split(",") if part.strip()]
        if not given:
            raise SecretsSealed("INCIDENTS_SECRET_KEY is not set: it encrypts the secrets of integrations")
        keys = [_key(part) for part in given]
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._first = _key_id(keys[0])

    def seal(self, secret: Secret, tenant_id: str, integration_id: str) -> bytes:
        """The ciphertext of a secret of this integration."""
        plain = orjson.dumps({"kind": secret.kind, "value": secret.value})
        return self.seal_bytes(plain, _bound_to(tenant_id, integration_id))

    def open(self, ciphertext: bytes, tenant_id: str, integration_id: str, expires_at: int = 0) -> Secret:
        """The secret again; raises ``SecretsSealed`` when the key is another, or the row was tampered with."""
        what = f"a secret of integration {integration_id}"
        plain = orjson.loads(self.open_bytes(ciphertext, _bound_to(tenant_id, integration_id), what))
        return Secret(plain["kind"], plain["value"], expires_at)

    def seal_bytes(self, plain: bytes, bound_to: bytes) -> bytes:
        """The ciphertext of any bytes, which opens only with the same ``bound_to``."""
        nonce = os.urandom(_NONCE_END - _ID_END)
        return _VERSION + self._first + nonce + self._ciphers[self._first].encrypt(nonce, plain, bound_to)

    def open_bytes(self, ciphertext: bytes, bound_to: bytes, what: str) -> bytes:
        """The bytes again (``what`` names them in the error); raises ``SecretsSealed``."""
        version, key_id = ciphertext[:1], bytes(ciphertext[1:_ID_END])
        cipher = self._ciphers.get(key_id)
        if version != _VERSION or cipher is None:
            raise SecretsSealed(
                f"{what} was encrypted with key {key_id.hex()}, which is not among "
                f"INCIDENTS_SECRET_KEY ({', '.join(known.hex() for known in self._ciphers)})"
            )
        nonce, sealed = ciphertext[_ID_END:_NONCE_END], ciphertext[_NONCE_END:]
        try:
            return cipher.decrypt(nonce, sealed, bound_to)
        except (InvalidTag, ValueError) as error:
            raise SecretsSealed(f"{what} does not belong to it") from error


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SecretsSealed("INCIDENTS_SECRET_KEY is not base64") from error
    if len(key) != _KEY_BYTES:
        raise SecretsSealed(f"INCIDENTS_SECRET_KEY has {len(key)} bytes, not {_KEY_BYTES}")
    return key


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"incidents key id" + key).digest()[: _ID_END - 1]


def _bound_to(tenant_id: str, integration_id: str) -> bytes:
    return f"{len(tenant_id)}:{tenant_id}{integration_id}".encode()
