import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.provenance.record_format import (
    Record,
    SegmentHeader,
    count_frames,
    decode_header,
    decode_record,
    encode_frame,
    encode_header,
    encode_record,
    read_frames,
)
from tests.support.provenance import encoded, make_record

RECORDS = st.builds(
    Record,
    request_id=st.text("abc0123._-", min_size=1, max_size=64),
    answered_at_us=st.integers(0, 2**63 - 1),
    user_id=st.integers(0, 10**18 - 1),
    source=st.sampled_from(["personal", "popular", "recent", "general"]),
    duration_us=st.integers(0, 2**63 - 1),
    client_gone=st.booleans(),
    is_retry=st.booleans(),
    movie_numbers=st.binary(max_size=200),
    recent_events=st.binary(max_size=128),
)


@given(st.lists(RECORDS, max_size=5))
def test_encoded_records_are_decoded_unchanged(records: list[Record]) -> None:
    data = b"".join(encode_record(*record) for record in records)
    assert [decode_record(payload) for payload, _ in read_frames(data)] == records
    assert count_frames(data) == (len(records), len(data))


def test_the_encoder_takes_the_declared_fields_in_their_order() -> None:
    assert tuple(inspect.signature(encode_record).parameters) == Record._fields


@given(st.integers(0, 10_000))
def test_a_torn_record_is_left_out(cut: int) -> None:
    data = b"".join(encoded(i) for i in range(50))
    torn = data[: cut % len(data)]
    frames = list(read_frames(torn))
    assert [decode_record(payload) for payload, _ in frames] == [
        make_record(i) for i in range(len(frames))
    ]
    assert count_frames(torn)[0] == len(frames)
    assert len(torn) - count_frames(torn)[1] < len(encoded())


@pytest.mark.parametrize("offset", range(0, 80, 7))
def test_a_changed_byte_is_detected(offset: int) -> None:
    data = bytearray(encoded())
    data[offset] ^= 1
    assert not list(read_frames(bytes(data)))


def test_a_segment_header_is_decoded_unchanged() -> None:
    header = SegmentHeader("canary", 7, "7-0123456789ab", 5)
    ((payload, _),) = read_frames(encode_header(header))
    assert decode_header(payload) == header


@pytest.mark.parametrize("payload", [b"{}", b"[]", b"\0\1", b'{"slot": "canary"}'])
def test_another_payload_is_not_a_segment_header(payload: bytes) -> None:
    assert list(read_frames(encode_frame(payload))) == [(payload, 6 + len(payload))]
    with pytest.raises(ValueError):
        decode_header(payload)
