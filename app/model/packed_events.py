"""Recent events in few bytes, from which the same list can be made again.

Whatever a weight depends on is rounded to what these bytes hold before a list is ranked. They are
little-endian:

    4 bytes               the time from which ages are counted, in seconds since 1970
    for each movie, newest first:
    2 bytes (4)           movie number; the number of movies for one that the model does not have
                          (4 bytes in a model of more than 65,535 movies)
    1 byte                minutes watched, at most 255
    4 bytes               bits 0 to 22: age in seconds; bit 23: whether it had an effect;
                          bits 24 to 31: 0 without a rating, else 1 + its place in the scale,
                          in 252nds
"""

import struct
from collections.abc import Collection, Sequence

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
_TIME = struct.Struct("<I")
_MAX_TIME = 0xFFFFFFFF


class EventPacker:
    """Packs the recent events of one model's users.

    Args:
        movies: number of the model's movies.
        number_dtype: that of its movie numbers.
        rating_scale: lowest and highest rating.

    Attributes:
        max_events: number of events that fit into `MAX_PACKED_BYTES`: 17, or 13 in a model of more
            than 65,535 movies.
    """

    def __init__(
        self,
        movies: int,
        number_dtype: type[np.unsignedinteger],
        rating_scale: tuple[float, float],
    ) -> None:
        self._event = struct.Struct(f"<{np.dtype(number_dtype).char}BI")
        self.max_events = (MAX_PACKED_BYTES - _TIME.size) // self._event.size
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

    def pack(self, events: Sequence[RecentEvent], now: int, used: Collection[int]) -> bytes:
        """Return rounded events as bytes.

        Args:
            events: what `round` returned.
            now: as for `round`.
            used: numbers of the movies that had an effect on the list.
        """
        parts = [_TIME.pack(min(max(now, 0), _MAX_TIME))]
        pack, movies = self._event.pack, self._movies
        for movie, minutes, rating, time in events:
            bits = int(now - time)
            if movie in used:
                bits |= _HAD_EFFECT
            if rating is not None:
                bits |= (1 + self._to_step(rating)) << _RATING_SHIFT
            parts.append(pack(movie if movie >= 0 else movies, minutes, bits))
        return b"".join(parts)

    def unpack(self, packed: bytes) -> tuple[list[RecentEvent], int, set[int]]:
        """Return the arguments of `pack`.

        Raises:
            ValueError: these are no packed events of this model.
        """
        try:
            now = _TIME.unpack_from(packed)[0]
            fields = list(self._event.iter_unpack(packed[_TIME.size :]))
        except struct.error as error:
            raise ValueError(f"no packed events: {error}") from error
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
        return events, now, used

    def _to_step(self, rating: float) -> int:
        step = round((rating - self._lowest) * self._steps_per_rating)
        return min(max(step, 0), _RATING_STEPS)
