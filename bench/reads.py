"""Reads of the API with 10^4, 10^5 and 10^6 incidents: lists with filters, one incident, timeline, board, GraphQL.

Two API processes answer, one for each process that asks: one alone would leave a core idle.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import httpx
import orjson

from bench import accept
from bench.cpu import between
from bench.figures import median, percentile, spread
from bench.http import request
from bench.load import Load, Stream
from bench.part import Found, Row, Scale, load_average
from bench.seed import seed
from bench.world import World, world
from infra.local.settings import LOOPBACK
from infra.torture.tenants import Tenant
from projections.connections import connect

SIZES = (10_000, 100_000, 1_000_000)
CONNECTIONS = 2
_NESTED = """query { incidents(first: 10, filter: {status: ["open"]}) { nodes { id title severity
  timeline(first: 5) { nodes { type recordedAt } } } } }"""


def measure(scale: Scale) -> Found:
    """Each size on the same stack: the store grows."""
    found = Found()
    with world(("api", "api")) as there:
        names = [tenant.name for tenant in there.tenants]
        for size in [size for size in SIZES if size <= scale.largest]:
            empty(there)
            seed(there.database, names, size)
            _require_data(there)
            _size(there, scale, found, size)
    return found


def empty(there: World) -> None:
    """Empty the read models."""
    with connect(there.database, "owner", name="bench", autocommit=True) as connection:
        connection.execute("TRUNCATE read_data.incidents_g1, read_data.timeline_entries_g1, read_data.alerts_g1")


def streams(port: int, tenants: Sequence[Tenant], incidents: int, count: int, number: int) -> list[Stream]:
    """The mix, for each of the tenants."""
    return [Stream(one.name, port, list(mixed(one, incidents, count, number)), CONNECTIONS) for one in tenants]


def mixed(tenant: Tenant, incidents: int, count: int, number: int) -> list[bytes]:
    """Lists 30 %, one incident 30 %, timelines 20 %, alerts of an incident 10 %, boards 5 %, GraphQL 5 %."""
    choice = random.Random(f"{tenant.name}-{number}")
    headers = {"Authorization": f"Bearer {tenant.viewer_token}"}
    lists = ("status=open", "status=open&severity=SEV-1", "service=svc-7", "status=resolved&limit=50", "limit=20")
    found = []
    for _ in range(count):
        name = f"INC-{choice.randrange(1, incidents + 1)}"
        kind = choice.random()
        if kind < 0.3:  # noqa: PLR2004  the shares of the docstring
            path = f"/api/v1/incidents?{choice.choice(lists)}"
        elif kind < 0.6:  # noqa: PLR2004
            path = f"/api/v1/incidents/{name}"
        elif kind < 0.8:  # noqa: PLR2004
            path = f"/api/v1/incidents/{name}/timeline"
        elif kind < 0.9:  # noqa: PLR2004
            path = "/api/v1/alerts?limit=20&service=svc-9"
        elif kind < 0.95:  # noqa: PLR2004
            path = "/api/v1/board"
        else:
            body = orjson.dumps({"query": _NESTED})
            found.append(request("POST", "/graphql", headers | {"Content-Type": "application/json"}, body))
            continue
        found.append(request("GET", path, headers))
    return found


def _require_data(there: World) -> None:
    """GraphQL answers 200 to what its schema does not know: an error would be measured as a read."""
    tenant = there.tenants[0]
    headers = {"Authorization": f"Bearer {tenant.viewer_token}"}
    url = f"http://{LOOPBACK}:{there.api_ports[0]}/graphql"
    answer = httpx.post(url, json={"query": _NESTED}, headers=headers, timeout=30).json()
    if "errors" in answer or not answer["data"]["incidents"]["nodes"]:
        raise SystemExit(f"GraphQL answers {answer}")


def _size(there: World, scale: Scale, found: Found, size: int) -> None:
    speeds, slow, costs = [], [], []
    each = size // len(there.tenants)
    for number in range(scale.rounds + 1):
        count = scale.of(400) if number else 40
        ports = enumerate(there.api_ports)
        makes = [partial(streams, port, there.tenants[n::2], each, count, number) for n, port in ports]
        load = Load(makes)
        load.go()
        before = there.cpu()
        sent = load.done()
        after = there.cpu()
        requests = count * len(there.tenants)
        wrong = [one.statuses for one in sent if set(one.statuses) != {200}]
        if wrong:
            raise SystemExit(f"not every read was answered: {wrong}")
        if number:
            speeds.append(requests / accept.elapsed(sent))
            slow.append(percentile([seconds for one in sent for seconds in one.latencies], 0.95) * 1000)
            costs.append(between(before, after, requests))
    found.rows += [
        Row(f"reads with {size:,} incidents (requests/s)", f"{median(speeds):,}", spread(speeds), "1,000"),
        Row(f"their P95 with {size:,} incidents (ms)", f"{median(slow, 1)}", spread(slow, 1), "200"),
    ]
    found.figures |= {"reads_rps": median(speeds), "reads_p95_ms": median(slow, 1)}
    cost = {name: median([one[name] for one in costs], 1) for name in ("api", "postgres")}
    found.details[f"reads {size}"] = {"cpu_us_per_request": cost, "load_average": load_average()}
