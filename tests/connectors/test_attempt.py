"""One attempt: what is asked of a connector, and what a defect of one does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import pytest

from connectors.kit.attempt import attempt
from connectors.kit.contract import Connector, Integration, Secret
from connectors.kit.file_attempt import FileReport
from connectors.kit.http import ProviderHttp
from connectors.kit.outcome import (
    Found,
    Gone,
    LookUp,
    NotFound,
    Ok,
    Outcome,
    PermanentFailure,
    TooLate,
    TransientFailure,
    Unknown,
)
from connectors.kit.ticket_attempt import TicketReport
from connectors.registry import CONNECTORS
from streams.domain.outputs import Intent

HTTP = ProviderHttp()
INTENT = Intent("i", "inc", "scripted", "int_1", "note", "P1", "key", "e", 0)
INTEGRATION = Integration("int_1", "acme", "scripted", secrets=(Secret("api_token", "the-api-token"),))


@dataclass
class Scripted:
    """A connector that answers as it is told and keeps what it was asked."""

    answer: LookUp = dataclasses.field(default_factory=NotFound)
    asked: list[str] = field(default_factory=list)
    actions = frozenset({"note"})
    rate_per_s = 1.0
    defect = False

    async def send(self, http: ProviderHttp, integration: Integration, intent: Intent) -> Outcome:
        """Send."""
        del http, intent
        self.asked.append("send")
        if self.defect:
            headers = {"Authorization": integration.secrets[0].value}
            raise KeyError(len(headers))
        return Ok("sent")

    async def look_up(self, http: ProviderHttp, integration: Integration, intent: Intent) -> LookUp:
        """Look up."""
        del http, integration, intent
        self.asked.append("look up")
        return self.answer


async def attempted(
    scripted: Scripted, number: int, *, is_late: bool = False
) -> Outcome | TooLate | TicketReport | FileReport | Gone:
    connectors = {"scripted": Connector("scripted", sends=scripted)}
    return await attempt(connectors, HTTP, INTEGRATION, INTENT, number, is_late=is_late)


async def test_the_first_attempt_sends_at_once() -> None:
    scripted = Scripted()
    assert await attempted(scripted, 1) == Ok("sent")
    assert scripted.asked == ["send"]


@pytest.mark.parametrize(
    ("answer", "late", "expected", "asked"),
    [
        (Found("n1"), False, Ok("n1", "found from an earlier attempt"), ["look up"]),
        (Found("n1"), True, Ok("n1", "found from an earlier attempt"), ["look up"]),
        (NotFound(), False, Ok("sent"), ["look up", "send"]),
        (NotFound(), True, TooLate(), ["look up"]),
        (Unknown("away", 7.0), False, TransientFailure("look-up: away", 7.0), ["look up"]),
        (Unknown("away", 7.0), True, TransientFailure("look-up: away", 7.0), ["look up"]),
    ],
)
async def test_later_attempts_look_first(
    answer: LookUp,
    late: bool,  # noqa: FBT001  a table's column
    expected: Outcome | TooLate,
    asked: list[str],
) -> None:
    scripted = Scripted(answer)
    assert await attempted(scripted, 2, is_late=late) == expected
    assert scripted.asked == asked


async def test_nothing_is_sent_without_the_lease() -> None:
    scripted = Scripted()
    connectors = {"scripted": Connector("scripted", sends=scripted)}
    outcome = await attempt(connectors, HTTP, INTEGRATION, INTENT, 2, is_held=lambda: False)
    assert isinstance(outcome, TransientFailure)
    assert scripted.asked == ["look up"]


async def test_a_defect_is_bounded_logged_and_tells_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    scripted = Scripted()
    scripted.defect = True
    assert await attempted(scripted, 1) == TransientFailure("defect: KeyError")
    written = "".join(capfd.readouterr())
    assert "connector raised" in written
    assert "the-api-token" not in written


async def test_what_does_not_fit_together_is_permanent() -> None:
    other = dataclasses.replace(INTENT, connector="pagerduty")
    assert isinstance(await attempt(CONNECTORS, HTTP, INTEGRATION, other, 1), PermanentFailure)
    assert isinstance(await attempt(CONNECTORS, HTTP, None, INTENT, 1), PermanentFailure)
    no_sends = dataclasses.replace(INTENT, connector="alertmanager")
    link = dataclasses.replace(INTEGRATION, connector="alertmanager")
    assert isinstance(await attempt(CONNECTORS, HTTP, link, no_sends, 1), PermanentFailure)
