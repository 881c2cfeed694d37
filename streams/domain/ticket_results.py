"""What the result of an intent means: what both sides agree on now, and what slipped in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from streams.domain import ticket_events as said
from streams.domain.field_merge import Sides, Verdict, merge
from streams.domain.mapping import FieldMapping, TicketMapping
from streams.domain.taking import obstacle
from streams.domain.ticket_conflicts import Conflicts
from streams.domain.ticket_link import Asked, FieldLink, TicketLink, forced, internal, with_field
from streams.domain.tickets import RecordTicket

if TYPE_CHECKING:
    from streams.domain.ticket_intake import TicketIntake

MAX_STALE = 3
"""After so many writes in a row that did not find the ticket as expected, what they read is believed whatever version
was seen: a provider whose webhooks run ahead of its API would keep us from writing for ever."""

Fate = Literal["plain", "rewritten", "overwritten", "raced"]


class _Settled(NamedTuple):
    mapping: FieldMapping
    asked: Asked
    got: str
    fate: Fate
    before: FieldLink


@dataclass(frozen=True, slots=True)
class TicketResults:
    """One result; ``action`` and ``asked`` are those of the intent, ``mapping`` is ``None`` where it was taken away."""

    intake: TicketIntake
    mapping: TicketMapping | None
    result: RecordTicket
    action: str
    asked: tuple[Asked, ...]

    def done(self, link: TicketLink) -> None:
        """The intent was carried out."""
        sync, result = self.intake.sync, self.result
        link = link._replace(stale=0)
        match self.action:
            case "ticket_create" | "ticket_link":
                others = tuple(dict.fromkeys((*link.duplicates, *result.duplicates)))
                link = link._replace(external_id=result.external_id, duplicates=others)
                how: said.How = "created" if self.action == "ticket_create" else "command"
                link = self.intake.linked(link, result.external_key, result.url, how)
            case "ticket_comment":
                link = link._replace(comments=link.comments[1:])
            case "ticket_retire":
                link = link._replace(duplicates=link.duplicates[1:])
            case "ticket_refer":
                sync.files.link_sent(link.ticket_id)
            case "ticket_read":
                link = link._replace(unread=False)
        sync.put(link)
        if self.mapping is None or self.action in {"ticket_comment", "ticket_retire", "ticket_refer"}:
            self._completed(link, [], ())
            return
        news = self.intake.fold(link, self.mapping, result, is_read=True)
        settled = [one for asked in self.asked if (one := self._settle(link.ticket_id, asked)) is not None]
        self._completed(link, settled, news if self.action == "ticket_read" else ())
        for one in settled:
            self._conflict(link.ticket_id, one)

    def not_done(self, link: TicketLink) -> None:
        """The intent changed nothing."""
        sync, result = self.intake.sync, self.result
        kind: said.FailureKind = "refused" if result.status == "failed" else result.status  # type: ignore[assignment]
        sync.put(link)
        sync.fail(link, self.action, kind, result.intent_id, result.attempts, result.detail)
        if kind == "stale":
            self._stale(link)
        elif self.action == "ticket_retire":
            sync.put(link._replace(duplicates=link.duplicates[1:]))
        elif self.action in {"ticket_create", "ticket_link"}:
            sync.put(link._replace(phase="failed"))
        elif kind == "gone":
            sync.unlink(link, "gone", result.detail, "")
        elif self.action == "ticket_comment":
            sync.put(link._replace(comments=link.comments[1:]))
        elif self.action == "ticket_refer":
            sync.files.link_sent(link.ticket_id)
        elif self.action == "ticket_read":
            sync.put(link._replace(unread=False))
        else:
            for asked in self.asked:
                self._refused(link.ticket_id, asked)

    def _stale(self, link: TicketLink) -> None:
        link = link._replace(stale=link.stale + 1)
        if link.stale >= MAX_STALE:
            link = link._replace(version=min(link.version, self.result.version), stale=0)
        self.intake.sync.put(link)
        if self.mapping is None:
            return
        self.intake.fold(link, self.mapping, self.result, is_read=True)
        for asked in self.asked:
            one = self.mapping.by_external(asked.external_field) if asked.mapped else None
            lost = self.result.overwritten.get(asked.external_field)
            if one is not None and (self.result.raced or lost is not None):
                kind: said.ConflictKind = "raced" if lost is None else "overwritten"
                why = (
                    "an earlier attempt may have replaced an edit" if lost is None else f"an attempt replaced {lost!r}"
                )
                verdict = Verdict("push", kind, why=f"{why}, and the field was changed again since")
                sides = Sides(asked.ours, lost, lambda _: "")
                Conflicts(self.intake.sync, self.mapping).detect(link.ticket_id, one, sides, verdict)

    def _settle(self, key: str, asked: Asked) -> _Settled | None:
        """Note what both sides of a written field agree on now."""
        link = self.intake.sync.state.tickets.get(key)
        one = self.mapping.by_external(asked.external_field) if self.mapping and asked.mapped else None
        if link is None or one is None:
            return None
        before = link.field(asked.external_field)
        got = self.result.fields.get(asked.external_field, asked.theirs)
        fate, base = self._fate(one, asked, got)
        after = before._replace(forced=False)
        if base is not None:
            after = after._replace(has_base=True, base_ours=asked.ours, base_theirs=base)
        self.intake.sync.put(with_field(link, after))
        return _Settled(one, asked, got, fate, before)

    def _fate(self, one: FieldMapping, asked: Asked, got: str) -> tuple[Fate, str | None]:
        """What happened to what was written, and their half of the base: ``None`` where there is none."""
        result = self.result
        if one.external_field in result.overwritten:
            return "overwritten", asked.theirs if result.raced and got != asked.theirs else got
        if got == asked.theirs or one.agrees(asked.ours, got):
            is_raced = result.raced and one.external_field in result.written
            return ("raced" if is_raced else "plain"), got
        if self.action == "ticket_create":
            return "plain", None  # what it was made with is not what it has: the two sides meet for the first time
        if result.raced:
            return "raced", asked.theirs  # somebody changed it after us, and perhaps before: theirs has changed
        return "rewritten", got

    def _completed(self, link: TicketLink, settled: list[_Settled], drifted: tuple[str, ...]) -> None:
        result = self.result
        self.intake.sync.recorder.record(
            link.follows,
            said.SyncCompleted(
                link.ticket_id,
                result.intent_id,
                link.connector,
                link.integration_id,
                self.action,
                self.mapping.version if self.mapping else 0,
                result.attempts,
                result.external_id or link.external_id,
                result.external_key or link.external_key,
                result.url or link.url,
                result.version,
                tuple(
                    said.SyncedField(one.mapping.field, one.asked.external_field, one.asked.ours, one.got, "written")
                    for one in settled
                ),
                result.written,
                {one.asked.external_field: one.got for one in settled if one.got != one.asked.theirs},
                drifted,
                result.detail,
            ),
        )

    def _conflict(self, key: str, one: _Settled) -> None:
        """Record what the write did to others, and let the policy decide about a value that it replaced."""
        if self.mapping is None or one.fate == "plain":
            return
        conflicts = Conflicts(self.intake.sync, self.mapping)
        ours, name = one.asked.ours, one.mapping.external_field
        nothing = Sides(ours, "", lambda _: "")
        if one.fate == "raced":
            why = "somebody else wrote to the ticket while ours was written; an edit of this field may be lost"
            conflicts.detect(key, one.mapping, nothing, Verdict("push", "raced", why=why))
        if one.fate == "overwritten":
            self._overwritten(conflicts, key, one, self.result.overwritten[name])
        if one.fate in {"rewritten", "overwritten"} and not self.result.raced and not one.mapping.agrees(ours, one.got):
            why = f"the provider made {one.got!r} of {one.asked.theirs!r}; it stays so"
            conflicts.detect(
                key, one.mapping, Sides(ours, one.got, lambda _: ""), Verdict("keep", "rewritten", why=why)
            )

    def _overwritten(self, conflicts: Conflicts, key: str, one: _Settled, lost: str) -> None:
        """Decide about a value of theirs that our write replaced as if it had been seen in time."""
        sync, name = self.intake.sync, one.mapping.external_field
        link = sync.state.tickets.get(key)
        incident = sync.state.incidents.get(link.follows) if link else None
        if link is None or incident is None:
            return
        now, timers = sync.now, sync.state.preferences.timers
        sides = Sides(
            internal(incident, one.mapping),
            lost,
            lambda value: obstacle(incident, one.mapping.field, value, now=now, timers=timers),
        )
        verdict = merge(one.mapping, one.before, sides)
        moved_on = link.shown.get(name, one.got) != one.got  # a still later value is known, and decided for itself
        takes = verdict.step == "take" and not moved_on
        then = "it was changed again since" if moved_on else "it is taken" if takes else "ours stays"
        why = f"our write replaced {lost!r}, which came in between; {then}"
        step = Verdict("take" if takes else "push", "overwritten", verdict.value, why)
        conflicts.detect(key, one.mapping, sides, step)
        if takes:
            sync.take(key, one.mapping, verdict.value)
            link = sync.state.tickets.get(key)
            if link is not None:
                sync.put(with_field(link, forced(link, name)))

    def _refused(self, key: str, asked: Asked) -> None:
        """A write that was given up is not tried again until a side changes."""
        link = self.intake.sync.state.tickets.get(key)
        one = self.mapping.by_external(asked.external_field) if self.mapping and asked.mapped else None
        if link is None or one is None or self.mapping is None:
            return
        theirs = link.shown.get(asked.external_field, "")
        self.intake.sync.put(with_field(link, link.field(asked.external_field)._replace(forced=False)))
        why = f"the provider refused {asked.theirs!r}: {self.result.detail}"
        conflicts = Conflicts(self.intake.sync, self.mapping)
        conflicts.detect(key, one, Sides(asked.ours, theirs, lambda _: ""), Verdict("keep", "refused", why=why))
