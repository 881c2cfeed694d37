"""The conflict rule: what to do about one field of an incident and its ticket. Three-way and pure (ADR 0007).

The side that owns a field may change it, and the change goes to the other side. A change by the side that does not own
it, or by both since they last agreed, is a conflict, which the field's policy decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, assert_never

from streams.domain.lifecycle import RANK, Status
from streams.domain.mapping import FieldMapping
from streams.domain.ticket_events import ConflictKind
from streams.domain.ticket_link import FieldLink

Step = Literal["none", "agree", "push", "take", "keep", "wait"]
"""Nothing to do; note that both say the same; write ours; take theirs; leave both; leave both until a decision."""

MAX_BACK = 3
"""How often a provider may change a field back after our write of the same value, before it waits for a decision."""


class Verdict(NamedTuple):
    """What to do, with ``value`` of ours to take; a ``kind`` makes it a conflict, ``why`` says it to people."""

    step: Step
    kind: ConflictKind | None = None
    value: str = ""
    why: str = ""


class Sides(NamedTuple):
    """The two sides of a field now; ``theirs`` is ``None`` where the ticket never showed it.

    ``can_take`` says why a value of ours cannot become ours, empty when it can.
    """

    ours: str
    theirs: str | None
    can_take: Callable[[str], str]


def merge(mapping: FieldMapping, link: FieldLink, sides: Sides) -> Verdict:
    """What to do about a field, given what both sides showed when they last agreed (``link``)."""
    theirs = link.base_theirs if sides.theirs is None else sides.theirs
    if sides.theirs is not None and mapping.agrees(sides.ours, theirs):
        is_news = not link.has_base or (sides.ours, theirs) != (link.base_ours, link.base_theirs)
        return Verdict("agree") if is_news or link.conflict else Verdict("none")
    ours_changed = not link.has_base or sides.ours != link.base_ours
    theirs_changed = sides.theirs is not None and (not link.has_base or theirs != link.base_theirs)
    if not ours_changed and not theirs_changed:
        return Verdict("none")
    owner = mapping.source_of_truth
    if not theirs_changed:
        if owner != "external":
            return _push(mapping, sides.ours)
        return _decide(mapping, link, sides, theirs, "not_owner", "our side changed a field that the ticket owns")
    if ours_changed:
        kind: ConflictKind = "both_changed" if link.has_base else "first"
        why = "both sides changed it" if link.has_base else "the two sides differ at first sight"
        return _decide(mapping, link, sides, theirs, kind, why)
    if owner == "internal":
        return _decide(mapping, link, sides, theirs, "not_owner", "the ticket changed a field that our side owns")
    value, kind_of, why = _understood(mapping, sides, theirs)
    if kind_of is None:
        return Verdict("take", value=value)
    return _decide(mapping, link, sides, theirs, kind_of, why)


def _push(mapping: FieldMapping, ours: str, kind: ConflictKind | None = None, why: str = "") -> Verdict:
    if mapping.image(ours) is None:
        return Verdict("keep", "unmapped", why=f"the mapping has nothing for {ours!r}; the ticket stays as it is")
    if mapping.direction == "in":
        return Verdict("keep", kind or "not_owner", why="the mapping lets nothing out")
    return Verdict("push", kind, why=why)


def _understood(mapping: FieldMapping, sides: Sides, theirs: str) -> tuple[str, ConflictKind | None, str]:
    """Their value as ours, or why it cannot be taken."""
    if mapping.direction == "out":
        return "", "not_allowed", "the mapping lets nothing in"
    meanings = mapping.meanings(theirs)
    if not meanings:
        return "", "unmapped", f"the mapping does not know {theirs!r}; our value stays"
    if len(meanings) > 1:
        return "", "ambiguous", f"{theirs!r} means any of {', '.join(meanings)}; our value stays"
    if why := sides.can_take(meanings[0]):
        return "", "not_allowed", why
    return meanings[0], None, ""


def _decide(mapping: FieldMapping, link: FieldLink, sides: Sides, theirs: str, kind: ConflictKind, why: str) -> Verdict:
    """Apply the policy to a conflict."""
    value, obstacle, reason = _understood(mapping, sides, theirs)
    ours_changed = not link.has_base or sides.ours != link.base_ours
    match mapping.conflict_policy:
        case "manual":
            return Verdict("wait", kind, why=why)
        case "internal_wins":
            return _push(mapping, sides.ours, kind, f"{why}; ours wins")
        case "external_wins":
            if obstacle is None:
                return Verdict("take", kind, value, f"{why}; theirs wins")
            return Verdict("keep", obstacle, why=reason)
        case "most_recent_allowed" | "state_machine":
            if obstacle is not None:
                return _instead(mapping, sides, obstacle, reason, ours_changed=ours_changed)
            theirs_wins, because = (
                _newer(link)
                if mapping.conflict_policy == "most_recent_allowed"
                else _further(sides.ours, value, ours_changed=ours_changed)
            )
            if theirs_wins:
                return Verdict("take", kind, value, f"{why}; {because}")
            return _push(mapping, sides.ours, kind, f"{why}; {because}")
        case _:
            assert_never(mapping.conflict_policy)


def _instead(
    mapping: FieldMapping, sides: Sides, obstacle: ConflictKind, reason: str, *, ours_changed: bool
) -> Verdict:
    """What happens where theirs cannot be taken: what is not understood is written over only by news of ours."""
    if obstacle == "not_allowed" or ours_changed:
        return _push(mapping, sides.ours, obstacle, f"{reason}; ours is written")
    return Verdict("keep", obstacle, why=reason)


def _newer(link: FieldLink) -> tuple[bool, str]:
    if link.theirs_at > link.ours_at:
        return True, "theirs is the later edit"
    return False, "ours is the later edit, or as late as the provider's clock can tell"


def _further(ours: str, value: str, *, ours_changed: bool) -> tuple[bool, str]:
    """With both sides moved, the state that is further along; with theirs alone, wherever the lifecycle leads."""
    if not ours_changed:
        return True, f"the lifecycle leads from {ours} to {value}"
    if RANK[Status(value)] > RANK[Status(ours)]:
        return True, f"{value} is further along than {ours}"
    return False, f"{ours} is at least as far along as {value}"
