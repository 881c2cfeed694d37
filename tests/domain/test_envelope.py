"""Derived ids and instants are what the standard library makes of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from streams.domain.envelope import NAMESPACE, derive_id, milliseconds, rfc3339


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), max_size=4))
def test_a_derived_id_is_the_uuid5_of_its_parts(parts: list[str]) -> None:
    name = "".join(f"{len(part)}:{part}" for part in parts)
    assert derive_id(*parts) == str(uuid.uuid5(NAMESPACE, name))


@given(st.integers(0, 4_102_444_800_000))
def test_an_instant_is_written_in_utc_and_read_again(instant: int) -> None:
    text = rfc3339(instant)
    assert milliseconds(text) == instant
    assert datetime.fromisoformat(text) == datetime.fromtimestamp(instant // 1000, UTC).replace(
        microsecond=instant % 1000 * 1000
    )
