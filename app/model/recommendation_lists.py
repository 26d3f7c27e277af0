"""Every user's list, ready to be answered: the artifact that the service reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from app.model.artifact import Array, Artifact, open_artifact, verify_artifact
from app.model.manifest import ArtifactError, Manifest

#: Name of the artifact inside a model directory.
LISTS = "lists"

Source = Literal["personal", "popular"]

#: The arrays: name -> (dimensions, kinds of dtype). `U` users, `N` movies, `D` depth of a list,
#: `G` segments, `P` depth of a segment's list, `A` users whose segment is known.
_LAYOUT = {
    "items": (1, "u"),  # movie ids, joined by line feeds, UTF-8 bytes
    "users": (1, "i"),  # [U] user ids, ascending
    "lists": (2, "u"),  # [U, D] movie numbers, best first; N marks the end of a shorter list
    "popular": (1, "u"),  # [N] movie numbers, most popular first
    "segment_users": (1, "i"),  # [A] user ids, ascending
    "segment_of": (1, "u"),  # [A] the user's segment
    "segment_popular": (2, "u"),  # [G, P] movie numbers, most popular of the segment first
}


def item_dtype(items: int) -> type[np.unsignedinteger]:
    """The smallest type for movie numbers 0 to `items` (the last one marks an end)."""
    return np.uint16 if items <= np.iinfo(np.uint16).max else np.uint32


def pack_items(names: Sequence[str]) -> Array:
    """Movie ids as one array of bytes (see `_LAYOUT`)."""
    return np.frombuffer("\n".join(names).encode(), dtype=np.uint8)


def unpack_items(packed: Array) -> list[str]:
    """Movie ids by movie number."""
    return packed.tobytes().decode().split("\n")


@dataclass(frozen=True)
class Answer:
    """What a user is recommended: movie ids joined by commas, and where they came from."""

    text: str
    source: Source
    #: The movie numbers in the same order, packed as `item_dtype` says.
    movies: bytes


class RecommendationLists:
    """Looks lists up; knows nothing of how they were made.

    Args:
        artifact: an opened artifact of kind `lists`.
        length: how many movies an answer holds.
        hidden: movie ids that are never recommended.
    """

    def __init__(self, artifact: Artifact, length: int = 20, hidden: Iterable[str] = ()) -> None:
        _check_layout(artifact)
        self.manifest: Manifest = artifact.manifest
        self.length = length
        self.names = unpack_items(artifact.arrays["items"])
        if len(self.names) != artifact.manifest.items:
            raise ArtifactError("items.npy: not as many movie ids as the manifest says")
        hide = set(hidden)
        self.hidden = frozenset(i for i, name in enumerate(self.names) if name in hide)
        #: Names an operator hides that this model does not know: likely a typing error.
        self.unknown_hidden = sorted(hide - {self.names[i] for i in self.hidden})
        self._dtype = item_dtype(artifact.manifest.items)
        self._users = artifact.arrays["users"]
        self._lists = artifact.arrays["lists"]
        #: What an answer reads of a row: more than its length only where movies may be hidden.
        self._rows = self._lists if self.hidden else self._lists[:, :length]
        self._popular: list[int] = [
            i for i in artifact.arrays["popular"].tolist() if i not in self.hidden
        ]
        self._segment_users = artifact.arrays["segment_users"]
        self._segment_of = artifact.arrays["segment_of"]
        self._popular_answer: Answer = self._format(self._popular, "popular")
        self._segment_answers: list[Answer] = [
            self._format(self._fill(row), "popular")
            for row in artifact.arrays["segment_popular"].tolist()
        ]

    @classmethod
    def open(
        cls, model: Path, length: int = 20, hidden: Iterable[str] = (), *, verify: bool = False
    ) -> "RecommendationLists":
        """Open the lists of a model directory, with `verify` after comparing all hashes.

        Raises:
            ArtifactError: the directory is not a complete, unchanged model.
        """
        opened = (verify_artifact if verify else open_artifact)(model / LISTS, "lists")
        lists = cls(opened, length, hidden)
        if verify:
            _check_content(opened)
        return lists

    @property
    def users(self) -> Array:
        """[U] ids of the users who have a list of their own, ascending."""
        return self._users

    def answer(self, user_id: int) -> Answer:
        """The list of one user, or the popular movies for a user nobody knows. O(log users)."""
        row = int(self._users.searchsorted(user_id))
        if row < len(self._users) and self._users[row] == user_id:
            packed = self._rows[row]
            movies: list[int] = packed.tolist()
            if self.hidden and movies[0] < len(self.names):
                return self._format(self._fill(movies), "personal")
            if movies[-1] < len(self.names):  # a whole row, as it is
                return Answer(self._text(movies), "personal", packed.tobytes())
            if movies[0] < len(self.names):
                return self._format(movies, "personal")
        return self._stranger(user_id)

    def _stranger(self, user_id: int) -> Answer:
        row = int(self._segment_users.searchsorted(user_id))
        if row < len(self._segment_users) and self._segment_users[row] == user_id:
            return self._segment_answers[int(self._segment_of[row])]
        return self._popular_answer

    def _fill(self, movies: list[int]) -> list[int]:
        """Leave out hidden movies; where that makes a full list short, go on with popular ones."""
        kept = [i for i in movies if i not in self.hidden]
        if len(kept) >= self.length or movies[-1] == len(self.names):
            return kept
        return kept + [i for i in self._popular if i not in set(movies)][: self.length]

    def _format(self, movies: list[int], source: Source) -> Answer:
        end = len(self.names)
        movies = movies[: self.length]
        if movies and movies[-1] == end:
            movies = movies[: movies.index(end)]
        return Answer(self._text(movies), source, np.array(movies, self._dtype).tobytes())

    def _text(self, movies: list[int]) -> str:
        names = self.names
        return ",".join([names[i] for i in movies])


def _check_layout(artifact: Artifact) -> None:
    arrays, users, items = artifact.arrays, artifact.manifest.users, artifact.manifest.items
    for name, (dimensions, kind) in _LAYOUT.items():
        if name not in arrays:
            raise ArtifactError(f"{name}.npy: missing from the manifest")
        if arrays[name].ndim != dimensions or arrays[name].dtype.kind != kind:
            raise ArtifactError(f"{name}.npy: wrong type or number of dimensions for lists")
    if unknown := sorted(set(arrays) - set(_LAYOUT)):
        raise ArtifactError(f"{unknown[0]}.npy: not part of a lists artifact")
    if len(arrays["users"]) != users or len(arrays["lists"]) != users:
        raise ArtifactError("users.npy, lists.npy: not as many rows as the manifest has users")
    if len(arrays["popular"]) != items:
        raise ArtifactError("popular.npy: not as many rows as the manifest has movies")
    if len(arrays["segment_users"]) != len(arrays["segment_of"]):
        raise ArtifactError("segment_users.npy, segment_of.npy: not equally long")
    if arrays["lists"].shape[1] < 1:
        raise ArtifactError("lists.npy: lists of no movies")


def _check_content(artifact: Artifact) -> None:
    """What only a full read can tell: numbers in range, ids ascending."""
    arrays, items = artifact.arrays, artifact.manifest.items
    for name, limit in (("lists", items), ("popular", items - 1), ("segment_popular", items)):
        if arrays[name].size and int(arrays[name].max()) > limit:
            raise ArtifactError(f"{name}.npy: a movie number beyond the last movie")
    for name in ("users", "segment_users"):
        if (np.diff(arrays[name]) <= 0).any():
            raise ArtifactError(f"{name}.npy: user ids not ascending")
    segments = len(arrays["segment_popular"])
    if arrays["segment_of"].size and int(arrays["segment_of"].max()) >= segments:
        raise ArtifactError("segment_of.npy: a segment that does not exist")
