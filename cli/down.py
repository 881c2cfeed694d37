"""`incidents down`: stop the local stack."""

from __future__ import annotations


def down() -> None:
    """Stop the processes of the application and the servers of this folder; data stays, no process is left.

    Servers that the environment names are not touched.
    """
    from cli.progress import steps
    from infra.local import stack

    opened = stack.open_stack()
    with steps() as report:
        stack.down(opened, report)
