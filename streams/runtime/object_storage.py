"""Objects on an S3 server: content-addressed ones, and documents that are only ever written conditionally.

What is too large for a Kafka record is put here first, by its digest.

Writing the same bytes twice writes the same object, so a retry is harmless; and since the record that names an object
is sent only after the object is there, no event ever points to nothing. What a crash between the two leaves over is
garbage, never damage.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential
from urllib3.exceptions import HTTPError

from streams.domain.errors import IncidentsError, Transient
from streams.runtime.settings import ObjectStorageSettings

_T = TypeVar("_T")
_TIMEOUT = urllib3.Timeout(connect=3.0, read=10.0)
_REFUSED = frozenset({409, 412})
"""A precondition that failed; 409 where another conditional write is under way."""

_SERVER_ERROR = 500
_MISSING = frozenset({"NoSuchKey", "NoSuchObject"})


class StorageUnavailable(Transient):
    """The S3 server did not answer, or not as it should."""


class _Momentary(StorageUnavailable):
    """The server failed this once."""


class DamagedObject(StorageUnavailable):
    """An object does not hold what its key says; asking again may find another copy of it."""


class StorageTooOld(IncidentsError):  # noqa: N818
    """The S3 server ignores conditional writes: two writers could overwrite each other unseen."""


class UnknownObject(IncidentsError):  # noqa: N818
    """No object has this key."""


class ObjectStorage:
    """One bucket; every method blocks, ``put_async`` runs on a thread."""

    def __init__(self, settings: ObjectStorageSettings) -> None:
        url = urlsplit(settings.endpoint)
        self._settings = settings
        self._bucket = settings.bucket
        self._region = settings.region
        self._client = Minio(
            url.netloc,
            access_key=settings.access_key,
            secret_key=settings.secret_key.get_secret_value(),
            secure=url.scheme == "https",
            region=settings.region,
            http_client=urllib3.PoolManager(timeout=_TIMEOUT, maxsize=8, retries=urllib3.Retry(1, redirect=0)),
        )
        self._plain = urllib3.PoolManager(timeout=_TIMEOUT, maxsize=2, retries=False)

    def __reduce__(self) -> tuple[type[ObjectStorage], tuple[ObjectStorageSettings]]:
        """Another process gets connections of its own."""
        return ObjectStorage, (self._settings,)

    def ensure_bucket(self) -> None:
        """Make the bucket where it is missing; raises ``StorageUnavailable``."""
        if not _asking(lambda: self._client.bucket_exists(self._bucket)):
            _asking(lambda: self._client.make_bucket(self._bucket, location=self._region))

    def put(self, content: bytes, content_type: str = "application/octet-stream", folder: str = "") -> str:
        """Store bytes and return their key, ``<folder>sha256/<hex>``; raises ``StorageUnavailable``."""
        key = f"{folder}sha256/{hashlib.sha256(content).hexdigest()}"
        self.store(key, content, content_type)
        return key

    def store(self, key: str, content: bytes, content_type: str = "application/octet-stream") -> None:
        """Store bytes under a key that follows from them, in a bucket that may be missing yet; as ``put``."""

        def write() -> None:
            self._client.put_object(self._bucket, key, io.BytesIO(content), len(content), content_type)

        try:
            _asking(write)
        except StorageUnavailable as error:
            if not isinstance(error.__cause__, S3Error) or error.__cause__.code != "NoSuchBucket":
                raise
            self.ensure_bucket()
            _asking(write)

    async def put_async(self, content: bytes, content_type: str = "application/octet-stream") -> str:
        """As ``put``, without holding up the event loop."""
        return await asyncio.to_thread(self.put, content, content_type)

    def get(self, key: str) -> bytes:
        """The bytes of a key, their digest checked.

        Raises ``UnknownObject``, ``DamagedObject`` and ``StorageUnavailable``.
        """
        content = _asking(lambda: self._read(key))
        if not f"/{key}".endswith(f"/sha256/{hashlib.sha256(content).hexdigest()}"):
            raise DamagedObject(f"{key} does not hold what it was given")
        return content

    def create(self, key: str, content: bytes) -> bool:
        """Write a document unless its key is taken; whether it was written. Raises ``StorageUnavailable``."""
        return self._put_if(key, content, {"If-None-Match": "*"})

    def replace(self, key: str, content: bytes, etag: str) -> bool:
        """Write a document in place of the one with this etag; whether it still was that one."""
        return self._put_if(key, content, {"If-Match": f'"{etag}"'})

    def overwrite(self, key: str, content: bytes) -> None:
        """Write a document, whatever is there; only for what nobody goes on from."""
        _asking(lambda: self._client.put_object(self._bucket, key, io.BytesIO(content), len(content)))

    def remove(self, key: str) -> None:
        """Delete an object; deleting what is not there changes nothing."""
        _asking(lambda: self._client.remove_object(self._bucket, key))

    def document(self, key: str) -> tuple[bytes, str]:
        """A document and its etag; raises ``UnknownObject`` and ``StorageUnavailable``."""

        def read() -> tuple[bytes, str]:
            response = self._client.get_object(self._bucket, key)
            try:
                return bytes(response.read()), str(response.headers.get("etag", "")).strip('"')
            finally:
                response.close()
                response.release_conn()

        return _asking(read)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin so, in their order."""

        def ask() -> list[str]:
            found = self._client.list_objects(self._bucket, prefix, recursive=True)
            return sorted(str(one.object_name) for one in found)

        try:
            yield from _asking(ask)
        except StorageUnavailable as error:
            if not isinstance(error.__cause__, S3Error) or error.__cause__.code != "NoSuchBucket":
                raise

    def require_conditional_writes(self, prefix: str) -> None:
        """Raise ``StorageTooOld`` unless the server honours ``If-None-Match`` and ``If-Match``."""
        key = f"{prefix}conditional-write-probe"
        self.create(key, b"probe")
        if self.create(key, b"probe") or self.replace(key, b"probe", "0" * 32):
            raise StorageTooOld("the S3 server ignores If-None-Match or If-Match on PUT")

    def _put_if(self, key: str, content: bytes, condition: Mapping[str, str]) -> bool:
        """A conditional PUT; the client library has none, so the URL is signed and the request is made here."""

        def write() -> bool:
            url = self._client.presigned_put_object(self._bucket, key, expires=timedelta(minutes=5))
            answer = self._plain.request("PUT", url, body=content, headers=dict(condition))
            if answer.status in _REFUSED:
                return False
            if answer.status not in {200, 201, 204}:
                kind = _Momentary if answer.status >= _SERVER_ERROR else StorageUnavailable
                raise kind(f"object storage: PUT answered {answer.status}")
            return True

        return _asking(write)

    def _read(self, key: str) -> bytes:
        response = self._client.get_object(self._bucket, key)
        try:
            return bytes(response.read())
        finally:
            response.close()
            response.release_conn()


_MOMENTARY = frozenset({"InternalError", "ServiceUnavailable", "SlowDown"})


def _is_momentary(error: BaseException) -> bool:
    cause = error.__cause__
    if isinstance(error, _Momentary):
        return True
    return isinstance(error, StorageUnavailable) and isinstance(cause, S3Error) and cause.code in _MOMENTARY


@retry(
    retry=retry_if_exception(_is_momentary),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.1, max=1.0),
    reraise=True,
)
def _asking(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except S3Error as error:
        if error.code in _MISSING:
            raise UnknownObject(str(error.object_name)) from error
        raise StorageUnavailable(f"object storage: {error.code}") from error
    except (HTTPError, InvalidResponseError, ServerError, OSError) as error:
        raise StorageUnavailable(f"object storage: {type(error).__name__}") from error
