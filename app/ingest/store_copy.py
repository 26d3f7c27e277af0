"""Copies of a whole store: into a data version, into a backup, and back from one.

Segments are copied as files and never parsed, so that this module needs no table library.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

from app.atomic_files import fsync, staged_directory
from app.ingest.errors import IngestError
from app.ingest.metadata_files import METADATA_DIR, copy_metadata
from app.ingest.store_files import (
    MANIFEST_NAME,
    Manifest,
    lock_directory,
    open_segments,
    parse_manifest,
    read_manifest,
    write_manifest,
)


class StoreFile(NamedTuple):
    """One open file of a store and its size in bytes."""

    name: str
    content: IO[bytes]
    size: int


def copy_store(store: Path, out: Path) -> None:
    """Copy a store to `out`, which is replaced; offsets of the sources are left out.

    So two copies differ only when their events, or the segments that hold them, do.

    Raises:
        IngestError: there is no store, or it cannot be read.
    """
    with open_segments(store, lambda path: path.open("rb")) as (manifest, files):
        if manifest is None:
            raise IngestError(f"no store at {store}: nothing was collected yet")
        with staged_directory(out) as staged:
            for name, file in files.items():
                with (staged / name).open("wb") as target:
                    shutil.copyfileobj(file, target)
            write_manifest(staged, manifest.model_copy(update={"offsets": {}}))
            (staged / METADATA_DIR).mkdir()
            copy_metadata(store, staged / METADATA_DIR)


@contextmanager
def open_store_files(store: Path) -> Iterator[list[StoreFile]]:
    """Open all files of one version of a store, the manifest last; none where there is no store.

    Raises:
        IngestError: the store is damaged.
    """
    with open_segments(store, lambda path: path.open("rb")) as (manifest, files):
        if manifest is None:
            yield []
            return
        segments = [
            StoreFile(name, file, os.fstat(file.fileno()).st_size) for name, file in files.items()
        ]
        text = manifest.to_json()
        yield [*segments, StoreFile(MANIFEST_NAME, BytesIO(text), len(text))]


def check_store_file(name: str, content: IO[bytes]) -> None:
    """Read a file of a backup to its end; of segments, only the name is checked.

    Raises:
        IngestError: a store has no file of that name, or the manifest is damaged or of another
            format.
    """
    if name == MANIFEST_NAME:
        parse_manifest(content.read(), f"{name} of the backup")
        return
    _check_segment_name(name)
    while content.read(1 << 20):
        pass


def _check_segment_name(name: str) -> None:
    if Path(name).name != name or not name.endswith(".parquet"):
        raise IngestError(f"not a file of a store: {name}")


class StoreRestorer:
    """Writes the files of a backup into a store directory; made by `restore_store`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: set[str] = set()
        self._manifest: Manifest | None = None

    def write_file(self, name: str, content: IO[bytes]) -> None:
        """Write one segment durably; keep the manifest in memory until `publish`.

        Raises:
            IngestError: a store has no file of that name, or the manifest is of another format.
        """
        if name == MANIFEST_NAME:
            self._manifest = parse_manifest(content.read(), f"{name} of the backup")
            return
        _check_segment_name(name)
        self._names.add(name)
        with (self._path / name).open("wb") as target:
            shutil.copyfileobj(content, target)
            target.flush()
            os.fsync(target.fileno())

    def publish(self) -> None:
        """Write the manifest, which makes all files the store's in one step.

        Raises:
            IngestError: the files are not those that the manifest names.
        """
        if self._names != (self._manifest.segment_names if self._manifest else set()):
            raise IngestError("the files of the store are not those that its manifest names")
        if self._manifest:
            fsync(self._path)
            write_manifest(self._path, self._manifest)

    def remove_files(self) -> None:
        """Remove what was written. After a kill the store's next writer removes it."""
        for name in self._names:
            (self._path / name).unlink(missing_ok=True)


@contextmanager
def restore_store(path: Path) -> Iterator[StoreRestorer | None]:
    """Yield the restorer of a store; None where the store already holds events and stays.

    Files are written into the directory itself: it may be a volume, which cannot be renamed.

    Raises:
        IngestError: another process writes to the store, it cannot be written, or files are
            missing at the end.
    """
    with ExitStack() as stack:
        if not _holds_events(path):
            stack.enter_context(lock_directory(path, "the store"))
        if _holds_events(path):
            yield None
            return
        restorer = StoreRestorer(path)
        try:
            yield restorer
            restorer.publish()
        except BaseException:
            restorer.remove_files()
            raise


def _holds_events(path: Path) -> bool:
    manifest = read_manifest(path)
    return manifest is not None and bool(manifest.segment_names)
