"""The parts of the OpenAPI description that FastAPI cannot know: problems, examples and streams."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

Responses = dict[int | str, dict[str, Any]]

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "stable, for programs"},
    },
}

INCIDENT_EXAMPLE: dict[str, Any] = {
    "id": "0b9c7c5e-3f55-5a53-9c0f-7f1f5e6a1c11",
    "number": 12,
    "key": "INC-12",
    "title": "Checkout answers 500",
    "status": "open",
    "severity": "SEV-2",
    "service": "checkout",
    "revision": 3,
    "sequence": 7,
    "alert_count": 4,
    "firing_count": 2,
}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": {"schema": PROBLEM}}}


ERRORS: Responses = {
    400: _problem("Malformed: JSON, text that cannot be kept, an unknown query parameter"),
    401: _problem("No valid token"),
    403: _problem("The token's role does not allow it"),
    422: _problem("The input is not valid"),
    503: _problem("Kafka or the database is unavailable; Retry-After says when to come back"),
}

INCIDENT: dict[str, Any] = {
    "description": "The incident as read; ETag is its revision",
    "content": {"application/json": {"schema": {"type": "object"}, "example": INCIDENT_EXAMPLE}},
}

WRITE_ANSWERS: Responses = {
    200: INCIDENT,
    201: INCIDENT,
    202: {
        "description": "Durable, but not decided or not shown by reads yet; ask the operation",
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {
                    "command_id": "7d1f0a55-51d3-5c7e-9a44-2f0c2b3a4d5e",
                    "status": "pending",
                    "operation": "/api/v1/operations/7d1f0a55-51d3-5c7e-9a44-2f0c2b3a4d5e",
                },
            }
        },
    },
    404: _problem("Unknown incident"),
    409: _problem("The incident's state does not allow it; `reason` says why"),
    412: _problem("If-Match names another revision"),
    413: _problem("The body is too large"),
    415: _problem("The body is not application/json"),
}

UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself; its content type becomes the recorded media type",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}

FILE: Responses = {
    200: {
        "description": "The file, as `Content-Disposition: attachment`",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    404: _problem("Unknown incident or file, or the file stayed at its ticket"),
    410: _problem("The file was removed or erased"),
}

STREAM: Responses = {
    200: {
        "description": "Server-sent events: `id` is the tenantsequence, `event` the CloudEvents type or `reset`",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: com.incidents.acknowledged.v1\nid: 42\ndata: {"specversion":"1.0",...}\n\n',
            }
        },
    }
}


_SIGNAL_EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "b7e1",
    "source": "/monitoring",
    "type": "com.incidents.signal.v1",
    "data": {"title": "disk full", "severity": "SEV-2", "service": "db", "host": "db1", "rule": "disk"},
}
_DURABLE: dict[str, Any] = {"description": "Durable: Kafka has acknowledged every message of it"}


def _ingest(summary: str, content: dict[str, Any], *more: int) -> dict[str, Any]:
    names = {404: "Unknown integration", 413: "The body is too large", 415: "A content type that is not taken"}
    responses = {
        str(status): ERRORS.get(status) or _problem(names[status]) for status in (400, 401, *more, 413, 415, 503)
    }
    return {
        "post": {
            "tags": ["ingest"],
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": {"202": _DURABLE, **responses},
        }
    }


INGEST: dict[str, Any] = {
    "/api/v1/events": _ingest(
        "Send CloudEvents: structured, binary or a batch, which is taken whole or not at all",
        {
            "application/cloudevents+json": {"schema": {"type": "object"}, "example": _SIGNAL_EVENT},
            "application/cloudevents-batch+json": {"schema": {"type": "array"}, "example": [_SIGNAL_EVENT]},
        },
        403,
        422,
    ),
    "/api/v1/webhooks/{connector}/{integration_id}": _ingest(
        "A provider's webhook, authenticated by its signature", {"application/json": {"schema": {}}}, 404
    ),
}
INGEST["/api/v1/webhooks/{connector}/{integration_id}"]["parameters"] = [
    {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    for name in ("connector", "integration_id")
]


def describe(app: FastAPI) -> None:
    """Add the bearer scheme to every route but the public ones, and the ingest routes, which FastAPI does not know."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = make()
            components = document.setdefault("components", {})
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            components.setdefault("schemas", {})["Problem"] = PROBLEM
            document["paths"] |= INGEST
            for path, operations in document["paths"].items():
                if path.startswith("/api/v1") and "/webhooks/" not in path:
                    for operation in (o for o in operations.values() if isinstance(o, dict)):
                        operation["security"] = [{"token": []}]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the description
