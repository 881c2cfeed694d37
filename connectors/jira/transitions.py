"""Moving an issue through its workflow: transitions are listed for its status and chosen by where they lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from connectors.jira.calls import Site
from connectors.jira.config import JiraConfig
from connectors.jira.issues import written
from connectors.kit.http import Answer
from connectors.kit.intake import as_object
from connectors.kit.outcome import Gone, PermanentFailure
from connectors.kit.tickets import Failure

_MAX_STEPS = 4
_BETWEEN: Final = "indeterminate"

Status = tuple[str, str]
"""A status by name and category."""


async def move(site: Site, external_id: str, now: Status, changes: Mapping[str, str]) -> Gone | Failure | None:
    """Bring an issue from a status to the one (``status``) or the category (``status_category``) that is asked for.

    Where no transition leads there at once, one that leads on is followed, at most four in all. ``None``: it is there.
    """
    path = f"/issue/{quote(external_id, safe='')}/transitions"
    seen = {now[0]}
    for _ in range(_MAX_STEPS):
        if _is_there(now, changes):
            return None
        answer = await site.call("GET", f"{path}?expand=transitions.fields")
        if not isinstance(answer, Answer):
            return answer
        offered = _offered(answer)
        step = choose(offered, changes, now, seen)
        if step is None:
            names = ", ".join(sorted(to_of(one)[0] for one in offered)) or "nowhere"
            return PermanentFailure(f"the workflow leads from {now[0]!r} to {names}, not to {_wanted(changes)}")
        fields = screen(site.config, step, changes)
        if isinstance(fields, PermanentFailure):
            return fields
        moved = await site.call("POST", path, {"transition": {"id": step.get("id")}, "fields": fields})
        if not isinstance(moved, Answer):
            return moved
        now = to_of(step)
        seen.add(now[0])
    return None if _is_there(now, changes) else PermanentFailure(f"no short way leads to {_wanted(changes)}")


def choose(
    offered: Sequence[dict[str, Any]], changes: Mapping[str, str], now: Status, seen: set[str]
) -> dict[str, Any] | None:
    """The transition that leads there, else one to a status in between that was not visited yet."""
    for step in offered:
        if _is_there(to_of(step), changes):
            return step
    if now[1] == _BETWEEN:
        return None
    return next((step for step in offered if to_of(step)[1] == _BETWEEN and to_of(step)[0] not in seen), None)


def screen(config: JiraConfig, step: dict[str, Any], changes: Mapping[str, str]) -> dict[str, Any] | PermanentFailure:
    """What the transition's screen demands: from the changes, else from the configuration."""
    filled: dict[str, Any] = {}
    for name, field in as_object(step.get("fields")).items():
        if name == "resolution" and (as_object(field).get("required") or changes.get("resolution")):
            filled[name] = {"name": changes.get("resolution") or config.resolution}
        elif as_object(field).get("required") and not as_object(field).get("hasDefaultValue"):
            if name in changes:
                filled[name] = written(config, name, changes[name])
            elif name in config.transition_fields:
                filled[name] = config.transition_fields[name]
            else:
                return PermanentFailure(f"transition {step.get('name')!r} demands {name} (transition_fields)")
    return filled


def to_of(step: dict[str, Any]) -> Status:
    """The status that a transition leads to."""
    to = as_object(step.get("to"))
    return str(to.get("name", "")), str(as_object(to.get("statusCategory")).get("key", ""))


def _is_there(status: Status, changes: Mapping[str, str]) -> bool:
    if "status" in changes:
        return status[0].casefold() == changes["status"].casefold()
    return "status_category" not in changes or status[1] == changes["status_category"]


def _wanted(changes: Mapping[str, str]) -> str:
    return repr(changes["status"]) if "status" in changes else f"the category {changes['status_category']!r}"


def _offered(answer: Answer) -> list[dict[str, Any]]:
    found = as_object(answer.json()).get("transitions")
    return [as_object(one) for one in found] if isinstance(found, list) else []
