"""A local stack of one test module's own, for tests that stop, kill and break servers."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from infra.local import stack as local_stack
from infra.local.stack import Stack
from tests.harness.stack import NAMED, ROOT, settings_for


@contextmanager
def own_stack(**settings: Any) -> Iterator[Stack]:
    """A stack in a folder of its own, not started; at the end it is stopped and its data deleted.

    ``settings`` are those of ``StackSettings`` that are to differ.

    The folder lies in the checkout and not under pytest's, which only root may enter: PostgreSQL does not run as root.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMED:
            patch.delenv(name, raising=False)
        parent = ROOT / ".incidents"
        parent.mkdir(exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix="test-own-", dir=parent))
        home.chmod(0o755)
        stack = local_stack.open_stack(settings_for(home, **settings))
        try:
            yield stack
        finally:
            local_stack.down(stack, local_stack.quiet)
            shutil.rmtree((home / "postgres").resolve(), ignore_errors=True)
            shutil.rmtree(home)
