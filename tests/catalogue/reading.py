"""Examples are JSON; this writes them as Avro, by the schema that they are an example of."""

from __future__ import annotations

import base64
import io
from typing import Any

import fastavro


def example_of(schema: Any, example: dict[str, Any]) -> bytes:
    """The Avro datum of an example; bytes are base64 text in it."""
    fields = {field["name"]: field["type"] for field in schema["fields"]}
    record = {name: base64.b64decode(v) if fields[name] == "bytes" else v for name, v in example.items()}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, schema, record, strict=True)
    return buffer.getvalue()
