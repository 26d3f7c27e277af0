"""An artifact: a directory of plain arrays and a manifest. Writing, opening, verifying.

Arrays are `.npy` files, opened memory-mapped and never unpickled: opening costs milliseconds
whatever the size, and all workers share the pages. The page `docs/artifact.md` describes each
file and everything that is refused.
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
    content_hash,
    read_manifest,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Origin:
    """What a model was made from; stands in the manifest."""

    version: int
    parameters: dict[str, Any]
    metrics: dict[str, Any]
    data: dict[str, Any]
    code: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """An opened artifact: its manifest and its arrays by name, memory-mapped, read-only."""

    manifest: Manifest
    arrays: dict[str, Array]


def write_array(directory: Path, name: str, array: Array) -> None:
    """Write one array as `directory/name.npy`."""
    np.save(directory / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)


def create_array(directory: Path, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
    """Create `directory/name.npy` and return it memory-mapped, to be filled piece by piece."""
    path = directory / f"{name}.npy"
    if 0 in shape:  # an empty file cannot be mapped
        array = np.zeros(shape, dtype)
        np.save(path, array, allow_pickle=False)
        return array
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)


def seal(directory: Path, kind: Kind, users: int, items: int, origin: Origin) -> Manifest:
    """Hash every array written to `directory` and write its manifest."""
    files = {path.name: _entry(path) for path in sorted(directory.glob("*.npy"))}
    manifest = Manifest(
        format=FORMAT,
        kind=kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        users=users,
        items=items,
        files=files,
        model_hash=content_hash(files),
        version=origin.version,
        parameters=origin.parameters,
        metrics=origin.metrics,
        data=origin.data,
        code=origin.code,
    )
    (directory / MANIFEST).write_bytes(manifest.to_json())
    return manifest


def open_artifact(directory: Path, kind: Kind) -> Artifact:
    """Open an artifact after checking manifest, file sizes, types and shapes (not hashes).

    Raises:
        ArtifactError: anything is missing, superfluous or not as the manifest says.
    """
    manifest = read_manifest(directory, kind)
    _refuse_strangers(directory, manifest)
    arrays = {
        name.removesuffix(".npy"): _map(directory / name, entry)
        for name, entry in manifest.files.items()
    }
    return Artifact(manifest, arrays)


def verify_artifact(directory: Path, kind: Kind) -> Artifact:
    """Open an artifact and compare every file with its SHA-256.

    Raises:
        ArtifactError: as `open_artifact`, or a file's content is not what was written.
    """
    artifact = open_artifact(directory, kind)
    for name, entry in artifact.manifest.files.items():
        if sha256(directory / name) != entry.sha256:
            raise ArtifactError(f"{directory / name}: SHA-256 does not match the manifest")
    return artifact


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entry(path: Path) -> FileEntry:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return FileEntry(
        sha256=sha256(path), bytes=path.stat().st_size, dtype=array.dtype.str, shape=array.shape
    )


def _refuse_strangers(directory: Path, manifest: Manifest) -> None:
    """Nothing but the listed files may lie in an artifact, above all no pickle."""
    found = set(os.listdir(directory))  # noqa: PTH208 - names are all that is needed
    for name in sorted(found - set(manifest.files) - {MANIFEST}):
        raise ArtifactError(f"{directory / name}: a file that the manifest does not list")


def _map(path: Path, entry: FileEntry) -> Array:
    if path.is_symlink() or not path.is_file():
        raise ArtifactError(f"{path}: missing, or not a regular file")
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtifactError(f"{path}: {size} bytes, the manifest says {entry.bytes}")
    try:
        # An empty array cannot be mapped; it is small enough to be read.
        mapped = 0 not in entry.shape
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ArtifactError(f"{path}: not a plain array (pickles are refused): {error}") from error
    if not isinstance(array, np.ndarray):
        raise ArtifactError(f"{path}: not a single array")
    if array.dtype.str != entry.dtype or array.shape != entry.shape:
        raise ArtifactError(
            f"{path}: {array.dtype.str} {list(array.shape)}, "
            f"the manifest says {entry.dtype} {list(entry.shape)}"
        )
    return array.view(np.ndarray)  # a plain array over the same pages indexes faster
