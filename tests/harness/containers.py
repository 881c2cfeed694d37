"""The same servers in containers, for machines with a Docker engine (asked for with INCIDENTS_TEST_CONTAINERS=1)."""

from __future__ import annotations

from contextlib import ExitStack

POSTGRES_IMAGE = "postgres:18"  # for the other two Testcontainers' own images: its start scripts need their paths


def engine_answers() -> bool:
    """Whether a Docker engine can be used from here."""
    import docker

    try:
        client = docker.from_env(timeout=5)
    except docker.errors.DockerException:
        return False
    client.close()
    return True


def container_stack(held: ExitStack) -> dict[str, str]:
    """Start the three containers, to end with `held`; the variables that name them."""
    from testcontainers.community.kafka import KafkaContainer
    from testcontainers.community.minio import MinioContainer
    from testcontainers.community.postgres import PostgresContainer

    kafka = held.enter_context(KafkaContainer().with_kraft())
    postgres = held.enter_context(
        PostgresContainer(POSTGRES_IMAGE, username="incidents", dbname="incidents", driver=None)
    )
    objects = held.enter_context(MinioContainer())
    storage = objects.get_config()
    return {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.get_bootstrap_server(),
        "DATABASE_URL": postgres.get_connection_url(),
        "S3_ENDPOINT": f"http://{storage['endpoint']}",
        "S3_ACCESS_KEY": storage["access_key"],
        "S3_SECRET_KEY": storage["secret_key"],
    }
