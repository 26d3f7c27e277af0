"""Look up precomputed recommendations: the `lists` artifact that the service reads."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from app.model.artifact import Array, Artifact, open_artifact, verify_artifact
from app.model.manifest import ArtifactError, Manifest
from app.model.packed_events import EventPacker
from app.model.recent_ranking import (
    NO_EARLIER_MOVIES,
    EarlierMovies,
    RankedMovies,
    RecentRanking,
)
from app.movie_ids import lower_escapes
from app.recent_events import RecentEvent

#: Directory of the artifact inside a model directory.
LISTS = "lists"

Source = Literal["personal", "popular", "recent", "general"]
_MOVIE_ID = re.compile(r"[^\s,\x00-\x1f\x7f]+")
#: Rows of `lists` that are checked at a time.
_CHECKED_ROWS = 100_000

#: The arrays: name -> (dimensions, kind of dtype). `U` users, `N` movies, `D` length of a stored
#: list, `G` segments, `P` length of a segment's list, `A` users whose segment is known.
_LAYOUT = {
    "movies": (1, "u"),  # movie ids, joined by line feeds, UTF-8 bytes
    "users": (1, "i"),  # [U] user ids, ascending
    "lists": (2, "u"),  # [U, D] movie numbers, best first; N fills up a shorter list
    "popular": (1, "u"),  # [N] movie numbers, most popular first
    "segment_users": (1, "i"),  # [A] user ids, ascending
    "segment_of": (1, "u"),  # [A] segment number of the user
    "segment_popular": (2, "u"),  # [G, P] movie numbers, most popular in the segment first
}
#: The arrays for recent events, all or none: artifacts of format 1 have none. `K` related movies
#: of each movie, `E` pairs of a user and a movie in training.
_RECENT_LAYOUT = {
    "list_scores": (2, "f"),  # [U, D] score of each movie of a list, minus that of its last one
    "popularity": (1, "f"),  # [N] popularity of each movie, standardised
    "seen_start": (1, "i"),  # [U + 1] index of each user's first movie in `seen_movies`
    "seen_movies": (1, "u"),  # [E] movie numbers, each user's ascending
    "related_movies": (2, "u"),  # [N, K] movie numbers, best first; N fills up a row
    "related_weights": (2, "f"),  # [N, K] their weights, descending; 0 fills up a row
}


def movie_number_dtype(movies: int) -> type[np.unsignedinteger]:
    """The smallest dtype for movie numbers 0 to `movies` (the last one is the fill value)."""
    return np.uint16 if movies <= np.iinfo(np.uint16).max else np.uint32


def pack_movie_ids(movie_ids: Sequence[str]) -> Array:
    """Encode movie ids as one uint8 array (see `_LAYOUT`)."""
    return np.frombuffer("\n".join(movie_ids).encode(), dtype=np.uint8)


def unpack_movie_ids(packed: Array) -> list[str]:
    """Decode movie ids; the index is the movie number.

    Raises:
        ArtifactError: an id that a response cannot contain (empty, with a comma, white space or a
            control character), an id that occurs twice, or bytes that are not UTF-8.
    """
    try:
        movie_ids = packed.tobytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"movies.npy: not UTF-8: {error}") from error
    if wrong := [movie_id for movie_id in movie_ids if not _MOVIE_ID.fullmatch(movie_id)]:
        raise ArtifactError(f"movies.npy: not a movie id: {wrong[0][:80]!r}")
    if len(set(movie_ids)) < len(movie_ids):
        raise ArtifactError("movies.npy: a movie id occurs twice")
    return movie_ids


@dataclass(frozen=True)
class Recommendation:
    """The recommended list of one user.

    Attributes:
        text: movie ids, best first, joined by commas; the body of the response.
        source: `personal` for a list of the user's own, `popular` for the fallback, `recent` for a
            list that depends on recent events, `general` for the popular movies that do not depend
            on the user.
        movie_numbers: the movies in the same order, packed as `movie_number_dtype`.
        recent_events: those that it depends on, packed (`packed_events`); empty for other sources.
    """

    text: str
    source: Source
    movie_numbers: bytes
    recent_events: bytes = b""


class RecommendationLists:
    """Precomputed lists of all users, with popular movies as fallback for unknown users.

    Args:
        artifact: an opened artifact of kind `lists`.
        length: number of movies to recommend.
        hidden: movie ids that are never recommended, with `%XX` in either case.

    Attributes:
        manifest: the artifact's manifest.
        movie_ids: movie ids; the index is the movie number.
        general: the popular movies of all users, for those who do not want a profile to be used.
        recent: ranks movies for users with recent events; None where the artifact lacks the arrays
            for it.
        unknown_hidden_ids: ids in `hidden` that the model does not contain, sorted.
    """

    def __init__(self, artifact: Artifact, length: int = 20, hidden: Iterable[str] = ()) -> None:
        _check_layout(artifact)
        arrays = artifact.arrays
        self.manifest: Manifest = artifact.manifest
        self.movie_ids = unpack_movie_ids(arrays["movies"])
        if len(self.movie_ids) != artifact.manifest.movies:
            raise ArtifactError("movies.npy: number of movie ids differs from the manifest")
        given = {lower_escapes(name): name for name in hidden}
        spellings = [lower_escapes(name) for name in self.movie_ids]
        self._hidden = frozenset(i for i, name in enumerate(spellings) if name in given)
        self.unknown_hidden_ids = sorted(
            given[name] for name in given.keys() - {spellings[i] for i in self._hidden}
        )
        self._length = length
        self._dtype = movie_number_dtype(artifact.manifest.movies)
        self._users = arrays["users"]
        #: The part of the stored lists that is read: more than `length` only to replace hidden
        #: movies.
        self._lists = arrays["lists"] if self._hidden else arrays["lists"][:, :length]
        self._popular: list[int] = [i for i in arrays["popular"].tolist() if i not in self._hidden]
        self._segment_users = arrays["segment_users"]
        self._segment_of = arrays["segment_of"]
        self.recent: RecentRanking | None = None
        if _has_recent_parts(artifact):
            self.recent = RecentRanking.from_artifact(artifact, self._hidden)
            self._packer = EventPacker(
                artifact.manifest.movies, self._dtype, self.recent.rating_scale
            )
        self._popular_fallback: Recommendation = self._format(self._popular, "popular")
        self.general: Recommendation = replace(self._popular_fallback, source="general")
        self._segment_fallbacks: list[Recommendation] = [
            self._format(self._replace_hidden(row), "popular")
            for row in arrays["segment_popular"].tolist()
        ]

    @classmethod
    def open(
        cls, model: Path, length: int = 20, hidden: Iterable[str] = (), *, verify: bool = False
    ) -> "RecommendationLists":
        """Open the lists of a model directory.

        Args:
            model: the model directory.
            length: number of movies to recommend.
            hidden: movie ids that are never recommended.
            verify: also compare all hashes and check the content of all arrays.

        Raises:
            ArtifactError: the directory is not a complete, unchanged model.
        """
        artifact = (verify_artifact if verify else open_artifact)(model / LISTS, "lists")
        lists = cls(artifact, length, hidden)
        if verify:
            _check_content(artifact)
        return lists

    @property
    def user_ids(self) -> Array:
        """[U] ids of the users with a personal list, ascending."""
        return self._users

    def get_numbers(self, user_id: int) -> list[int]:
        """Look up the movie numbers of a user's recommendation."""
        numbers: list[int] = np.frombuffer(self.get(user_id).movie_numbers, self._dtype).tolist()
        return numbers

    def count_seen(self, user_id: int) -> int:
        """Count the movies of a user in training; 0 where the artifact lacks the array for it."""
        return 0 if self.recent is None else len(self.recent.get_seen(user_id))

    def get(self, user_id: int) -> Recommendation:
        """Look up the list of a user, or a fallback for an unknown one. O(log users)."""
        row = int(self._users.searchsorted(user_id))
        if row < len(self._users) and self._users[row] == user_id:
            packed = self._lists[row]
            numbers: list[int] = packed.tolist()
            if self._hidden and numbers[0] < len(self.movie_ids):
                return self._format(self._replace_hidden(numbers), "personal")
            if numbers[-1] < len(self.movie_ids):  # a full row: no copy, no fill value to remove
                return Recommendation(self._join_ids(numbers), "personal", packed.tobytes())
            if numbers[0] < len(self.movie_ids):
                return self._format(numbers, "personal")
        return self._fallback(user_id)

    def rank_recent(
        self,
        user_id: int,
        events: Sequence[RecentEvent],
        now: float,
        older: Sequence[int] = (),
    ) -> tuple[Recommendation, RankedMovies] | None:
        """Blend the user's list, or the popular movies, with what goes with recent movies.

        Args:
            user_id: the user, known to the model or not.
            events: the user's recent movies, newest first. The first of them have an effect, as
                many as a record holds; all of them are left out.
            now: time of the request, in seconds since 1970 as the events have it.
            older: movie numbers of the user's movies before them, which are left out without an
                effect.

        Returns:
            The recommendation, and the recent movies that had an effect; None where the list stays
            that of `get`: the artifact lacks the arrays, or no movie of the model is newer than its
            data. Older movies count as such if any event does.
        """
        ranking = self.recent
        if ranking is None:
            return None
        newest = ranking.newest
        if not any(time > newest and (older or movie >= 0) for movie, _, _, time in events):
            return None
        moment = round(now)
        rounded = self._packer.round(events, moment)
        others = NO_EARLIER_MOVIES
        if older or len(events) > len(rounded):
            numbers = [*[movie for movie, _, _, _ in events[len(rounded) :]], *older]
            others = EarlierMovies(len(numbers), frozenset(numbers))
        ranked = ranking.rank(user_id, rounded, moment, self._length, others)
        used = [movie for movie, _ in ranked.used]
        packed = self._packer.pack(rounded, moment, used, others.total, ranked.left_out)
        return self._to_recent(ranked, packed), ranked

    def remake(self, user_id: int, source: Source, recent_events: bytes) -> Recommendation:
        """Make a recommendation again from what was recorded of it.

        Raises:
            ValueError: it cannot have been made with this model.
        """
        if source == "general":
            return self.general
        if source != "recent":
            return self.get(user_id)
        if self.recent is None:
            raise ValueError("the model lacks the parts for recent events")
        events, now, _, total, left_out = self._packer.unpack(recent_events)
        earlier = EarlierMovies(total, places=frozenset(left_out))
        ranked = self.recent.rank(user_id, events, now, self._length, earlier)
        return self._to_recent(ranked, recent_events)

    def _to_recent(self, ranked: RankedMovies, packed: bytes) -> Recommendation:
        numbers = np.array(ranked.movies, self._dtype).tobytes()
        return Recommendation(self._join_ids(ranked.movies), "recent", numbers, packed)

    def _fallback(self, user_id: int) -> Recommendation:
        """The popular movies of the user's segment, where it is known, or of all users."""
        row = int(self._segment_users.searchsorted(user_id))
        if row < len(self._segment_users) and self._segment_users[row] == user_id:
            return self._segment_fallbacks[int(self._segment_of[row])]
        return self._popular_fallback

    def _replace_hidden(self, numbers: list[int]) -> list[int]:
        """Remove hidden movies; append popular ones where a full list became too short."""
        shown = [i for i in numbers if i not in self._hidden]
        missing = self._length - len(shown)
        if missing <= 0 or numbers[-1] == len(self.movie_ids):
            return shown
        listed = set(numbers)
        return shown + list(islice((i for i in self._popular if i not in listed), missing))

    def _format(self, numbers: list[int], source: Source) -> Recommendation:
        """Cut a list to the length to recommend and remove fill values."""
        fill = len(self.movie_ids)
        numbers = numbers[: self._length]
        if numbers and numbers[-1] == fill:
            numbers = numbers[: numbers.index(fill)]
        packed = np.array(numbers, self._dtype).tobytes()
        return Recommendation(self._join_ids(numbers), source, packed)

    def _join_ids(self, numbers: list[int]) -> str:
        movie_ids = self.movie_ids
        return ",".join([movie_ids[i] for i in numbers])


def _has_recent_parts(artifact: Artifact) -> bool:
    return not _RECENT_LAYOUT.keys().isdisjoint(artifact.arrays)


def _check_layout(artifact: Artifact) -> None:
    """Check names, types and lengths of the arrays without reading them."""
    arrays, users, movies = artifact.arrays, artifact.manifest.users, artifact.manifest.movies
    has_recent = _has_recent_parts(artifact)
    layout = {**_LAYOUT, **_RECENT_LAYOUT} if has_recent else _LAYOUT
    for name, (dimensions, kind) in layout.items():
        if name not in arrays:
            raise ArtifactError(f"{name}.npy: missing from the manifest")
        if arrays[name].ndim != dimensions or arrays[name].dtype.kind != kind:
            raise ArtifactError(f"{name}.npy: wrong type or number of dimensions for lists")
    if unknown := sorted(set(arrays) - set(layout)):
        raise ArtifactError(f"{unknown[0]}.npy: not part of a lists artifact")
    if len(arrays["users"]) != users or len(arrays["lists"]) != users:
        raise ArtifactError("users.npy, lists.npy: number of rows differs from the manifest")
    if len(arrays["popular"]) != movies:
        raise ArtifactError("popular.npy: number of rows differs from the manifest")
    if len(arrays["segment_users"]) != len(arrays["segment_of"]):
        raise ArtifactError("segment_users.npy, segment_of.npy: different lengths")
    if arrays["lists"].shape[1] < 1:
        raise ArtifactError("lists.npy: lists of no movies")
    if has_recent:
        _check_recent_layout(arrays, users, movies)


def _check_recent_layout(arrays: dict[str, Array], users: int, movies: int) -> None:
    """Check lengths, and that movie numbers have one type: mixed ones are slow to compare."""
    shapes = {
        "list_scores": arrays["lists"].shape,
        "popularity": (movies,),
        "seen_start": (users + 1,),
        "related_movies": (movies, arrays["related_movies"].shape[1]),
        "related_weights": arrays["related_movies"].shape,
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ArtifactError(f"{name}.npy: {list(arrays[name].shape)}, expected {list(shape)}")
    for name in ("lists", "popular", "segment_popular", "seen_movies", "related_movies"):
        if arrays[name].dtype != movie_number_dtype(movies):
            raise ArtifactError(f"{name}.npy: wrong type of movie numbers")


def _check_content(artifact: Artifact) -> None:
    """Check what needs a full read: lists, movie and segment numbers, user ids."""
    arrays, movies = artifact.arrays, artifact.manifest.movies
    for name in ("lists", "segment_popular"):
        for first in range(0, len(arrays[name]), _CHECKED_ROWS):
            _check_rows(name, np.asarray(arrays[name][first : first + _CHECKED_ROWS]), movies)
    _check_rows("popular", np.asarray(arrays["popular"])[None, :], movies)
    if movies in arrays["popular"]:
        raise ArtifactError("popular.npy: a movie number out of range")
    for name in ("users", "segment_users"):
        if (np.diff(arrays[name]) <= 0).any():
            raise ArtifactError(f"{name}.npy: user ids not ascending")
    segments = len(arrays["segment_popular"])
    if arrays["segment_of"].size and int(arrays["segment_of"].max()) >= segments:
        raise ArtifactError("segment_of.npy: a segment number out of range")
    if _has_recent_parts(artifact):
        _check_recent_content(arrays, movies)


def _check_recent_content(arrays: dict[str, Array], movies: int) -> None:
    """Check what `RecentRanking` relies on: numbers in range, ascending where it searches them."""
    for first in range(0, movies, _CHECKED_ROWS):
        rows = slice(first, first + _CHECKED_ROWS)
        _check_rows("related_movies", np.asarray(arrays["related_movies"][rows]), movies)
    for name in ("related_weights", "list_scores", "popularity"):
        for first in range(0, len(arrays[name]), _CHECKED_ROWS):
            if not np.isfinite(arrays[name][first : first + _CHECKED_ROWS]).all():
                raise ArtifactError(f"{name}.npy: not a finite number")
    start, seen = arrays["seen_start"], arrays["seen_movies"]
    if start[0] != 0 or start[-1] != len(seen) or (np.diff(start) < 0).any():
        raise ArtifactError("seen_start.npy: not ascending from 0 to the number of pairs")
    if seen.size and int(seen.max()) >= movies:
        raise ArtifactError("seen_movies.npy: a movie number out of range")
    is_first = np.zeros(len(seen) + 1, bool)
    is_first[start] = True
    if not ((seen[1:] > seen[:-1]) | is_first[1:-1]).all():
        raise ArtifactError("seen_movies.npy: movie numbers of a user not ascending")


def _check_rows(name: str, rows: Array, movies: int) -> None:
    """Check that each row contains different movies, and fill values at its end only."""
    if rows.size and int(rows.max()) > movies:
        raise ArtifactError(f"{name}.npy: a movie number out of range")
    fill = rows == movies
    if (fill[:, :-1] & ~fill[:, 1:]).any():
        raise ArtifactError(f"{name}.npy: a movie after the end of a list")
    ordered = np.sort(rows, axis=1)
    if ((ordered[:, :-1] == ordered[:, 1:]) & (ordered[:, 1:] != movies)).any():
        raise ArtifactError(f"{name}.npy: a movie occurs twice in a list")
