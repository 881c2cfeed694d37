"""Steps of a run: each kind is dealt, no part is under two faults at a time, and one pulse serves all who wait."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

import httpx
import pytest

from infra.torture.aimed import aimed_faults
from infra.torture.arena import Arena, Fault
from infra.torture.balancer import Balancer
from infra.torture.deck import Deck, shuffled
from infra.torture.faults import faults
from infra.torture.ledger import Id
from infra.torture.pulse import Pulse
from infra.torture.waiting import until


@asynccontextmanager
async def nothing(_: Arena) -> AsyncIterator[None]:
    yield


def kinds(parts: Sequence[str]) -> list[Fault]:
    """A fault for each of the parts."""
    return [Fault(f"{part}-{number}", nothing, part=part) for number, part in enumerate(parts)]


@pytest.mark.parametrize("brokers", [1, 3])
def test_each_kind_is_dealt_before_any_is_dealt_again(brokers: int) -> None:
    all_kinds = faults(brokers)
    dealt = shuffled(all_kinds, 3 * len(all_kinds), random.Random(1))  # noqa: S311  as a run has it
    assert Counter(fault.name for fault in dealt[: len(all_kinds)]) == Counter(fault.name for fault in all_kinds)
    assert len(dealt) == 3 * len(all_kinds)
    assert dealt == shuffled(all_kinds, 3 * len(all_kinds), random.Random(1))  # noqa: S311  as above


async def test_no_part_is_under_two_faults_at_a_time_and_every_step_is_taken_once() -> None:
    deck = Deck(kinds("aaaaabbbccd"))
    under: Counter[str] = Counter()
    taken: list[int] = []
    most = 0

    async def hand() -> None:
        nonlocal most
        while (step := await deck.take()) is not None:
            number, fault = step
            taken.append(number)
            under[fault.part] += 1
            assert under[fault.part] == 1, "another fault hits the same part"
            most = max(most, under.total())
            await asyncio.sleep(0.001)
            under[fault.part] -= 1
            await deck.give_back(fault.part)

    await asyncio.gather(*(hand() for _ in range(3)))
    assert sorted(taken) == list(range(1, 12))
    assert most == 3


async def test_a_pulse_waits_for_signals_that_were_sent_after_it_was_asked_for() -> None:
    sent: list[Id] = []
    shown: set[Id] = set()

    async def send() -> list[Id]:
        sent.append(Id("acme", "/pulse", str(len(sent))))
        return sent[-1:]

    async def missing(ids: Sequence[Id]) -> list[Id]:
        return [identity for identity in ids if identity not in shown]

    async def until_sent(count: int) -> None:
        async def is_so() -> bool:
            return len(sent) >= count

        await until(is_so)

    pulse = Pulse(send, missing)
    running = asyncio.create_task(pulse.run())
    first = asyncio.create_task(pulse.beat())
    second = asyncio.create_task(pulse.beat())
    await until_sent(1)
    third = asyncio.create_task(pulse.beat())
    await until_sent(2)
    assert not first.done(), "its signal is not shown"
    shown.add(sent[0])
    await asyncio.gather(first, second)
    assert not third.done(), "what was sent before it was asked for says nothing to it"
    shown.add(sent[1])
    await third
    assert len(sent) == 2, "two who ask at the same time share a signal"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_sender_that_gives_up_is_told_to_whoever_waits() -> None:
    async def send() -> list[Id]:
        raise TimeoutError("no 2xx")

    async def missing(ids: Sequence[Id]) -> list[Id]:
        return list(ids)

    pulse = Pulse(send, missing)
    running = asyncio.create_task(pulse.run())
    with pytest.raises(TimeoutError, match="no 2xx"):
        await pulse.beat()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_balancer_sends_nothing_new_to_a_server_that_is_out() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            port = writer.get_extra_info("sockname")[1]
            body = str(port).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        await writer.wait_closed()

    async def ask(balancer: Balancer) -> int:
        async with httpx.AsyncClient() as client:
            return int((await client.get(f"http://127.0.0.1:{balancer.port}/")).text)

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as one,
        await asyncio.start_server(answer, "127.0.0.1", 0) as other,
    ):
        ports = [server.sockets[0].getsockname()[1] for server in (one, other)]
        balancer = Balancer(*ports)
        async with balancer.open():
            assert {await ask(balancer) for _ in range(4)} == set(ports)
            balancer.out = {ports[0]}
            assert {await ask(balancer) for _ in range(4)} == {ports[1]}


def test_no_fail_point_is_armed_by_two_faults_at_a_time() -> None:
    parts: dict[str, set[str]] = {}
    for fault in aimed_faults():
        parts.setdefault(fault.name.rpartition(" ")[2], set()).add(fault.part)
    assert {point: found for point, found in parts.items() if len(found) > 1} == {}
