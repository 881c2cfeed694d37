"""``incidents demo``: everything running, a storm of provider payloads, and what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.demo.play import Result
    from infra.demo.scene import Scene


def command(
    once: Annotated[
        bool, typer.Option("--once", help="Stop everything afterwards; exit 0 only if the counts are as they must be.")
    ] = False,
    itsm: Annotated[bool, typer.Option("--itsm", help="Show ticket sync with ServiceNow and Jira instead.")] = False,
) -> None:
    """Start what is not running, send a storm of real-shaped deliveries, and show the incidents that came out.

    PagerDuty and Alertmanager payloads go through the real webhooks: signed, repeated, out of order. Each run has a
    tenant of its own. The last line of standard output is one JSON object. Without --once it goes on until Ctrl-C.
    """
    import asyncio
    import time
    from contextlib import ExitStack

    from cli.errors import CommandError
    from cli.output import print_json, standard_error
    from infra.demo import play, scene

    if itsm:
        _itsm(once=once)
        return
    console = standard_error()
    tenant = f"demo-{time.strftime('%Y%m%d-%H%M%S')}"
    with ExitStack() as held:
        with console.status("starting") as status:
            built = scene.build(tenant, held, status.update)
            result = asyncio.run(play.play(built, lambda sent, of: status.update(f"{sent} of {of} deliveries sent")))
        _show(built, result)
        if not once:
            _addresses(built)
        print_json(result.as_json())
        if once and result.wrong:
            raise CommandError("the counts are not what the input implies: " + "; ".join(result.wrong))
        if not once:
            _wait()


def _itsm(*, once: bool) -> None:
    """A conflict of each policy, decided live, with both ticket systems."""
    import asyncio
    import time
    from contextlib import ExitStack

    from cli.errors import CommandError
    from cli.output import print_json, standard_error
    from infra.demo.itsm import play, scene

    console = standard_error()
    with ExitStack() as held:
        with console.status("starting") as status:
            built = scene.build(f"itsm-{time.strftime('%Y%m%d-%H%M%S')}", held, status.update)
        try:
            found = asyncio.run(play.play(built, lambda text: typer.echo(text, err=True)))
        except TimeoutError as error:
            raise CommandError(str(error)) from error
        if not once:
            for connector, url in built.urls.items():
                typer.echo(f"  {connector:11} {url}/ (edit tickets by hand)")
            _addresses(built.scene)
        print_json(found.as_json())
        if once and found.wrong:
            raise CommandError("; ".join(found.wrong))
        if not once:
            _wait()


def _show(scene: Scene, result: Result) -> None:
    from cli.output import print_table

    rows = [
        (f"INC-{i['number']}", i["severity"], i["status"], i["service"], i["title"][:50],
         str(i["alert_count"]), str(i["firing_count"]), i["rule"])
        for i in result.incidents
    ]  # fmt: skip
    columns = ("number", "severity", "status", "service", "title", "alerts", "firing", "grouped by")
    print_table(columns, rows, title=f"{result.deliveries} deliveries became {len(rows)} incidents ({scene.tenant})")
    counts = result.counts
    print_table(
        ("what", "count"),
        [
            ("signals answered 2xx", str(counts.received)),
            ("of these repeated", str(counts.duplicates)),
            *((f"disposition {name}", str(count)) for name, count in sorted(result.dispositions.items())),
            ("lost", str(counts.lost)),
            ("timeline entries", str(counts.timeline_entries)),
            ("effects at PagerDuty", str(counts.outbox_effects)),
        ],
    )


def _addresses(scene: Scene) -> None:
    typer.echo(f"""
  board       {scene.base_url}/api/v1/board
  GraphiQL    {scene.base_url}/graphql
  API docs    {scene.base_url}/docs
  live board  incidents watch --url {scene.base_url} --token {scene.viewer_token}
  viewer      Authorization: Bearer {scene.viewer_token}
  admin       Authorization: Bearer {scene.admin_token}
""")


def _wait() -> None:
    import signal

    typer.echo("running until Ctrl-C", err=True)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    while not stopped:
        signal.pause()
