"""Workers of two versions alive together; and state that a newer one wrote is refused by the older, not misread."""

from __future__ import annotations

import asyncio
import io
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from infra.torture import fixes
from infra.torture.children import ROOT, Ended
from infra.torture.evidence import Finding
from infra.torture.log import read_topic
from infra.torture.stage import Stage
from infra.torture.waiting import until
from infra.torture.world import World

TOGETHER_S, REFUSING_S = 15.0, 12.0
EXIT_FATAL = 70
NEWER = "worker-newer"
REFUSED = "has format"
"""What a worker says of a state item that it does not know."""


@dataclass(slots=True)
class Upgrade:
    """What was decided while both versions ran, and how the older one met the newer one's state."""

    decided_together: int = 0
    unordered_ends: list[str] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    says: str = ""
    decided_by_the_older: int = 0
    decided_by_the_newer: int = 0


async def play(stage: Stage) -> Finding:
    """First the previous commit beside this one; then a version with another state format, back, and forth again."""
    world, seen = stage.world, Upgrade()
    children = world.children
    previous = await asyncio.to_thread(_unpack, stage.previous, world.settings.home / "previous")
    ends = len(children.ends)
    await _replace(world, "worker-0", "worker-previous", previous)
    before = await _decided(world)
    await asyncio.sleep(TOGETHER_S)
    await stage.probes.flow()
    seen.decided_together = await _decided(world) - before
    seen.unordered_ends = [_describe(end) for end in children.ends[ends:] if not end.ordered]

    fixes.install(fixes.NEWER_STATE)  # the checks read the newer format from here on
    for name in children.names("worker"):
        await asyncio.to_thread(children.remove, name)
    await _start_newer(world)
    await stage.probes.flow()
    await asyncio.to_thread(children.remove, NEWER)

    before, ends = await _decided(world), len(children.ends)
    await asyncio.to_thread(children.add, "worker", "worker-older")
    await until(lambda: _has_ended(world, "worker-older", ends))
    await asyncio.sleep(REFUSING_S)
    seen.refusals = [end.code for end in children.ends[ends:] if end.name == "worker-older"]
    seen.decided_by_the_older = await _decided(world) - before
    await asyncio.to_thread(children.remove, "worker-older")
    seen.says = world.settings.log_file("worker-older").read_text(errors="replace")

    await _start_newer(world)
    await stage.probes.flow()
    seen.decided_by_the_newer = await _decided(world) - before
    return judge(seen)


async def _replace(world: World, old: str, new: str, root: Path) -> None:
    await asyncio.to_thread(world.children.remove, old)
    await asyncio.to_thread(world.children.add, "worker", new, root)


async def _start_newer(world: World) -> None:
    await asyncio.to_thread(world.children.add, "worker", NEWER, ROOT, (fixes.NEWER_STATE,))


async def _has_ended(world: World, name: str, since: int) -> bool:
    return any(end.name == name for end in world.children.ends[since:])


async def _decided(world: World) -> int:
    return await asyncio.to_thread(lambda: sum(1 for _ in read_topic(world.kafka, "incident-events")))


def _unpack(commit: str, folder: Path) -> Path:
    """The source of a commit, in a folder of its own; raises ``CalledProcessError`` where there is no such commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


def _describe(end: Ended) -> str:
    return f"{end.name} ended with {end.code} after {end.lived_s} s at {time.strftime('%X', time.localtime(end.at))}"


def judge(seen: Upgrade) -> Finding:
    """Both decided together; the older one ended with a reason and wrote nothing; the newer one went on."""
    finding = Finding("two versions of workers run together, and newer state is refused by the older, not misread")
    if not seen.decided_together:
        finding.add("nothing was decided while both versions ran")
    for end in seen.unordered_ends:
        finding.add(f"while both versions ran: {end}")
    if not seen.refusals or set(seen.refusals) != {EXIT_FATAL}:
        finding.add(f"the older version ended with {seen.refusals} on newer state")
    if REFUSED not in seen.says:
        finding.add("the older version did not say that it does not know the format")
    if seen.decided_by_the_older:
        finding.add(f"the older version recorded {seen.decided_by_the_older} events on state that it cannot read")
    if not seen.decided_by_the_newer:
        finding.add("the newer version did not go on")
    finding.counts["refusals"] = len(seen.refusals)
    return finding
