"""Recent events in few bytes, from which the same list can be made again.

Whatever a weight depends on is rounded to what these bytes hold before a list is ranked. They are
little-endian:

    4 bytes               the time from which ages are counted, in seconds since 1970
    1 byte                number of the user's earlier movies, which were left out of the list
    for each movie, newest first:
    2 bytes (4)           movie number; the number of movies for one that the model does not have
                          (4 bytes in a model of more than 65,535 movies)
    1 byte                minutes watched, at most 255
    4 bytes               bits 0 to 22: age in seconds; bit 23: whether it had an effect;
                          bits 24 to 31: 0 without a rating, else 1 + its place in the scale,
                          in 252nds
    11 bytes              with earlier movies only: bits by place in the ranking, the lowest first;
                          1 where an earlier movie was left out
"""

import struct
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from app.recent_events import UNKNOWN_MOVIE, RecentEvent

#: Bound of the packed events of one list.
MAX_PACKED_BYTES = 128
_MAX_MINUTES = 255
_MAX_AGE_SECONDS = (1 << 23) - 1
_HAD_EFFECT = 1 << 23
_RATING_SHIFT = 24
#: Exact for the whole ratings from 1 to 5 and to 10, and for half ones from 0.5 to 5.
_RATING_STEPS = 252
_HEAD = struct.Struct("<IB")
_MAX_EARLIER = 255
#: Enough for lists of 50 movies and 38 earlier ones: all that the service keeps of a user (50)
#: but the 12 that fit at least.
_PLACES_BYTES = 11
_MAX_TIME = 0xFFFFFFFF


class PackedEvents(NamedTuple):
    """The arguments of `EventPacker.pack`."""

    events: list[RecentEvent]
    now: int
    used: set[int]
    earlier: int
    left_out: list[int]


class EventPacker:
    """Packs the recent events of one model's users.

    Args:
        movies: number of the model's movies.
        number_dtype: that of its movie numbers.
        rating_scale: lowest and highest rating.

    Attributes:
        max_events: number of events that fit into `MAX_PACKED_BYTES`: 16, or 12 in a model of more
            than 65,535 movies.
    """

    def __init__(
        self,
        movies: int,
        number_dtype: type[np.unsignedinteger],
        rating_scale: tuple[float, float],
    ) -> None:
        self._event = struct.Struct(f"<{np.dtype(number_dtype).char}BI")
        self.max_events = (MAX_PACKED_BYTES - _HEAD.size - _PLACES_BYTES) // self._event.size
        self._movies = movies
        lowest, highest = rating_scale
        self._lowest, self._steps_per_rating = lowest, _RATING_STEPS / (highest - lowest)
        steps = range(_RATING_STEPS + 1)
        self._ratings = [lowest + step * (highest - lowest) / _RATING_STEPS for step in steps]

    def round(self, events: Sequence[RecentEvent], now: int) -> list[RecentEvent]:
        """Return the newest events, at most `max_events`, with the values that are packed.

        Args:
            events: the newest first.
            now: the time from which ages are counted, in seconds since 1970; later events count as
                of this time.
        """
        min_time = now - _MAX_AGE_SECONDS
        ratings = self._ratings
        return [
            RecentEvent(
                movie,
                minutes if minutes < _MAX_MINUTES else _MAX_MINUTES,
                None if rating is None else ratings[self._to_step(rating)],
                now if time >= now else max(round(time), min_time),
            )
            for movie, minutes, rating, time in events[: self.max_events]
        ]

    def pack(
        self,
        events: Sequence[RecentEvent],
        now: int,
        used: Collection[int],
        earlier: int = 0,
        left_out: Sequence[int] = (),
    ) -> bytes:
        """Return rounded events as bytes.

        Args:
            events: what `round` returned.
            now: as for `round`.
            used: numbers of the movies that had an effect on the list.
            earlier: number of the user's earlier movies.
            left_out: places of those that were left out, ascending.

        Returns:
            Empty if the places do not fit: with more than 88 movies of the list and earlier ones.
        """
        if earlier > _MAX_EARLIER or (left_out and left_out[-1] >= 8 * _PLACES_BYTES):
            return b""
        parts = [_HEAD.pack(min(max(now, 0), _MAX_TIME), earlier)]
        pack, movies = self._event.pack, self._movies
        for movie, minutes, rating, time in events:
            bits = int(now - time)
            if movie in used:
                bits |= _HAD_EFFECT
            if rating is not None:
                bits |= (1 + self._to_step(rating)) << _RATING_SHIFT
            parts.append(pack(movie if movie >= 0 else movies, minutes, bits))
        if earlier:
            places = sum([1 << place for place in left_out])
            parts.append(places.to_bytes(_PLACES_BYTES, "little"))
        return b"".join(parts)

    def unpack(self, packed: bytes) -> PackedEvents:
        """Return the arguments of `pack`.

        Raises:
            ValueError: these are no packed events of this model.
        """
        try:
            now, earlier = _HEAD.unpack_from(packed)
            end = len(packed) - (_PLACES_BYTES if earlier else 0)
            fields = list(self._event.iter_unpack(packed[_HEAD.size : end]))
        except struct.error as error:
            raise ValueError(f"no packed events: {error}") from error
        if end < _HEAD.size:
            raise ValueError("no packed events: too short")
        bits = int.from_bytes(packed[end:], "little")
        left_out = [place for place in range(8 * _PLACES_BYTES) if bits >> place & 1]
        events: list[RecentEvent] = []
        used: set[int] = set()
        for number, minutes, bits in fields:
            step = bits >> _RATING_SHIFT
            if number > self._movies or step > _RATING_STEPS + 1:
                raise ValueError("no packed events of this model")
            movie = number if number < self._movies else UNKNOWN_MOVIE
            rating = self._ratings[step - 1] if step else None
            events.append(RecentEvent(movie, minutes, rating, now - (bits & _MAX_AGE_SECONDS)))
            if bits & _HAD_EFFECT:
                used.add(movie)
        return PackedEvents(events, now, used, earlier, left_out)

    def _to_step(self, rating: float) -> int:
        step = round((rating - self._lowest) * self._steps_per_rating)
        return min(max(step, 0), _RATING_STEPS)
