"""What became of a call to a provider, by what must be done next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ok:
    """The effect is there; ``external_ref`` names what it made, where it made something."""

    external_ref: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TransientFailure:
    """Try again, not before ``retry_after_s`` seconds (0: whenever the back-off says).

    ``throttled``: the provider is well and asks for less, which says nothing against calling it.
    """

    reason: str
    retry_after_s: float = 0.0
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class PermanentFailure:
    """No retry will repair it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """What the intent is about is deleted, or hidden from us."""

    reason: str


@dataclass(frozen=True, slots=True)
class TooLate:
    """It is no longer worth sending, and no earlier attempt has had its effect."""


@dataclass(frozen=True, slots=True)
class Found:
    """The effect of an earlier attempt is there."""

    external_ref: str = ""


@dataclass(frozen=True, slots=True)
class NotFound:
    """The effect is not there, or doing it twice does no harm: send it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It could not be found out: ask again before anything is sent."""

    reason: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TooLarge:
    """What was to be fetched is larger than what is taken."""

    reason: str


Outcome = Ok | TransientFailure | PermanentFailure
LookUp = Found | NotFound | Unknown
