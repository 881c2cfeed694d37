"""The Atlassian Document Format (https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/).

Only what survives both ways is used: a paragraph for each line. Of a document that somebody formatted, the text is
read, a line for each block.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from connectors.kit.intake import as_object

_INLINE: Final = frozenset({"text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status"})
_MAX_DEPTH = 50


def document(text: str) -> dict[str, Any]:
    """A text as a document."""
    return {"type": "doc", "version": 1, "content": [_paragraph(line) for line in text.split("\n")]}


def _paragraph(line: str) -> dict[str, Any]:
    return {"type": "paragraph", "content": [{"type": "text", "text": line}] if line else []}


def plain(value: Any) -> str:
    """The text of a document; a text stays as it is, anything else is empty."""
    if isinstance(value, str):
        return value
    return "\n".join(_lines(value, 0)).rstrip("\n")


def _lines(node: Any, depth: int) -> Iterator[str]:
    """The lines below a node: blocks of inline nodes are one line each (more at hard breaks)."""
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        return
    children = node.get("content")
    children = children if isinstance(children, list) else []
    kinds = {child.get("type") for child in children if isinstance(child, dict)}
    if node.get("type") in {"paragraph", "heading", "codeBlock"} or kinds & _INLINE:
        yield from "".join(_inline(child) for child in children).split("\n")
        return
    for child in children:
        yield from _lines(child, depth + 1)


def _inline(node: Any) -> str:
    if not isinstance(node, dict):
        return ""
    if node.get("type") == "hardBreak":
        return "\n"
    attributes = as_object(node.get("attrs"))
    return str(node.get("text") or attributes.get("text") or attributes.get("url") or "")
