"""The fields of the fake's issues: checking what a caller sets, and what is written into the changelog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from infra.fakes.guard import Refused
from infra.fakes.jira.workflow import errors

PRIORITIES: Final = {"1": "Highest", "2": "High", "3": "Medium", "4": "Low", "5": "Lowest"}
PEOPLE: Final = {
    "5b10a2844c20165700ede21g": "Mia Krystof",
    "5b10ac8d82e05b22cc7d4ef5": "Emma Richards",
    "5b109f2e9729b51b54dc274d": "Incidents",
}
SELF: Final = "5b109f2e9729b51b54dc274d"
"""The account of the API token; the page acts as the first of ``PEOPLE``."""

_SUMMARY_CHARACTERS = 255


def person(account_id: str) -> dict[str, Any]:
    """An account as the API shows it: its e-mail address is hidden by default."""
    return {"accountId": account_id, "displayName": PEOPLE[account_id], "active": True}


def accepted(given: Mapping[str, Any], update: Mapping[str, Any], labels: list[str]) -> dict[str, Any]:
    """The values to store of an edit; raises ``Refused`` 400 naming each field that cannot be set."""
    found: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, value in given.items():
        check = _CHECKS.get(name)
        if check is None:
            wrong[name] = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
            continue
        try:
            found[name] = check(value)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            wrong[name] = str(error) or f"{name} is not valid"
    if "labels" in update:
        found["labels"] = _edited(found.get("labels", labels), update["labels"])
    if wrong:
        raise Refused(400, errors(**wrong))
    return found


def _edited(labels: list[str], operations: list[dict[str, str]]) -> list[str]:
    kept = list(labels)
    for operation in operations:
        if "add" in operation and operation["add"] not in kept:
            kept.append(_label(operation["add"]))
        if "remove" in operation and operation["remove"] in kept:
            kept.remove(operation["remove"])
    return kept


def _summary(value: Any) -> str:
    text = str(value).strip()
    if not text:
        raise ValueError("You must specify a summary of the issue.")
    if "\n" in text:
        raise ValueError("The summary is invalid because it contains newline characters.")
    if len(text) > _SUMMARY_CHARACTERS:
        raise ValueError("Summary can't exceed 255 characters.")
    return text


def document(value: Any) -> dict[str, Any] | None:
    """A text field in the Atlassian Document Format; raises ``ValueError`` for plain text."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("type") != "doc" or value.get("version") != 1:
        raise ValueError("Operation value must be an Atlassian Document (see the Atlassian Document Format)")
    return value


def _priority(value: Any) -> dict[str, str]:
    ids = {name: id_ for id_, name in PRIORITIES.items()}
    id_ = str(value["id"]) if "id" in value else ids.get(value["name"], "")
    if id_ not in PRIORITIES:
        raise ValueError("The priority selected is invalid.")
    return {"id": id_, "name": PRIORITIES[id_]}


def _label(value: str) -> str:
    if " " in value:
        raise ValueError(f"The label '{value}' contains spaces which is invalid.")
    return value


def _labels(value: Any) -> list[str]:
    return [_label(str(one)) for one in value]


def _assignee(value: Any) -> dict[str, Any] | None:
    if value is None or value.get("accountId") is None:
        return None
    if value["accountId"] not in PEOPLE:
        raise ValueError(f"User '{value['accountId']}' does not exist.")
    return person(value["accountId"])


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "summary": _summary,
    "description": document,
    "priority": _priority,
    "labels": _labels,
    "assignee": _assignee,
}


def logged(name: str, before: Any, after: Any) -> dict[str, Any]:
    """An item of the changelog. ``from`` and ``to`` are ids, ``fromString`` and ``toString`` what people read."""
    (old, old_text), (new, new_text) = _written(before), _written(after)
    item = {"field": name, "fieldId": name, "fieldtype": "jira", "from": old, "fromString": old_text}
    return item | {"to": new, "toString": new_text}


def _written(value: Any) -> tuple[str | None, str | None]:
    if value is None:
        return None, None
    if isinstance(value, list):
        return None, " ".join(value)
    if isinstance(value, dict) and value.get("type") == "doc":
        return None, plain(value)
    if isinstance(value, dict):
        return value.get("id") or value.get("accountId"), value.get("name") or value.get("displayName")
    return None, str(value)


def plain(node: Any) -> str:
    """The text of a document, a line for each paragraph (as webhooks, which know no documents, have it)."""
    if not isinstance(node, dict):
        return ""
    inner = [plain(child) for child in node.get("content", ())]
    if node.get("type") == "doc":
        return "\n".join(inner)
    return str(node.get("text", "")) + "".join(inner)
