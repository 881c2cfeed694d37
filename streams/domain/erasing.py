"""Erasing a person: where their identifier stands, a pseudonym stands; what they wrote gives way to a mark.

The same on every copy, so that they still agree: deciding what is left of the intake gives what is left of the record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from streams.domain.errors import Reason, Rejected
from streams.domain.state import KINDS, TenantState

ERASED = "[erased]"
"""Stands for a text that the person wrote."""

_WRITTEN = ("text", "reason", "file_name")
_IDENTIFIER = re.compile(r'[^"\\\x00-\x1f]{3,254}')
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Erasing:
    """Whom to erase (``identifier``, for example an e-mail address or ``user:ada``) and what stands for them.

    An identifier is found whole, whatever its case: ``ada`` is not found in ``adam``. Raises ``Rejected`` for one that
    is too short, too long or has quotation marks, backslashes or control characters.
    """

    identifier: str
    pseudonym: str
    _pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the identifier, without blanks around it, and make the pattern."""
        object.__setattr__(self, "identifier", self.identifier.strip())
        if not _IDENTIFIER.fullmatch(self.identifier):
            detail = 'an identifier has 3 to 254 characters, none of them ", \\ or a control character'
            raise Rejected(Reason.EMPTY_VALUE, detail)
        pattern = re.compile(rf"(?<!\w){re.escape(self.identifier)}(?!\w)", re.IGNORECASE)
        object.__setattr__(self, "_pattern", pattern)

    def mentions(self, text: str) -> bool:
        """Whether the text names the person."""
        return self._pattern.search(text) is not None

    def text(self, text: str) -> str:
        """The text with the pseudonym in place of the person."""
        return self._pattern.sub(self.pseudonym, text)

    def raw(self, body: bytes) -> bytes:
        """A provider's body, or nothing where it names the person, be it in JSON escapes."""
        text = body.decode(errors="replace")
        if not self.mentions(text) and "\\" in text:
            try:
                text = json.dumps(json.loads(text), ensure_ascii=False)
            except ValueError:
                return body
        return b"" if self.mentions(text) else body

    def value(self, value: T) -> T:
        """A message's or an event's data, a part of it, or an item of the state, without the person.

        What has an ``actor`` that names the person is theirs: its texts, its raw body and its file are gone altogether.
        """
        found: Any = value
        if isinstance(value, str):
            found = self.text(value)
        elif isinstance(value, bytes):
            found = self.raw(value)
        elif isinstance(value, Mapping):
            found = {self.value(key): self.value(entry) for key, entry in value.items()} | self._written(value)
        elif isinstance(value, list):
            found = list(map(self.value, value))
        elif isinstance(value, tuple):
            parts = map(self.value, value)
            found = type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
        elif is_dataclass(value) and not isinstance(value, type):
            given = {one.name: getattr(value, one.name) for one in fields(value)}
            left = {name: self.value(entry) for name, entry in given.items()}
            found = replace(value, **(left | self._written(given)))
        return found  # type: ignore[no-any-return]  # of the type that came in

    def _written(self, members: Mapping[Any, Any]) -> dict[str, Any]:
        """What takes the place of texts that the person wrote; nothing where it was somebody else."""
        actor = members.get("actor", "")
        if not isinstance(actor, str) or not self.mentions(actor):
            return {}
        gone: dict[str, Any] = {name: ERASED for name in _WRITTEN if members.get(name)}
        if members.get("sha256"):
            gone["sha256"] = ""  # of a file: its digest would tell who guesses the content
        return gone | ({"raw": b""} if members.get("raw") else {})


def erase(state: TenantState, erasing: Erasing) -> None:
    """Erase a person from a tenant's state; digests of deliveries name nobody and stay."""
    for kind in KINDS:
        table = state.table(kind)
        for key in [] if kind in {"seen", "head"} else list(table):
            item = table.get(key)
            left = erasing.value(item)
            if left != item:
                table.put(key, left)
