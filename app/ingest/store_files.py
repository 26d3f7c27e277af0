"""The files of an event store: the manifest, the lock, and how readers open one version of it.

A store is a directory of immutable Parquet files (segments), a `manifest.json` that names them, and
a lock file for its only writer. Renaming a new manifest into place is the commit.

This module imports no table library: the image that makes backups has none.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from app.atomic_files import write_file
from app.ingest.errors import IngestError
from app.locks import LockHeldError, exclusive_lock
from app.text_files import parse_json

#: Format of a store. A program writes to no store of another format, and reads none.
STORE_FORMAT = 1
MANIFEST_NAME = "manifest.json"
LOCK_NAME = "lock"
#: Buckets of a new store. Merging holds one bucket of each segment in memory: 64 buckets cost
#: 100 MB at 3 million pairs, 128 cost nothing measurable; more slow down small commits.
DEFAULT_BUCKETS = 128
_MAX_OPEN_ATTEMPTS = 20

Table = Literal["watches", "ratings"]
TABLES: tuple[Table, Table] = ("watches", "ratings")
_File = TypeVar("_File")


class Segment(BaseModel):
    """An immutable Parquet file with one row group per bucket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^(watches|ratings)-[0-9]+\.parquet$")
    rows: int = Field(ge=1)


class Manifest(BaseModel):
    """The contents of a store at one moment. Replaced by renaming, never changed in place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    buckets: int = Field(DEFAULT_BUCKETS, ge=1, le=4096)
    sequence: int = Field(0, ge=0, description="Number of the newest segment.")
    watches: tuple[Segment, ...] = ()
    ratings: tuple[Segment, ...] = ()
    offsets: dict[str, Any] = Field(
        default_factory=dict,
        description="Where to continue reading each source, as its reader wrote it.",
    )

    def segments(self, table: Table) -> tuple[Segment, ...]:
        """Return the segments of one table, oldest first."""
        return self.watches if table == "watches" else self.ratings

    @property
    def segment_names(self) -> set[str]:
        """File names of all segments."""
        return {segment.name for segment in (*self.watches, *self.ratings)}

    def to_json(self) -> bytes:
        """Return the content of `manifest.json`."""
        return json.dumps(self.model_dump(mode="json"), indent=1).encode()


def read_manifest(store: Path) -> Manifest | None:
    """Read the manifest of a store; None where there is no store yet.

    Raises:
        IngestError: the manifest is damaged or has another format.
    """
    path = store / MANIFEST_NAME
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise IngestError(f"{path} is not the manifest of a store: {error}") from error


def parse_manifest(content: bytes, name: str) -> Manifest:
    """Parse the manifest of a store.

    Args:
        content: of `manifest.json`.
        name: of the file, for messages.

    Raises:
        IngestError: the manifest is damaged or has another format.
    """
    try:
        parsed = parse_json(content)
        number = parsed.get("format", STORE_FORMAT) if isinstance(parsed, dict) else STORE_FORMAT
        if number != STORE_FORMAT:
            raise IngestError(
                f"{name}: a store of format {number!r}; this program reads and writes format "
                f"{STORE_FORMAT}, and changes nothing: run the version that has written it"
            )
        return Manifest.model_validate(parsed)
    except ValueError as error:
        detail = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise IngestError(f"{name} is not the manifest of a store: {detail}") from error


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Replace the manifest of a store atomically and durably."""
    write_file(store / MANIFEST_NAME, manifest.to_json())


@contextmanager
def lock_directory(directory: Path, description: str) -> Iterator[None]:
    """Hold the write lock of a directory, which is created where it is missing.

    Args:
        directory: the store, or another directory with one writer at a time.
        description: its name in error messages, such as "the store".

    Raises:
        IngestError: another process holds the lock (the message names it and its start), or the
            directory cannot be created.
    """
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive_lock(directory / LOCK_NAME))
        except LockHeldError as error:
            message = f"{description} {directory} is being written by {error.owner}"
            raise IngestError(message) from error
        except OSError as error:
            raise IngestError(
                f"cannot write {description} {directory}: {error.strerror}"
            ) from error
        yield


@contextmanager
def open_segments(
    store: Path, open_file: Callable[[Path], AbstractContextManager[_File]]
) -> Iterator[tuple[Manifest | None, dict[str, _File]]]:
    """Open all segments that the current manifest names; yield both, files by segment name.

    Open segments stay readable while a writer replaces them. A segment that a writer removes
    before it is opened makes the attempt start again with the newer manifest. Without a store the
    manifest is None and there are no files.

    Raises:
        IngestError: the manifest is damaged or a segment is missing.
    """
    with ExitStack() as stack:
        try:
            manifest, files = _open_current(store, open_file, stack)
        except FileNotFoundError as error:
            raise IngestError(f"the store {store} lacks a file: {error}") from error
        yield manifest, files


@retry(
    retry=retry_if_exception_type(FileNotFoundError),
    stop=stop_after_attempt(_MAX_OPEN_ATTEMPTS),
    reraise=True,
)
def _open_current(
    store: Path, open_file: Callable[[Path], AbstractContextManager[_File]], stack: ExitStack
) -> tuple[Manifest | None, dict[str, _File]]:
    stack.close()  # files of the failed attempt
    manifest = read_manifest(store)
    names = sorted(manifest.segment_names) if manifest else []
    return manifest, {name: stack.enter_context(open_file(store / name)) for name in names}
