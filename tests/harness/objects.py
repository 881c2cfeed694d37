"""S3 for a test module: a bucket of its own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from minio import Minio
from pydantic import SecretStr

from streams.runtime.settings import ObjectStorageSettings
from tests.harness.stack import Connections


def client_of(settings: ObjectStorageSettings) -> Minio:
    """A client for these settings."""
    endpoint = urlsplit(settings.endpoint)
    return Minio(
        endpoint.netloc,
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value(),
        secure=endpoint.scheme == "https",
        region=settings.region,
    )


@pytest.fixture(scope="module")
def object_storage(stack: Connections) -> Iterator[ObjectStorageSettings]:
    """Where the S3 server is, with a bucket of this test module, emptied and removed at the end."""
    settings = ObjectStorageSettings(
        endpoint=stack["S3_ENDPOINT"],
        access_key=stack.get("S3_ACCESS_KEY", "incidents"),
        secret_key=SecretStr(stack.get("S3_SECRET_KEY", "incidents")),
        bucket=f"test-{secrets.token_hex(6)}",
    )
    client = client_of(settings)
    client.make_bucket(bucket_name=settings.bucket)
    yield settings
    for item in client.list_objects(bucket_name=settings.bucket, recursive=True):
        client.remove_object(bucket_name=settings.bucket, object_name=str(item.object_name))
    client.remove_bucket(bucket_name=settings.bucket)
