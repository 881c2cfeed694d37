"""Interleavings by a seeded random walk: the steps of the state machine without its search, so many more of them."""

from __future__ import annotations

from random import Random
from typing import Any

from streams.domain.mapping import OWNERS, POLICIES
from tests.sync.machine import REWRITES, SIMPLE, SKEWS
from tests.sync.provider import FIELDS, Provider
from tests.sync.world import World, mapping

STEPS = 40
OURS = ("title", "severity", "status", "assignee")
WAITS = (1, 300, 2_000, 60_000, 4_000_000)
_ODDS = {
    "step": 30,
    "edit_ours": 12,
    "edit_theirs": 14,
    "deliver": 12,
    "lose": 2,
    "crash": 4,
    "crash_after_report": 2,
    "poll": 3,
    "reconcile": 2,
    "restart": 3,
    "wait": 4,
    "note": 3,
    "attach_ours": 3,
    "link_ours": 2,
    "attach_theirs": 3,
    "detach_theirs": 1,
    "declare": 1,
    "merge": 1,
    "decide_conflict": 3,
    "copy": 1,
    "delete": 1,
    "relink": 2,
}


def walk(seed: str) -> World:
    """A world after ``STEPS`` random steps; equal seeds give equal worlds."""
    random = Random(seed)
    versioning: Any = random.choice(["counter", "clock"])
    provider = Provider(versioning, skew=random.choice(SKEWS), rewrites=random.choice(REWRITES))
    choices: list[Any] = [(random.choice(OWNERS), random.choice(SIMPLE)) for _ in range(4)]
    choices[2] = (random.choice(OWNERS), random.choice(["state_machine", *POLICIES]))
    world = World(provider, mapping(*choices))
    for what in random.choices(list(_ODDS), weights=list(_ODDS.values()), k=STEPS):
        _happen(world, what, random)
    return world


def _happen(world: World, what: str, random: Random) -> None:
    place, choice = random.randrange(10), random.randrange(10)
    match what:
        case "edit_ours":
            world.edit_ours(place, random.choice(OURS), choice)
        case "edit_theirs":
            world.edit_theirs(place, random.choice(FIELDS), choice)
        case "wait":
            world.wait(random.choice(WAITS))
        case "decide_conflict":
            world.decide_conflict(place, choice)
        case "deliver":
            world.deliver(place, keep=choice < 2)
        case "copy" | "delete" | "relink":
            world.tamper(place, what)
        case "declare":
            if len(world.incidents) < 2:
                world.declare()
        case "poll" | "reconcile" | "restart" | "merge":
            getattr(world, what)()
        case _:
            getattr(world, what)(place)
