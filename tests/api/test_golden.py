"""The OpenAPI description and the GraphQL SDL are committed and compared; UPDATE=1 writes them."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from api.app import Backends, create_app
from api.graphql.schema import schema
from api.settings import ApiSettings

ROOT = Path(__file__).resolve().parents[2]


def compare(path: Path, text: str) -> None:
    """The file holds the text; with UPDATE=1 it is made to."""
    if os.environ.get("UPDATE") == "1":
        path.write_text(text)
    assert path.read_text() == text, f"{path.name} is stale: run the test with UPDATE=1 and look at the difference"


@pytest.fixture
def document(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The OpenAPI description of an application that nothing is connected to."""
    for name in [name for name in os.environ if name.startswith(("INCIDENTS_", "KAFKA_", "DATABASE_", "S3_"))]:
        monkeypatch.delenv(name)
    return create_app(ApiSettings(), Backends.from_environment()).openapi()


def test_openapi(document: dict[str, object]) -> None:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
    compare(ROOT / "docs" / "openapi.json", orjson.dumps(document, option=options).decode())


def test_graphql_sdl() -> None:
    compare(ROOT / "api" / "graphql" / "schema.graphql", schema.as_str() + "\n")
