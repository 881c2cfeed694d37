"""The kit: secrets at rest, addresses, back-off, breaker, buckets and limits."""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from connectors.kit import limits, results
from connectors.kit.breaker import CircuitBreaker
from connectors.kit.contract import Secret
from connectors.kit.http import Answer, classify, refused_url, retry_after
from connectors.kit.outcome import PermanentFailure, TransientFailure
from connectors.kit.ratelimit import TokenBucket
from connectors.kit.secrets import ConnectorSettings, SecretBox, SecretsSealed
from connectors.pagerduty.config import HOSTS

KEY, OTHER = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
SECRET = Secret("api_token", "very-secret")


def box(*keys: str) -> SecretBox:
    return SecretBox(ConnectorSettings(secret_key=SecretStr(",".join(keys))))


def test_a_secret_opens_again() -> None:
    sealed = box(KEY).seal(SECRET, "acme", "int_1")
    assert b"very-secret" not in sealed
    assert box(KEY).open(sealed, "acme", "int_1", 7) == Secret("api_token", "very-secret", 7)
    assert sealed != box(KEY).seal(SECRET, "acme", "int_1")


def test_an_older_key_still_opens_and_the_first_seals() -> None:
    sealed = box(OTHER).seal(SECRET, "acme", "int_1")
    assert box(KEY, OTHER).open(sealed, "acme", "int_1").value == "very-secret"
    with pytest.raises(SecretsSealed, match="not among INCIDENTS_SECRET_KEY"):
        box(OTHER).open(box(KEY, OTHER).seal(SECRET, "acme", "int_1"), "acme", "int_1")


def test_a_secret_moved_to_another_row_does_not_open() -> None:
    sealed = box(KEY).seal(SECRET, "acme", "int_1")
    for tenant, integration in (("other", "int_1"), ("acme", "int_2"), ("acmei", "nt_1")):
        with pytest.raises(SecretsSealed, match="does not belong"):
            box(KEY).open(sealed, tenant, integration)
    with pytest.raises(SecretsSealed, match="does not belong"):
        box(KEY).open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "acme", "int_1")


@pytest.mark.parametrize("key", ["", " , ", "not base64!", base64.b64encode(b"short").decode()])
def test_a_key_that_is_none_is_said(key: str) -> None:
    with pytest.raises(SecretsSealed, match="INCIDENTS_SECRET_KEY"):
        box(key)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.pagerduty.com",
        "https://api.pagerduty.com.evil.org",
        "https://evil.org",
        "https://api.pagerduty.com:8443",
        "https://user:pw@api.pagerduty.com",
        "https://api.pagerduty.com/?x=1",
        "https://169.254.169.254",
        "http://127.0.0.1:80",
        "http://localhost",
        "file:///etc/passwd",
        "https://[",
        "https://api.pagerduty.com:port",
        "",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    assert refused_url(url, HOSTS, allow_loopback=False)


def test_addresses_that_are_not() -> None:
    assert not refused_url("https://api.eu.pagerduty.com", HOSTS, allow_loopback=False)
    assert not refused_url("http://127.0.0.1:8099", HOSTS, allow_loopback=True)
    assert not refused_url("http://[::1]:8099", HOSTS, allow_loopback=True)
    assert refused_url("http://localhost:8099", HOSTS, allow_loopback=True)
    assert refused_url("http://10.0.0.1", HOSTS, allow_loopback=True)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"ratelimit-reset": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 40.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "99999999999999999999"}, 86_400.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "\u0663"}, 0.0),
        ({}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], expected: float) -> None:
    assert retry_after(headers, 60.0, throttled=True) == expected


def test_the_end_of_the_rate_window_counts_only_when_throttled() -> None:
    assert classify(Answer(500, {"ratelimit-reset": "60"}, b""), 0) == TransientFailure("HTTP 500")
    assert classify(Answer(503, {"retry-after": "6"}, b""), 0) == TransientFailure("HTTP 503", 6.0)
    throttled = classify(Answer(429, {"ratelimit-reset": "60"}, b""), 0)
    assert throttled == TransientFailure("HTTP 429", 60.0, throttled=True)


@pytest.mark.parametrize(("status", "transient"), [(408, True), (425, True), (429, True), (500, True), (503, True)])
def test_statuses_that_pass(status: int, transient: bool) -> None:  # noqa: FBT001  a table's column
    assert isinstance(classify(Answer(status, {}, b""), 0), TransientFailure) is transient


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 422])
def test_statuses_that_do_not(status: int) -> None:
    assert isinstance(classify(Answer(status, {}, b""), 0), PermanentFailure)


def test_back_off_grows_has_a_ceiling_and_honours_what_was_asked() -> None:
    assert 1.0 <= results.delay_s(1, 0) <= 2.0
    assert 32.0 <= results.delay_s(6, 0) <= 33.0
    assert results.delay_s(60, 0) <= 301.0
    assert results.delay_s(1, 90.0) == 90.0


def test_the_breaker_opens_tries_once_and_closes() -> None:
    breaker = CircuitBreaker(threshold=3, pause_s=5.0)
    for _ in range(2):
        breaker.failed(0.0)
    assert breaker.allows(0.0, in_flight=9)
    breaker.failed(0.0)
    assert breaker.is_open
    assert not breaker.allows(4.9)
    assert breaker.allows(5.0)
    assert not breaker.allows(5.0, in_flight=1)
    breaker.failed(5.0)
    assert not breaker.allows(14.9)
    assert breaker.pause(10.0) == 5.0
    breaker.succeeded()
    assert breaker.allows(5.0)


def test_the_bucket_bursts_then_paces() -> None:
    bucket = TokenBucket(rate_per_s=2.0, burst=2.0)
    for _ in range(2):
        assert bucket.delay(1.0) == 0.0
        bucket.take(1.0)
    assert bucket.delay(1.0) == 0.5
    assert bucket.delay(1.5) == 0.0
    assert bucket.delay(0.0) == 0.0


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_texts_are_cut_and_never_hold_nul(value: str, limit: int) -> None:
    cut = limits.text(value, limit)
    assert len(cut) <= limit
    assert "\0" not in cut


@given(st.text(min_size=1), st.text(min_size=1))
def test_identities_stay_apart(one: str, other: str) -> None:
    assert (limits.identity(one) == limits.identity(other)) == (one == other)
    assert limits.identity(one).isprintable()


def test_maps_are_bounded() -> None:
    found = limits.mapping({f"{n:03}": "x" * 5000 for n in range(100)})
    assert list(found) == [f"{n:03}" for n in range(64)]
    assert {len(value) for value in found.values()} == {1024}
