"""The form of a record in the queue: framed so that a torn one is recognised.

A frame is a CRC-32 of all that follows, the length of its body, and the body. The first frame of a
segment says what holds for all its records, as JSON; each further one is an answer. Numbers are
little-endian.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

_FRAME = struct.Struct("<IH")
_LENGTH = struct.Struct("<H")
_ANSWER = struct.Struct("<HQQQBB")  # length, time, user, took, flags, length of the request id
_CRC = struct.Struct("<I")
_AFTER_CRC = _CRC.size
_FIXED = _ANSWER.size - _LENGTH.size

#: Bits of `flags`.
PERSONAL, GIVEN_UP, ASKED_AGAIN = 1, 2, 4


class Answered(NamedTuple):
    """One answer, as it stands in the queue."""

    time: int  # microseconds since 1970, when the answer was made
    user_id: int
    took: int  # microseconds in the service
    flags: int
    request_id: str
    movies: bytes  # movie numbers, best first, two bytes each (four beyond 65,535 movies)


def frame(body: bytes) -> bytes:
    """A frame around any body."""
    rest = _LENGTH.pack(len(body)) + body
    return _CRC.pack(crc32(rest)) + rest


def answer_frame(
    time: int, user_id: int, took: int, flags: int, request_id: str, movies: bytes
) -> bytes:
    """A frame around the fields of `Answered`."""
    name = request_id.encode()
    length = _FIXED + len(name) + len(movies)
    rest = _ANSWER.pack(length, time, user_id, took, flags, len(name)) + name + movies
    return _CRC.pack(crc32(rest)) + rest


def bodies(data: bytes, start: int = 0) -> Iterator[tuple[bytes, int]]:
    """Each whole frame's body and where it ends; stops before one that is torn or damaged."""
    end = start
    while end + _FRAME.size <= len(data):
        crc, length = _FRAME.unpack_from(data, end)
        start, end = end, end + _FRAME.size + length
        if end > len(data) or crc32(data[start + _AFTER_CRC : end]) != crc:
            return
        yield data[start + _FRAME.size : end], end


def count(data: bytes) -> tuple[int, int]:
    """How many whole frames there are, by their lengths alone, and where the last one ends."""
    number = end = 0
    while end + _FRAME.size <= len(data):
        length = _FRAME.unpack_from(data, end)[1]
        after = end + _FRAME.size + length
        if length == 0 or after > len(data):  # no length: space that is not written yet
            break
        number, end = number + 1, after
    return number, end


def parse_answer(body: bytes) -> Answered:
    """The answer in a body."""
    _, time, user_id, took, flags, size = _ANSWER.unpack(b"\0\0" + body[:_FIXED])
    name_end = _FIXED + size
    return Answered(
        time, user_id, took, flags, body[_FIXED:name_end].decode(), bytes(body[name_end:])
    )
