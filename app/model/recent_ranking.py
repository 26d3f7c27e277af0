"""Rank movies for a user with recent events: what goes with them, blended with the own list.

It runs in the request's path, so it is pure, needs NumPy only, and takes tens of microseconds. The
arrays are parts of the `lists` artifact (docs/artifact.md); docs/model.md has the formula.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from math import exp2, inf, log1p, sqrt
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.model.artifact import Array, Artifact
from app.model.manifest import ArtifactError
from app.recent_events import RecentEvent, to_seconds

#: Section of the manifest's parameters.
SECTION = "recent"
#: A user's weights count at least so much together when the base's weight is divided by them.
_MIN_TOTAL = 0.25
#: Movies that are ranked beyond those that are needed if none of them was watched in training.
_MARGIN = 12
#: A smaller weight has no effect.
_MIN_WEIGHT = 0.001
_SECONDS_PER_HOUR = 3600


class RecentParams(BaseModel):
    """How recent events count; `params.yaml` explains each parameter."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    related_movies: int = Field(ge=1, le=1000)
    ease_share: float = Field(ge=0, le=1)
    max_movies: int = Field(ge=1, le=64)
    half_life_movies: float = Field(gt=0)
    half_life_hours: float = Field(gt=0)
    max_disliked: float = Field(ge=0, lt=1)
    lowest_weight: float = Field(ge=0, le=1)
    full_minutes: int = Field(ge=1, le=255)
    list: float = Field(ge=0)
    list_few: float = Field(ge=0)
    popularity: float = Field(gt=0)
    popularity_few: float = Field(ge=0)


class UsedMovie(NamedTuple):
    """A recent movie that had an effect on the list, and its weight from 0 to 1."""

    movie: int
    weight: float


class EarlierMovies(NamedTuple):
    """A user's other movies, which are left out of a list and have no other effect on it.

    Attributes:
        total: their number.
        movies: their movie numbers; empty when a list is made again.
        places: when a list is made again: `RankedMovies.left_out` of the first time.
    """

    total: int
    movies: Collection[int] = ()
    places: Collection[int] = ()


NO_EARLIER_MOVIES = EarlierMovies(0)


class RankedMovies(NamedTuple):
    """The result of a ranking.

    Attributes:
        movies: movie numbers, best first.
        used: the recent movies that had an effect, newest first.
        left_out: places of the earlier movies that would be in the list, from 0, among those that
            would be in it then.
    """

    movies: list[int]
    used: list[UsedMovie]
    left_out: list[int]


class RecentRanking:
    """Ranks movies for users with recent events.

    Args:
        arrays: the arrays of a `lists` artifact, with those for recent events.
        params: how events count.
        rating_scale: lowest and highest rating.
        newest: time of the newest event of training, in seconds since 1970.
        hidden: movie numbers that are never recommended.

    Attributes:
        params: how events count.
        rating_scale: lowest and highest rating.
        newest: time of the newest event of training, in seconds since 1970.
    """

    def __init__(
        self,
        arrays: Mapping[str, Array],
        params: RecentParams,
        rating_scale: tuple[float, float],
        newest: float = -inf,
        hidden: Iterable[int] = (),
    ) -> None:
        self.params = params
        self.rating_scale = rating_scale
        self.newest = newest
        self._lowest_rating, self._rating_range = rating_scale[0], rating_scale[1] - rating_scale[0]
        self._movies = len(arrays["popular"])
        self._hidden = frozenset((*hidden, self._movies))
        self._users, self._lists = arrays["users"], arrays["lists"]
        self._list_scores = arrays["list_scores"]
        self._seen_start, self._seen = arrays["seen_start"], arrays["seen_movies"]
        self._segment_users = arrays["segment_users"]
        self._segment_of, self._segments = arrays["segment_of"], arrays["segment_popular"]
        self._related, self._related_weights = arrays["related_movies"], arrays["related_weights"]
        # The value that is added stands for the end of a row, which is never recommended.
        self._popularity = np.append(arrays["popularity"], np.float32(-inf)).astype(np.float32)
        popular = arrays["popular"]
        self._popular = popular[~np.isin(popular, list(self._hidden))]
        self._popular_numbers: list[int] = self._popular.tolist()
        self._segment_values = self._compute_segment_values(popular)
        self._fading = [exp2(-i / params.half_life_movies) for i in range(params.max_movies)]
        minutes = range(params.full_minutes + 1)
        self._by_minutes = [log1p(m) / log1p(params.full_minutes) for m in minutes]
        self._full_minutes = params.full_minutes
        self._half_life_seconds = params.half_life_hours * _SECONDS_PER_HOUR

    @classmethod
    def from_artifact(cls, artifact: Artifact, hidden: Iterable[int] = ()) -> "RecentRanking":
        """Return the ranking of an opened artifact of kind `lists`, with its parameters.

        Raises:
            ArtifactError: the manifest lacks the parameters.
        """
        parameters, newest = artifact.manifest.parameters, artifact.manifest.data.get("newest")
        try:
            params = RecentParams.model_validate(parameters.get(SECTION))
            lowest, highest = map(float, parameters["rating_scale"])
            seconds = -inf if newest is None else to_seconds(datetime.fromisoformat(newest))
        except (ValidationError, LookupError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ArtifactError(f"manifest: no parameters for recent events: {reason}") from error
        return cls(artifact.arrays, params, (lowest, highest), seconds, hidden)

    def rank(
        self,
        user_id: int,
        events: Sequence[RecentEvent],
        now: float,
        n: int,
        earlier: EarlierMovies = NO_EARLIER_MOVIES,
    ) -> RankedMovies:
        """Return the best `n` movies that are neither hidden nor watched.

        The same arguments give the same result.

        Args:
            user_id: the user, known to the model or not.
            events: the user's recent movies, each once, newest first. The first `max_movies` of
                them have an effect; all of them are left out of the result.
            now: time of the request in seconds since 1970.
            n: number of movies.
            earlier: the user's other movies.
        """
        row = _find(self._users, user_id)
        seen = self._get_seen(row)
        used = self._weigh(events, now, seen)
        watched_movies = len(events) + earlier.total
        base = self._get_base(user_id, row, used, n + watched_movies)
        movies, scores = self._add_related(*base, used) if used else (base[0], None)
        watched = {event.movie for event in events} | self._hidden
        candidates: list[int] = []
        # Most often the best few are enough; they are all where too many of those were watched.
        for count in (n + watched_movies + _MARGIN, len(movies)):
            ranked = _get_best(movies, scores, count)
            if len(seen):
                ranked = ranked[seen.take(seen.searchsorted(ranked), mode="clip") != ranked]
            candidates = [movie for movie in ranked.tolist() if movie not in watched]
            chosen, left_out = _leave_out(candidates, earlier, n)
            if len(chosen) == n:
                return RankedMovies(chosen, used, left_out)
        watched.update(candidates, seen.tolist())
        rest = (movie for movie in self._popular_numbers if movie not in watched)
        candidates += islice(rest, n + earlier.total)
        chosen, left_out = _leave_out(candidates, earlier, n)
        return RankedMovies(chosen, used, left_out)

    def get_seen(self, user_id: int) -> Array:
        """Return the numbers of the movies that the user had watched or rated in training."""
        return self._get_seen(_find(self._users, user_id))

    def _weigh(self, events: Sequence[RecentEvent], now: float, seen: Array) -> list[UsedMovie]:
        """Return the recent movies that have an effect, and their weights.

        Without effect are events that the user's list rests on already, movies that the model does
        not know, and those that the user disliked.
        """
        used = []
        lowest, width, newest = self._lowest_rating, self._rating_range, self.newest
        max_disliked, factor = self.params.max_disliked, 1 - self.params.lowest_weight
        half_life = self._half_life_seconds
        for (movie, minutes, rating, time), fading in zip(events, self._fading, strict=False):
            if not 0 <= movie < self._movies or (time <= newest and _contains(seen, movie)):
                continue
            if rating is None:
                weight = fading * self._by_minutes[min(minutes, self._full_minutes)]
            elif (share := (rating - lowest) / width) > max_disliked:
                weight = fading * (1 - factor * (1 - min(share, 1.0)))
            else:
                continue
            if time < now:
                weight /= 1 + (now - time) / half_life
            if weight >= _MIN_WEIGHT:
                used.append(UsedMovie(movie, weight))
        return used

    def _get_seen(self, row: int) -> Array:
        if row < 0:
            return self._seen[:0]
        return self._seen[self._seen_start[row] : self._seen_start[row + 1]]

    def _get_base(
        self, user_id: int, row: int, used: list[UsedMovie], length: int
    ) -> tuple[Array, Array | None, float]:
        """Return the list that the user would have without events.

        Returns:
            Its movie numbers [D], the values [D] they get (None: 0), and the weight of popularity,
            which all movies get.
        """
        params = self.params
        total = max(sum([movie.weight for movie in used]), _MIN_TOTAL)
        if row >= 0 and (movies := self._lists[row])[0] < self._movies:
            weight = np.float32(params.list + params.list_few / total)
            return movies, self._list_scores[row].astype(np.float32) * weight, params.popularity
        popularity = params.popularity + params.popularity_few / total
        row = _find(self._segment_users, user_id)
        if row < 0:
            return self._popular[:length], None, popularity
        segment = int(self._segment_of[row])
        values = self._segment_values[segment] * np.float32(popularity)
        return self._segments[segment], values, popularity

    def _add_related(
        self, movies: Array, values: Array | None, popularity: float, used: list[UsedMovie]
    ) -> tuple[Array, Array]:
        """Return the movies of the base and those related to the used ones, and their scores."""
        rows, plain = zip(*used, strict=True)
        scale = 1 / sqrt(sum([weight * weight for weight in plain]))
        weights = np.array([weight * scale for weight in plain], np.float32)
        related = self._related.take(rows, axis=0)
        related_values = self._related_weights.take(rows, axis=0) * weights[:, None]
        if values is None:
            values = np.zeros(len(movies), np.float32)
        candidates = np.concatenate((related.ravel(), movies))
        scores = np.concatenate((related_values.ravel(), values))
        # Sum the values of each movie. Sorting 16-bit numbers takes a time in proportion to them.
        order = candidates.argsort(kind="stable")
        candidates, scores = candidates[order], scores[order]
        is_first = np.empty(len(candidates), bool)
        is_first[0] = True
        np.not_equal(candidates[1:], candidates[:-1], out=is_first[1:])
        first = is_first.nonzero()[0]
        candidates = candidates[first]
        scores = np.add.reduceat(scores, first)
        scores += np.float32(popularity) * self._popularity.take(candidates)
        return candidates, scores

    def _compute_segment_values(self, popular: Array) -> Array:
        """Return what is added to the popularity of the movies [G, P] in each segment's list.

        Afterwards the movie at a place has the popularity of the movie at that place among all.
        """
        places = self._popularity[popular][: self._segments.shape[1]]
        places = np.resize(places, self._segments.shape[1])
        own = self._popularity[self._segments]
        return np.where(np.isfinite(own), places - own, 0).astype(np.float32)


def _get_best(movies: Array, scores: Array | None, count: int) -> Array:
    """Return the `count` movies of the highest scores, best first; more of equal scores.

    Equal scores: in the order of `movies`. Without scores: the first movies.
    """
    if scores is None:
        return movies[:count]
    if count < len(scores):
        last = len(scores) - count
        chosen = (scores >= np.partition(scores, last)[last]).nonzero()[0]
        movies, scores = movies[chosen], scores[chosen]
    ranked: Array = movies[np.negative(scores).argsort(kind="stable")]
    return ranked


def _leave_out(
    candidates: list[int], earlier: EarlierMovies, n: int
) -> tuple[list[int], list[int]]:
    """Return the first `n` candidates that are no earlier movies, and the places of those."""
    if not earlier.total:
        return candidates[:n], []
    chosen: list[int] = []
    left_out: list[int] = []
    for place, movie in enumerate(candidates):
        if movie in earlier.movies or place in earlier.places:
            left_out.append(place)
            continue
        chosen.append(movie)
        if len(chosen) == n:
            break
    return chosen, left_out


def _contains(numbers: Array, wanted: int) -> bool:
    """Whether a movie is among ascending movie numbers."""
    return _find(numbers, wanted) >= 0


def _find(ids: Array, wanted: int) -> int:
    """Return the index of an id or number in ascending ones, -1 if there is none."""
    row = int(ids.searchsorted(wanted))
    return row if row < len(ids) and ids[row] == wanted else -1
