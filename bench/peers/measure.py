"""The storm itself: the alerts that ours is sent, as each peer takes them, over as many connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import BrokenBarrierError

import httpx

from bench import accept, payloads, visible
from bench.cpu import seconds
from bench.load import Load, Sent, Stream
from bench.peers.contract import Peer, PeerFailedError, Running, Wanted
from bench.peers.processes import address
from bench.world import TENANTS, World
from infra.fakes.alertmanager.deliveries import PrometheusAlert

PROCESSES = 2
PATIENCE_S = 900.0
Encode = Callable[[Sequence[PrometheusAlert]], bytes]


@dataclass(frozen=True, slots=True)
class Part:
    """``requests`` of each sender, each with ``size`` alerts."""

    name: str
    requests: int
    size: int


def storm(sender: str, part: Part, number: int) -> list[list[tuple[PrometheusAlert, bool]]]:
    """What ours is sent for the tenant of this name; the name is the cluster, since peers have no tenants."""
    seed = visible.STORM_SEED + number
    groups = payloads.alert_groups(sender, part.requests, size=part.size, seed=seed)
    return [
        [(replace(alert, labels={**alert.labels, "cluster": sender}), is_fresh) for alert, is_fresh in group]
        for group in groups
    ]


def streams(encode: Encode, port: int, senders: Sequence[str], part: Part, number: int) -> list[Stream]:
    """One connection for each sender."""
    return [
        Stream(one, port, [encode([alert for alert, _ in group]) for group in storm(one, part, number)])
        for one in senders
    ]


def one_round(peer: Peer, there: Running, server: Sequence[int], part: Part, number: int, wanted: Wanted) -> Figures:
    """Send a part to a peer until its own API shows it; ``server`` are the pids of the database's server."""
    load = Load(
        [partial(streams, peer.encode, there.port, TENANTS[n::PROCESSES], part, number) for n in range(PROCESSES)]
    )
    alerts, fresh = _expect(wanted, (storm(one, part, number) for one in TENANTS))
    pids = {**there.pids, "postgres": server}
    client = httpx.Client(base_url=address(there.port), timeout=120, trust_env=False)
    try:
        load.go()
        before = seconds(pids)
        sent = load.done()
        _all_accepted(peer, sent, part.requests * len(TENANTS))
        ended = _until_shown(peer, client, wanted)
        after = seconds(pids)
        peer.check(client, wanted)
    except (BrokenBarrierError, ConnectionError, httpx.HTTPError) as error:
        raise PeerFailedError(f"it could not be asked any more: {type(error).__name__}: {error}") from error
    finally:
        client.close()
    cpu = sum(after.values()) - sum(before.values())
    took = ended - min(one.began for one in sent)
    return Figures(alerts / accept.elapsed(sent), alerts / took, fresh / took, cpu / alerts * 1e6)


def _until_shown(peer: Peer, client: httpx.Client, wanted: Wanted) -> float:
    """Ask until it shows everything; when that was."""
    deadline = time.monotonic() + PATIENCE_S
    while not peer.shows(client, wanted):
        if time.monotonic() > deadline:
            raise PeerFailedError(f"not everything was listed {PATIENCE_S:.0f} s after it had been accepted")
        time.sleep(0.01)
    return time.monotonic()


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one round, a second: alerts accepted; alerts until all were visible; those without the repetitions."""

    accepted: float
    taken: float
    visible: float
    cpu_us: float
    """CPU microseconds an alert, of all processes of the product and its database."""


def ours(there: World, part: Part, number: int) -> Figures:
    """The same of ours, with everything running."""
    found = visible.one_round(there, part.requests, "storm", number, part.size)
    cpu = sum(found[name] for name in visible.PROCESSES)
    return Figures(
        found["events"] / found["accept_seconds"],
        found["events"] / found["seconds"],
        found["visible"] / found["seconds"],
        cpu / found["events"] * 1e6,
    )


def _expect(wanted: Wanted, storms: Iterable[list[list[tuple[PrometheusAlert, bool]]]]) -> tuple[int, int]:
    """Note what has to be shown; how many alerts these are, and how many of them no repetitions."""
    alerts = fresh = 0
    wanted.last = []
    for groups in storms:
        sent = [one for group in groups for one in group]
        alerts += len(sent)
        fresh += sum(is_fresh for _, is_fresh in sent)
        final = {alert.fingerprint: alert for alert, _ in sent}
        firing = [alert for alert, _ in sent if final[alert.fingerprint].status == "firing"]
        wanted.last += firing[-1:]
        wanted.final |= final
    return alerts, fresh


def _all_accepted(peer: Peer, sent: Sequence[Sent], requests: int) -> None:
    accepted = sum(one.statuses[peer.accepted] for one in sent)
    if accepted != requests:
        raise PeerFailedError(
            f"{accepted} of {requests} requests were accepted: {[dict(one.statuses) for one in sent]}"
        )
