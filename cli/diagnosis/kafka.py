"""Kafka: that it answers, its topics, how far the workers are, dead letters and parked tenants."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from cli.diagnosis.finding import Finding, graded
from streams.runtime.admission import GROUP, INTAKE, read_backlog
from streams.runtime.dead_letter import DeadLetter
from streams.runtime.dead_letters import DeadLetters
from streams.runtime.offsets import asking
from streams.runtime.settings import KafkaSettings
from streams.runtime.topics import WrongTopics, provision

LAG = (5_000, 100_000)
"""Undecided records of the intake from which on it is a warning, and a failure."""

AHEAD_S = (2.0, 30.0)
HOUR_MS = 3_600_000
_ASK_S = 5.0


def check_kafka(settings: KafkaSettings) -> list[Finding]:
    """Everything about Kafka; only the first where it does not answer."""
    admin = AdminClient({**settings.librdkafka(), "log_level": 0})
    try:
        brokers = len(admin.list_topics(timeout=_ASK_S).brokers)
    except KafkaException as error:
        remedy = "incidents up, or check KAFKA_BOOTSTRAP_SERVERS and the KAFKA_ login settings"
        return [Finding("kafka", "failed", f"{settings.bootstrap_servers}: {error.args[0].str()}", remedy)]
    found = [Finding("kafka", "ok", f"{brokers} broker(s) at {settings.bootstrap_servers}")]
    try:
        found.append(check_topics(settings))
        if found[-1].state == "ok":
            found += _check_contents(settings)
    except KafkaException as error:
        detail = f"stopped answering: {error.args[0].str()}"
        found.append(Finding("kafka", "failed", detail, "look at the broker's log; then run this again"))
    return found


def _check_contents(settings: KafkaSettings) -> list[Finding]:
    now = int(time.time() * 1000)
    recent = list(DeadLetters(settings).letters(since=now - 24 * HOUR_MS))
    return [check_lag(settings), check_clock(settings), check_dead_letters(recent, now), check_parked(recent)]


def check_topics(settings: KafkaSettings) -> Finding:
    """The topics against the catalogue, whatever partition count was chosen for all of them."""
    topic = settings.topic(INTAKE)
    existing = AdminClient(settings.librdkafka()).list_topics(timeout=_ASK_S).topics.get(topic)
    chosen = len(existing.partitions) if existing else None
    try:
        found = provision(settings, partitions=chosen, create=False)
    except WrongTopics as error:
        return Finding("topics", "failed", str(error), "incidents topics creates what is missing; the rest by hand")
    return Finding("topics", "ok", f"{len(found)} topics with {chosen} partitions, as the catalogue has them")


def check_lag(settings: KafkaSettings) -> Finding:
    """How far the workers are behind the intake, by what they show to their group."""
    asker = asking(settings, settings.topic(GROUP))
    try:
        partitions, shown = read_backlog(asker, settings)
    finally:
        asker.close()
    remedy = "start (more) workers: incidents worker"
    if not shown:
        return Finding("orchestrator-lag", "warning", "no worker has shown a position yet", remedy)
    lag = sum(max(0, end - decided) for end, decided in shown.values())
    detail = f"{lag} undecided messages in {len(shown)} of {partitions} partitions"
    return graded("orchestrator-lag", lag, LAG, detail, remedy)


def check_clock(settings: KafkaSettings) -> Finding:
    """Whether the broker's clock, which stamps the intake, runs ahead of the one here."""
    ahead = max((stamp / 1000 - time.time() for stamp in _newest(settings)), default=0.0)
    detail = f"the newest message of the intake lies {ahead:.1f} s in the future" if ahead > 0 else "not ahead of here"
    return graded("broker-clock", ahead, AHEAD_S, detail, "synchronize the clocks (NTP): recorded time is the broker's")


def _newest(settings: KafkaSettings) -> Iterator[int]:
    topic = settings.topic(INTAKE)
    config = {"group.id": f"{settings.topic_prefix}incidents-doctor", "enable.auto.commit": False}
    consumer = Consumer(settings.librdkafka() | config)
    try:
        for number in consumer.list_topics(topic, timeout=_ASK_S).topics[topic].partitions:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_ASK_S)
            if end > first:
                consumer.assign([TopicPartition(topic, number, end - 1)])
                record = consumer.poll(_ASK_S)
                if record is not None and record.error() is None:
                    yield record.timestamp()[1]
    finally:
        consumer.close()


def check_dead_letters(recent: Iterable[DeadLetter], now: int) -> Finding:
    """Dead letters of the last day that wait, and whether they come right now."""
    waiting = [letter for letter in recent if letter.mark.state == "waiting"]
    if not waiting:
        return Finding("dead-letters", "ok", "none of the last day waits")
    growing = sum(letter.at >= now - HOUR_MS for letter in waiting)
    reasons = ", ".join(f"{reason} {count}" for reason, count in Counter(one.reason for one in waiting).most_common(5))
    detail = f"{len(waiting)} of the last day wait, {growing} of them came in the last hour ({reasons})"
    return Finding("dead-letters", "warning", detail, "incidents dlq list --state waiting, then replay or drop")


def check_parked(recent: Iterable[DeadLetter]) -> Finding:
    """Tenants whose messages are being held back, as their dead letters tell."""
    parked = {one.tenant for one in recent if one.reason == "tenant-parked" and one.mark.state == "waiting"}
    if not parked:
        return Finding("parked-tenants", "ok", "no message of the last day was held back")
    names = ", ".join(sorted(parked))
    remedy = "find out what it sends (incidents dlq list), then incidents tenant release and incidents dlq replay --all"
    return Finding("parked-tenants", "warning", f"messages are held back for: {names}", remedy)
