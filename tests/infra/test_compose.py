"""The Compose file and the image: valid, complete, and of one mind with the rest of the repository."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import string
from typing import Any

import jsonschema
import pytest
import yaml

from cli.registry import COMMANDS
from infra.local.supervisor import PROCESSES
from tests.harness.stack import ROOT

SCHEMA = ROOT / "tests" / "infra" / "compose-spec" / "schema.json"
SCHEMA_DIGEST = "d549057ebc2925f39f62799eab0db7b9e2c18b35b6c00595199116da3ed10e64"  # as its package states it
PLACED = (  # differ by their nature
    *("listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"),
    *("inter.broker.listener.name", "listener.security.protocol.map"),
)
ONE_SHOT = {"migrate", "topics"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The Compose file."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.kafka.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """Checks a file against the Compose specification."""
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_bytes()))


def application(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: one for name, one in compose["services"].items() if one["image"].startswith("incidents:")}


def test_it_is_valid(compose: dict[str, Any], validator: jsonschema.Draft202012Validator) -> None:
    assert not [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(compose)]


def test_the_schema_is_the_published_one_and_refuses_what_is_wrong(
    compose: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    assert hashlib.sha256(SCHEMA.read_bytes()).hexdigest() == SCHEMA_DIGEST
    broken = copy.deepcopy(compose)
    broken["services"]["api"]["depends_on"]["migrate"]["condition"] = 7
    assert not validator.is_valid(broken)
    broken = copy.deepcopy(compose)
    broken["services"]["api"]["comand"] = ["api"]
    assert not validator.is_valid(broken)


def test_every_process_of_the_application_is_there(compose: dict[str, Any]) -> None:
    assert application(compose).keys() == {spec.name for spec in PROCESSES} | ONE_SHOT


def test_every_command_is_one_of_the_command_line(compose: dict[str, Any]) -> None:
    known = {command.name for command in COMMANDS}
    assert {one["command"][0] for one in application(compose).values()} <= known


def test_everything_that_stays_is_watched_and_waits_for_what_it_needs(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name not in ONE_SHOT:
            assert service["healthcheck"]["test"], name
    for name, service in application(compose).items():
        for needed, how in service["depends_on"].items():
            finished = "service_completed_successfully" if needed in ONE_SHOT else "service_healthy"
            assert how["condition"] == finished, f"{name} needs {needed}"


def test_data_is_in_named_volumes(compose: dict[str, Any]) -> None:
    mounted = {one["volumes"][0].split(":")[0] for one in compose["services"].values() if "volumes" in one}
    assert mounted == compose["volumes"].keys() == {"kafka", "postgres", "objects"}


def test_secrets_come_from_the_environment_and_only_the_api_is_published_on_loopback(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for key, value in service["environment"].items():
            if re.search("PASSWORD|SECRET|ACCESS_KEY", key):
                assert re.fullmatch(r"\$\{[A-Z0-9_]+:\?[^}]+\}", value), key
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}
    assert list(published) == ["api"]
    assert published["api"][0].startswith("127.0.0.1:")


def test_kafka_has_the_settings_of_the_local_broker(compose: dict[str, Any]) -> None:
    lines = (ROOT / "infra" / "kafka" / "server.properties").read_text().splitlines()
    local = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    given = compose["services"]["kafka"]["environment"]
    for key, value in local.items():
        if key not in PLACED:
            expected = string.Template(value).substitute(node=1, copies=1, in_sync=1)
            assert given[f"KAFKA_{key.replace('.', '_').upper()}"] == expected, key


def test_kafka_is_the_version_of_the_pom(compose: dict[str, Any]) -> None:
    version = re.search("<kafka.version>(.+)</kafka.version>", (ROOT / "infra" / "kafka" / "pom.xml").read_text())
    assert version is not None
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_the_image_is_built_from_the_lock_and_does_not_run_as_root(compose: dict[str, Any]) -> None:
    builds = {one["build"]["dockerfile"] for one in application(compose).values()}
    assert len(builds) == 1
    lines = (ROOT / builds.pop()).read_text().splitlines()
    assert any("--require-hashes -r requirements.lock" in line for line in lines)
    assert "USER 10001:10001" in lines
    assert 'ENTRYPOINT ["incidents"]' in lines
