"""The fields of a provenance record, declared once, and the binary format of the spool.

Whatever knows the fields derives them from `SegmentHeader` and `Record`: the packed format below,
the columns of the table `reccom` (`tables`), and the output of `marquee trace` (`lineage`).

A segment of the spool is a sequence of frames. A frame is a CRC-32 of all that follows it, the
length of the payload, and the payload; numbers are little-endian. The payload of the first frame is
the `SegmentHeader` as JSON; each further one is a packed `Record`.

A description of an instance or a version is a line with the format, and JSON: rows by table
(`instance_info`).

The files of the spool have the number of their format in their names (`add_format`), where programs
of version 0.2.0 ignore it: they read files of format 1, which had no number then. A format that
they cannot read has to change the header, so that they refuse it: format 2 has a field more. They
rename what is no JSON, so that a newer shipper reads it later.

Format 1 lacks the fields that have a default here, and the first line of descriptions.
"""

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints
from zlib import crc32

from app.model.packed_events import MAX_PACKED_BYTES
from app.model.recommendation_lists import Source
from app.text_files import parse_json

#: Format of segments, and of the descriptions of instances and versions (`instance_info`).
SPOOL_FORMAT = 2
READABLE_FORMATS = (1, 2)
_INFO_HEAD = b"format 2\n"
_FORMAT_IN_NAME = re.compile(r"\.v([0-9]{1,9})$")
_MAX_DATABASE_INTEGER = 2**63 - 1
#: The user of a record whose user was removed; ids of users have at most 18 digits. The shipper
#: leaves such records out.
FORGOTTEN_USER = _MAX_DATABASE_INTEGER


@dataclass(frozen=True)
class Number:
    """An integer or a boolean.

    Attributes:
        code: its format character in the `struct` module.
        is_timestamp: whether it counts microseconds since 1970, UTC.
    """

    code: str
    is_timestamp: bool = False


@dataclass(frozen=True)
class Choice:
    """One of a few texts, packed as its index."""

    values: tuple[str, ...]


@dataclass(frozen=True)
class Text:
    """ASCII of variable length."""

    max_bytes: int


@dataclass(frozen=True)
class Binary:
    """Bytes of variable length."""

    max_bytes: int


FieldType = Number | Choice | Text | Binary


class SegmentHeader(NamedTuple):
    """The fields that are equal in all records of a segment."""

    #: The instance that answered.
    slot: Annotated[str, Text(40)]
    #: The version of its model.
    version_number: Annotated[int, Number("i")]
    #: The build of its image.
    build_id: Annotated[str, Text(72)]
    #: What else a list depends on: the row of `configuration` (`instance_info`).
    configuration_id: Annotated[int | None, Number("Q")] = None


class Record(NamedTuple):
    """The fields of one recommendation that was answered."""

    #: The response's header `X-Request-Id`.
    request_id: Annotated[str, Text(64)]
    #: When the response was ready.
    answered_at_us: Annotated[int, Number("Q", is_timestamp=True)]
    user_id: Annotated[int, Number("Q")]
    #: Where the list came from: the response's header `X-Recommendation-Source`.
    source: Annotated[Source, Choice(get_args(Source))]
    #: Time in the service.
    duration_us: Annotated[int, Number("Q")]
    #: Whether NGINX had closed the connection before the response was ready.
    client_gone: Annotated[bool, Number("?")]
    #: Whether NGINX sent the request again because no slot could be reached.
    is_retry: Annotated[bool, Number("?")]
    #: Movie numbers, best first: two bytes each, four in a model of more than 65,535 movies.
    movie_numbers: Annotated[bytes, Binary(200)]
    #: The recent events that the list depends on (`app.model.packed_events`); empty for the others.
    recent_events: Annotated[bytes, Binary(MAX_PACKED_BYTES)] = b""


def field_types(declaration: type[SegmentHeader] | type[Record]) -> dict[str, FieldType]:
    """The types of the declared fields, by name, in their order."""
    hints = get_type_hints(declaration, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items()}


def get_optional_fields(declaration: type[SegmentHeader] | type[Record]) -> set[str]:
    """The names of the fields that format 1 lacks."""
    return set(declaration._field_defaults)


# A packed record: the fields of fixed width in their order, the length of the request id and that
# of the recent events (not in format 1), the request id, the recent events, the movie numbers.
_FIXED_TYPES = [t for t in field_types(Record).values() if isinstance(t, Number | Choice)]
_FIXED_CODES = "".join(t.code if isinstance(t, Number) else "B" for t in _FIXED_TYPES) + "BB"
_FIXED = struct.Struct("<" + _FIXED_CODES)
_FIXED_SIZE = _FIXED.size
_FIXED_1 = struct.Struct("<" + _FIXED_CODES[:-1])
_FIXED_NAMES = [n for n, t in field_types(Record).items() if isinstance(t, Number | Choice)]
_USER_AT = _FIXED_NAMES.index("user_id")
_USER_OFFSET = struct.calcsize("<" + _FIXED_CODES[:_USER_AT])
_USER = struct.Struct("<" + _FIXED_CODES[_USER_AT])
_CHOICES = [(i, t.values) for i, t in enumerate(_FIXED_TYPES) if isinstance(t, Choice)]
_SOURCE_CODES = {source: code for code, source in enumerate(get_args(Source))}

_FRAME = struct.Struct("<IH")
_CRC = struct.Struct("<I")
_LENGTH = struct.Struct("<H")
_pack_crc = _CRC.pack
_pack_length_and_fixed = struct.Struct("<H" + _FIXED_CODES).pack


def encode_record(  # noqa: PLR0913, PLR0917 - one parameter a field
    request_id: str,
    answered_at_us: int,
    user_id: int,
    source: Source,
    duration_us: int,
    client_gone: bool,
    is_retry: bool,
    movie_numbers: bytes,
    recent_events: bytes = b"",
) -> bytes:
    """A frame with the packed fields of a `Record`.

    Called for each request: the fields are written out because passing them as one tuple would
    cost a further 0.3 µs. A test compares them with the declaration.
    """
    id_bytes = request_id.encode()
    checked = (
        _pack_length_and_fixed(
            _FIXED_SIZE + len(id_bytes) + len(recent_events) + len(movie_numbers),
            answered_at_us,
            user_id,
            _SOURCE_CODES[source],
            duration_us,
            client_gone,
            is_retry,
            len(id_bytes),
            len(recent_events),
        )
        + id_bytes
        + recent_events
        + movie_numbers
    )
    return _pack_crc(crc32(checked)) + checked


def decode_record(payload: bytes, number: int = SPOOL_FORMAT) -> Record:
    """The record in a frame's payload, in the format of this number.

    Raises:
        ValueError: it is none, or a number is too large for the database.
    """
    start, recent_length = _FIXED_SIZE, 0
    try:
        if number == 1:
            start = _FIXED_1.size
            *fixed, id_length = _FIXED_1.unpack_from(payload)
        else:
            *fixed, id_length, recent_length = _FIXED.unpack_from(payload)
        if max(fixed) > _MAX_DATABASE_INTEGER:
            raise ValueError("a number is larger than 63 bits")
        for position, values in _CHOICES:
            fixed[position] = values[fixed[position]]
    except (struct.error, IndexError) as error:
        raise ValueError(f"not a record of format {number}: {error}") from error
    id_end = start + id_length
    recent_end = id_end + recent_length
    texts = payload[start:id_end].decode(), payload[recent_end:], payload[id_end:recent_end]
    return Record._make([texts[0], *fixed, *texts[1:]])


def replace_user(payload: bytes, user_id: int) -> bytes:
    """A frame with a record of another user, of the same length and in the format of the payload.

    The user stands at the same place in all formats.
    """
    changed = bytearray(payload)
    _USER.pack_into(changed, _USER_OFFSET, user_id)
    return encode_frame(bytes(changed))


def encode_header(header: SegmentHeader) -> bytes:
    """The first frame of a segment."""
    return encode_frame(json.dumps(header._asdict()).encode())


def decode_header(payload: bytes) -> SegmentHeader:
    """The header in a frame's payload.

    Raises:
        ValueError: it is none.
    """
    try:
        header = SegmentHeader(**json.loads(payload))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a segment header: {error}") from error
    for name, type_ in field_types(SegmentHeader).items():
        value = getattr(header, name)
        if value is None and name in get_optional_fields(SegmentHeader):
            continue
        if not isinstance(value, int if isinstance(type_, Number) else str):
            raise ValueError(f"not a segment header: {name} is {value!r}")
    return header


def encode_info(rows: dict[str, dict[str, Any]]) -> bytes:
    """A description with these rows by table."""
    return _INFO_HEAD + json.dumps(rows).encode()


def decode_info(data: bytes, number: int = SPOOL_FORMAT) -> Any:
    """The content of a description of the format with this number.

    Raises:
        ValueError: it is none.
    """
    if number > 1:
        if not data.startswith(_INFO_HEAD):
            raise ValueError("not a description")
        data = data[len(_INFO_HEAD) :]
    return parse_json(data)


def add_format(name: str, suffix: str) -> str:
    """The name of a file of the spool in the current format: `NAME.v2SUFFIX`."""
    return f"{name}.v{SPOOL_FORMAT}{suffix}"


def get_format(name: str, suffix: str) -> int:
    """The number of the format in the name of a file of the spool; 1 without a number."""
    found = _FORMAT_IN_NAME.search(name.removesuffix(suffix))
    return int(found[1]) if found else 1


def encode_frame(payload: bytes) -> bytes:
    """A frame around any payload."""
    checked = _LENGTH.pack(len(payload)) + payload
    return _pack_crc(crc32(checked)) + checked


def read_frames(data: bytes, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Each frame's payload and the offset of its end; stops before a torn or damaged frame."""
    end = start
    while end + _FRAME.size <= len(data):
        crc, length = _FRAME.unpack_from(data, end)
        start, end = end, end + _FRAME.size + length
        if end > len(data) or crc32(data[start + _CRC.size : end]) != crc:
            return
        yield data[start + _FRAME.size : end], end


def count_frames(data: bytes) -> tuple[int, int]:
    """The number of whole frames, by their lengths alone, and the offset of the last one's end."""
    count = end = 0
    while end + _FRAME.size <= len(data):
        length = _FRAME.unpack_from(data, end)[1]
        frame_end = end + _FRAME.size + length
        if length == 0 or frame_end > len(data):  # a length of 0: space that is not written yet
            break
        count, end = count + 1, frame_end
    return count, end
