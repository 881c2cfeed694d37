"""A small life of two tenants with a person in it, and the search for that person in every copy."""

from __future__ import annotations

import asyncio

import orjson
import psycopg

from projections import rebuild
from projections.rebuild import Rebuild
from projections.sources import KafkaSource
from streams.archive.checkpoints import Verifier
from streams.archive.erasing import Request
from streams.archive.history import Histories
from streams.archive.reading import Archive
from streams.archive.settings import TOPICS
from streams.archive.snapshots import read_state
from streams.archive.verifying import Verification, Verified
from streams.domain import commands
from streams.domain.attachment_commands import AddLink, AttachFile
from streams.domain.catalogue import PROVIDER_INGESTED, TYPE_OF
from streams.domain.envelope import Envelope
from streams.domain.message import Data
from streams.domain.signals import ProviderIngested, Signal
from streams.runtime.attachment_storage import AttachmentStorage
from streams.runtime.object_storage import ObjectStorage
from streams.runtime.settings import DatabaseSettings, KafkaSettings, ObjectStorageSettings
from tests.archive.conftest import SIGNING
from tests.harness.record import check_record, read_topic, send
from tests.harness.waiting import wait_until
from tests.projections.rebuilding import Quiet

INTAKE, EVENTS, INTENTS, DEAD_LETTERS = TOPICS
TENANT, PERSON = "acme", "grace@example.com"
REQUEST = Request(TENANT, PERSON, "operator:ada", f"request of {PERSON}")
NOW = 1_800_000_000_000
RAW = b'{"by":"grace\\u0040example.com"}'


def message(type_: str, number: int, data: Data, tenant: str = TENANT) -> tuple[Envelope, Data]:
    return Envelope(f"m-{tenant}-{number}", "/test", type_, tenant), data


def incident_of(kafka: KafkaSettings, tenant: str, service: str) -> str:
    """The incident of a service, once it is declared."""
    from streams.codec import cloudevents
    from streams.domain.events import Declared

    found: list[str] = []

    def there() -> bool:
        for record in read_topic(kafka, EVENTS):
            envelope, event = cloudevents.decode(record.headers, record.value)
            if envelope.tenantid == tenant and isinstance(event, Declared) and event.service == service:
                found.append(envelope.subject)
        return bool(found)

    wait_until(there, f"the incident of {service}", 90)
    return found[0]


FILES = {"own": b"a photo", "shared": b"the same bytes", "naming": b"call grace@example.com", "other": b"a graph"}
"""Contents of attached files: the person's own, one that somebody else attached too, one that names her, another."""


def attach(kafka: KafkaSettings, storage: ObjectStorageSettings, incident: str) -> None:
    """Files of the person and of others."""
    held = AttachmentStorage(ObjectStorage(storage))

    def file(number: int, name: str, what: str, actor: str) -> tuple[Envelope, Data]:
        digest = asyncio.run(held.put(TENANT, FILES[what]))
        return message(
            TYPE_OF[AttachFile], number, AttachFile(incident, name, "text/plain", len(FILES[what]), digest, actor)
        )

    her = f"user:{PERSON}"
    send(
        kafka,
        [
            file(20, "my number.txt", "own", her),
            file(21, "my number too.txt", "shared", her),
            file(22, "shared.txt", "shared", "user:ada"),
            file(23, f"about {PERSON}.txt", "naming", "user:ada"),
            file(24, "graph.txt", "other", "user:ada"),
            message(TYPE_OF[AddLink], 25, AddLink(incident, f"https://a.example/{PERSON}", "user:ada", PERSON)),
        ],
    )


def live(kafka: KafkaSettings, database: DatabaseSettings, storage: ObjectStorageSettings | None = None) -> None:
    """Something of everything that can name a person, and a tenant whose record must stay as it is."""
    signal = TYPE_OF[Signal]
    subscription = commands.SetSubscription(
        "s-1", "pagerduty", "i-1", {"com.incidents.note_added.v1": "note"}, "user:ada"
    )
    send(
        kafka,
        [
            message(TYPE_OF[commands.SetSubscription], 0, subscription),
            message(signal, 1, Signal("slow", fingerprint="f1", service="shop", error_type="slow", external_id="x-1",
                                      connector="pagerduty", integration_id="i-1",
                                      labels={"owner": PERSON}, raw=orjson.dumps({"owner": PERSON}))),
            message(signal, 2, Signal("slow", fingerprint="f2", service="cart", error_type="slow")),
            message(signal, 1, Signal("slow", fingerprint="f3", service="shop", labels={"owner": PERSON}), "other"),
            message(PROVIDER_INGESTED, 3, ProviderIngested("pagerduty", "i-1", "note", actor=f"user:{PERSON}",
                                                           text="I called her at home", raw=RAW)),
            message(PROVIDER_INGESTED, 9, ProviderIngested("pagerduty", "i-1", "ping", raw=RAW)),
        ],
    )  # fmt: skip
    shop = incident_of(kafka, TENANT, "shop")
    actor = f"user:{PERSON}"
    if storage is not None:
        attach(kafka, storage, shop)
    send(
        kafka,
        [
            message(TYPE_OF[commands.Acknowledge], 4, commands.Acknowledge(shop, actor)),
            message(TYPE_OF[commands.AddNote], 5, commands.AddNote(shop, "my number is 555", actor)),
            message(TYPE_OF[commands.AddNote], 6, commands.AddNote(shop, f"ask {PERSON}, not x{PERSON}", "user:ada")),
            message(TYPE_OF[commands.Assign], 7, commands.Assign(shop, PERSON, "user:ada")),
            message(TYPE_OF[commands.Declare], 8, commands.Declare(f"{PERSON} is stuck", "user:ada")),
        ],
    )
    wait_until(lambda: check_record(kafka).kinds["Assigned"] == 1, "everything decided", 90)
    expected = sum(check_record(kafka).kinds.values())
    with psycopg.connect(database.url.get_secret_value(), autocommit=True) as rows:

        def projected() -> bool:
            found = rows.execute("SELECT count(*) FROM read_data.timeline_entries_g1").fetchone()
            return found == (expected,)

        wait_until(projected, "everything projected", 90)


def names_anybody(kafka: KafkaSettings, archive: Archive, database: DatabaseSettings) -> list[str]:
    """Where the tenant's data names the person still: Kafka, archive files, state, every table."""
    person, tenant = PERSON.encode(), TENANT.encode()
    found = []
    for topic in TOPICS:
        records = [record for record in read_topic(kafka, topic) if record.key == tenant]
        found += [f"{topic}@{one.offset}" for one in records if _named(person, one.value)]
        archived = [one for number in range(4) for one in archive.records(archive.manifest(topic, number))]
        found += [
            f"archived {topic}@{one.offset}" for one in archived if one.key == tenant and _named(person, one.value)
        ]
    for number in range(4):
        items, _ = read_state(kafka, number)
        found += [str(key) for key, value in items.items() if key.startswith(tenant) and person in value]
    with psycopg.connect(database.url.get_secret_value()) as rows:
        tables = rows.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " AND a.attname = 'tenant_id' WHERE c.relkind = 'r'"
            " AND c.relnamespace::regnamespace::text IN ('read_data', 'ops')"
        ).fetchall()
        for (table,) in tables:
            query = f"SELECT count(*) FROM {table} t WHERE tenant_id = %s AND t::text ~* '(?<![a-z])grace@ex'"  # noqa: S608
            count = rows.execute(query.encode(), [TENANT]).fetchone()
            if count != (0,):
                found.append(f"{table}: {count}")
    return found


def _named(person: bytes, value: bytes | None) -> bool:
    left = (value or b"").replace(b"x" + person, b"")
    return person in left or b"grace\\u0040" in left or b"my number" in left or b"at home" in left


def verified(kafka: KafkaSettings, database: DatabaseSettings, archive: Archive) -> Verified:
    return Verification(kafka, database, archive, Verifier(SIGNING)).run()


def rebuilt(kafka: KafkaSettings, database: DatabaseSettings, archive: Archive, storage: ObjectStorageSettings) -> bool:
    """Whether a rebuild from archive and log gives the rows that are live."""
    with rebuild.alone(database) as owner:
        source = KafkaSource(kafka, reader=Histories(storage, archive.prefix))
        report = Rebuild(owner, source, database, Quiet(), jobs=1).run(rebuild.plan(owner, source))
    return report.equal and report.swapped


def objects(archive: Archive) -> set[str]:
    """The files that the archive names for the tenant's data."""
    return {archive.held_in(e) for t in TOPICS for n in range(4) for e in archive.manifest(t, n).files}
