"""A store as its files, for who carries it elsewhere whole and never looks into one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from app.atomic_files import fsync
from app.ingest.errors import EventsError
from app.ingest.manifest import NAME, Manifest, read_manifest, write_manifest
from app.ingest.directory_lock import locked

_ATTEMPTS = 20


def open_files(path: Path, stack: ExitStack) -> list[IO[bytes]]:
    """The files of one moment of a store, opened, so that a writer may go on; none: no store.

    The manifest is the last of them.

    Raises:
        EventsError: the store is damaged, or changes faster than its files can be opened.
    """
    for _ in range(_ATTEMPTS):
        manifest = read_manifest(path)
        names = [] if manifest is None else [*sorted(manifest.names), NAME]
        try:
            files: list[IO[bytes]] = [stack.enter_context((path / n).open("rb")) for n in names]
        except FileNotFoundError:  # merged away since: look again
            continue
        if read_manifest(path) == manifest:
            return files
    raise EventsError(f"the store {path} lacks a file, or changes faster than it can be read")


class Incoming:
    """Files that become a store once all are there; made by `incoming`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: set[str] = set()
        self._manifest: Manifest | None = None

    def take(self, name: str, content: IO[bytes]) -> None:
        """Write one file of the store; the manifest is kept for the end.

        Raises:
            EventsError: no store has a file of that name.
        """
        if name == NAME:
            self._manifest = Manifest.model_validate_json(content.read())
            return
        if Path(name).name != name or not name.endswith(".parquet"):
            raise EventsError(f"not a file of a store: {name}")
        self._names.add(name)
        with (self._path / name).open("wb") as target:
            shutil.copyfileobj(content, target)
            target.flush()
            os.fsync(target.fileno())

    def publish(self) -> None:
        """Make them the store, in one step.

        Raises:
            EventsError: they are not those that the manifest names.
        """
        if self._names != (self._manifest.names if self._manifest else set()):
            raise EventsError("the files of the store are not those that its manifest names")
        if self._manifest:
            fsync(self._path)
            write_manifest(self._path, self._manifest)

    def remove(self) -> None:
        """Leave nothing behind; after a kill, the store's next writer does."""
        for name in self._names:
            (self._path / name).unlink(missing_ok=True)


@contextmanager
def incoming(path: Path) -> Iterator[Incoming | None]:
    """Yield what takes a store's files; None where a store holds events already, which it keeps.

    They come into the directory itself, which may be a volume and so cannot be exchanged.

    Raises:
        EventsError: another process writes there, it cannot be written, or files are missing.
    """
    with ExitStack() as stack:
        if not _holds_events(path):
            stack.enter_context(locked(path, "the store"))
        if _holds_events(path):
            yield None
            return
        files = Incoming(path)
        try:
            yield files
            files.publish()
        except BaseException:
            files.remove()
            raise


def _holds_events(path: Path) -> bool:
    manifest = read_manifest(path)
    return manifest is not None and bool(manifest.names)
