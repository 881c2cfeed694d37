"""`incidents show`: one incident on a page, now or as it was: its state, its timeline, and why its alerts are in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.remote import DEFAULT_URL, Token, Url

if TYPE_CHECKING:
    import httpx

_PAGE = 500
_FIELDS = ("status", "severity", "service", "assignee", "acknowledged_by", "created_at", "updated_at", "resolved_at",
           "closed_at", "alert_count", "repeat_count", "firing_count", "merged_into", "related_to")  # fmt: skip


def command(
    incident: Annotated[str, typer.Argument(help="Id or number, e.g. INC-12.")],
    as_of: Annotated[
        str, typer.Option("--as-of", help="As it was at this time (RFC 3339), e.g. 2026-11-22T10:00:00Z.")
    ] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show an incident: its state, its timeline, and its alerts with the rule and key that brought them here."""
    import httpx

    from cli.output import print_json
    from cli.remote import headers, not_running

    parameters = {"as_of": as_of} if as_of else {}
    try:
        with httpx.Client(base_url=url, headers=headers(token), timeout=30) as client:
            path = f"/api/v1/incidents/{incident}"
            state = _get(client, path, parameters)
            events = _all(client, f"/api/v1/incidents/{state['id']}/timeline", parameters)
    except httpx.TransportError as error:
        raise not_running(url) from error
    alerts = alerts_of(events)
    if as_json:
        print_json({"as_of": as_of or None, "incident": state, "alerts": alerts, "timeline": events})
    else:
        _print(state, alerts, events, as_of)


def alerts_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The alerts that the events brought in, in their order, each with why it is here and whether it fires."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        for alert in (event.get("data") or {}).get("alerts", []):
            key = alert["alert_key"]
            if event["type"] == "com.incidents.split.v1":
                _split(found, alert, event["data"])
                continue
            if event["type"] == "com.incidents.flapping.v1":
                continue
            if event["type"] == "com.incidents.alerts_attached.v1":
                known = found.setdefault(key, {"alert_key": key, "signals": 0, **_why(alert)})
                known["firing"] = True
            elif key not in found:
                continue
            elif event["type"] == "com.incidents.alerts_resolved.v1":
                found[key]["firing"] = False
            found[key]["signals"] += 1
    return list(found.values())


def _split(found: dict[str, dict[str, Any]], alert: dict[str, Any], data: dict[str, Any]) -> None:
    """An alert that went to another incident, or came from one."""
    key = alert["alert_key"]
    if data["role"] == "source":
        found.pop(key, None)
        return
    because = {"rule": data["by_rules"] or "split", "version": "", "key": f"from {data['other']}"}
    found[key] = {
        "alert_key": key, "signals": alert["count"], "title": alert["title"], "severity": "", "connector": "",
        "external_id": "", "because": because, "firing": True,
    }  # fmt: skip


def _why(alert: dict[str, Any]) -> dict[str, Any]:
    names = ("title", "severity", "connector", "external_id")
    rule = {"rule": alert["correlation_rule"], "version": alert["correlation_version"]}
    return {name: alert[name] for name in names} | {"because": {**rule, "key": alert["correlation_key"]}}


def _get(client: httpx.Client, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
    from cli.remote import refusal

    response = client.get(path, params=parameters)
    if response.is_error:
        raise refusal(response)
    found: dict[str, Any] = response.json()  # 308, of one that was merged, has the incident as its body
    return found


def _all(client: httpx.Client, path: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = _get(client, path, {**parameters, "limit": _PAGE} | ({"after": after} if after else {}))
        events += page["items"]
        after = page["next"]
    return events


def _print(state: dict[str, Any], alerts: list[dict[str, Any]], events: list[dict[str, Any]], as_of: str) -> None:
    from cli.output import print_table
    from cli.tail import line

    typer.echo(f"{state['key']}  {state['title']}" + (f"   (as of {as_of})" if as_of else ""))
    for name in _FIELDS:
        if state[name] not in {None, ""}:
            typer.echo(f"  {name.replace('_', ' '):<16} {state[name]}")
    if state["description"]:
        typer.echo(f"\n{state['description']}")
    if alerts:
        rows = [
            [a["title"][:60], "fires" if a["firing"] else "resolved", str(a["signals"]), _because(a)] for a in alerts
        ]
        print_table(("alert", "state", "signals", "here because of"), rows)
    typer.echo("\ntimeline")
    for event in events:
        typer.echo(line(event))


def _because(alert: dict[str, Any]) -> str:
    why = alert["because"]
    return f"rule {why['rule']} v{why['version']}: {why['key']}" if why["rule"] else ""
