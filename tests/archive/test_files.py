"""Archive files: any record comes back as it was; what is not such a file is refused."""

from __future__ import annotations

import io
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.archive import files
from streams.archive.files import DamagedFile
from streams.runtime.partition_reader import StoredRecord

RECORDS = st.lists(
    st.builds(
        StoredRecord,
        st.just("incident-events"),
        st.just(3),
        st.integers(0, 2**62),
        st.integers(0, 2**62),
        st.none() | st.binary(max_size=50),
        st.none() | st.binary(max_size=50),
        st.lists(st.tuples(st.text(min_size=1, max_size=9), st.binary(max_size=9)), max_size=5).map(tuple),
    ),
    max_size=5,
)


@given(RECORDS)
def test_records_come_back_as_they_were(records: list[StoredRecord]) -> None:
    assert list(files.decode(files.encode("incident-events", 3, records), "incident-events", 3)) == records


def test_header_names_with_line_breaks_and_signs_come_back() -> None:
    record = StoredRecord("incident-events", 3, 1, 2, b"k", b"v", (("a\nb", b"1"), ("100%0A", b"2"), ("%", b"3")))
    assert list(files.decode(files.encode("incident-events", 3, [record]), "incident-events", 3)) == [record]


@pytest.mark.parametrize("at", [5, 300, -1])
def test_a_file_that_was_cut_or_changed_is_refused(at: int) -> None:
    record = StoredRecord("incident-events", 3, 1, 2, b"k", b"v" * 500, (("ce_id", b"1"),))
    content = bytearray(files.encode("incident-events", 3, [record]))
    content[at] ^= 0xFF
    with pytest.raises(DamagedFile):
        list(files.decode(bytes(content), "incident-events", 3))
    with pytest.raises(DamagedFile):
        list(files.decode(bytes(content[:-9]), "incident-events", 3))


def test_a_file_of_another_partition_is_refused() -> None:
    with pytest.raises(DamagedFile, match="says that it is"):
        list(files.decode(files.encode("incident-events", 3, []), "incident-events", 2))


def test_a_file_whose_writer_had_other_fields_is_read_by_its_own_schema() -> None:
    ours: Any = files.SCHEMA
    fields = [{"name": "note", "type": "string"}, *reversed(ours["fields"])]
    written = fastavro.parse_schema({**ours, "fields": fields})
    buffer = io.BytesIO()
    about = {"incidents.format": "1", "incidents.topic": "incident-events", "incidents.partition": "3"}
    row = {"note": "x", "offset": 1, "timestamp": 2, "key": b"k", "value": b"v"}
    headers = {"header_names": "ce_id", "header_values": [b"1"]}
    fastavro.writer(buffer, written, [row | headers], codec="snappy", metadata=about)
    (found,) = files.decode(buffer.getvalue(), "incident-events", 3)
    assert found == StoredRecord("incident-events", 3, 1, 2, b"k", b"v", (("ce_id", b"1"),))
