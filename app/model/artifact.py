"""Write, open and verify an artifact: a directory of NumPy arrays and a manifest.

Arrays are `.npy` files, opened memory-mapped and never unpickled: opening takes milliseconds
at any size, and all workers share the pages. `docs/artifact.md` describes each file and every
reason for which an artifact is refused.
"""

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.model.manifest import (
    FORMAT,
    MANIFEST,
    ArtifactError,
    FileEntry,
    Kind,
    Manifest,
    compute_model_hash,
    read_manifest,
)

Array = npt.NDArray[Any]

#: Arrays of `factors` by the names they had in version 0.2.0.
_OLD_NAMES = {
    "item_users": "movie_users",
    "seen_items": "seen_movies",
    "seen_strength": "seen_confidence",
    "seen_fading": "seen_recency",
    "als_items": "als_movies",
    "neighbour_movies": "transition_movies",
    "neighbour_weights": "transition_weights",
    "svd_item_bias": "svd_movie_bias",
    "svd_items": "svd_movies",
}


@dataclass(frozen=True)
class ModelMetadata:
    """What a model was trained from and how; becomes part of the manifest.

    Attributes:
        version: version number of data and model.
        parameters: parameters of training.
        metrics: metrics of the trained model.
        data: hash, size and time span of the training data.
        code: git commit and versions of the libraries.
    """

    version: int
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """An opened artifact: its manifest and its arrays by name, memory-mapped and read-only.

    Arrays of a model of version 0.2.0 have their present names.
    """

    manifest: Manifest
    arrays: dict[str, Array]


def write_array(directory: Path, name: str, array: Array) -> None:
    """Write one array as `directory/name.npy`."""
    np.save(directory / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def create_array(directory: Path, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
    """Create `directory/name.npy` and return it memory-mapped, to be filled in blocks."""
    path = directory / f"{name}.npy"
    if 0 in shape:  # an empty file cannot be mapped
        array = np.zeros(shape, dtype)
        np.save(path, array, allow_pickle=False)
        return array
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)


def write_manifest(
    directory: Path, kind: Kind, users: int, movies: int, metadata: ModelMetadata
) -> Manifest:
    """Hash every array in `directory` and write the manifest; call it after the last array.

    Args:
        directory: the artifact; holds its arrays already.
        kind: kind of artifact.
        users: number of users the model was trained on.
        movies: number of movies the model was trained on.
        metadata: what the model was trained from.
    """
    files = {path.name: _file_entry(path) for path in sorted(directory.glob("*.npy"))}
    manifest = Manifest(
        format=FORMAT,
        kind=kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        users=users,
        movies=movies,
        files=files,
        model_hash=compute_model_hash(files, metadata.parameters, metadata.data),
        version=metadata.version,
        parameters=metadata.parameters,
        metrics=metadata.metrics,
        data=metadata.data,
        code=metadata.code,
    )
    (directory / MANIFEST).write_bytes(manifest.to_json())
    return manifest


def open_artifact(directory: Path, kind: Kind) -> Artifact:
    """Open an artifact after checking manifest, file sizes, types and shapes (no hashes).

    Raises:
        ArtifactError: a file is missing, unlisted or differs from its manifest entry.
    """
    manifest = read_manifest(directory, kind)
    _check_for_unlisted_files(directory, manifest)
    arrays = {
        _get_array_name(name): _open_array(directory / name, entry)
        for name, entry in manifest.files.items()
    }
    return Artifact(manifest, arrays)


def verify_artifact(directory: Path, kind: Kind) -> Artifact:
    """Open an artifact and compare the SHA-256 of every file with the manifest.

    Raises:
        ArtifactError: as `open_artifact`, or a hash differs.
    """
    artifact = open_artifact(directory, kind)
    for name, entry in artifact.manifest.files.items():
        if sha256(directory / name) != entry.sha256:
            raise ArtifactError(f"{directory / name}: SHA-256 does not match the manifest")
    return artifact


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file_entry(path: Path) -> FileEntry:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return FileEntry(
        sha256=sha256(path), bytes=path.stat().st_size, dtype=array.dtype.str, shape=array.shape
    )


def _check_for_unlisted_files(directory: Path, manifest: Manifest) -> None:
    """Refuse files that the manifest does not list, pickles above all."""
    found = set(os.listdir(directory))  # noqa: PTH208 - only names are needed
    for name in sorted(found - set(manifest.files) - {MANIFEST}):
        raise ArtifactError(f"{directory / name}: a file that the manifest does not list")


def _get_array_name(file_name: str) -> str:
    name = file_name.removesuffix(".npy")
    return _OLD_NAMES.get(name, name)


def _open_array(path: Path, entry: FileEntry) -> Array:
    if path.is_symlink() or not path.is_file():
        raise ArtifactError(f"{path}: missing, or not a regular file")
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtifactError(f"{path}: {size} bytes, expected {entry.bytes}")
    try:
        # An empty file cannot be mapped.
        mapped = 0 not in entry.shape
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ArtifactError(f"{path}: not a plain array (pickles are refused): {error}") from error
    if not isinstance(array, np.ndarray):
        raise ArtifactError(f"{path}: not a single array")
    if array.dtype.str != entry.dtype or array.shape != entry.shape:
        raise ArtifactError(
            f"{path}: {array.dtype.str} {list(array.shape)}, "
            f"expected {entry.dtype} {list(entry.shape)}"
        )
    return array.view(np.ndarray)  # a base-class view of the same pages indexes faster
