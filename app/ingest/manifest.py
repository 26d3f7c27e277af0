"""The store's manifest: which files are the store, and how far its sources were read."""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.atomic_files import write_file
from app.ingest.errors import EventsError

NAME = "manifest.json"
#: Buckets of a new store. Memory for merging is a bucket of each segment: with 64 it showed (100 MB
#: at 3 million pairs), with 128 it no longer does, and more make small commits larger and slower.
BUCKETS = 128

Table = Literal["watches", "ratings"]
TABLES: tuple[Table, Table] = ("watches", "ratings")


class Segment(BaseModel):
    """One immutable file, with a row group for each bucket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^(watches|ratings)-[0-9]+\.parquet$")
    rows: int = Field(ge=1)


class Manifest(BaseModel):
    """What the store is at one moment. Replaced by renaming, never changed in place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    buckets: int = Field(BUCKETS, ge=1, le=4096)
    sequence: int = Field(0, ge=0, description="Number of the newest file.")
    watches: tuple[Segment, ...] = ()
    ratings: tuple[Segment, ...] = ()
    positions: dict[str, Any] = Field(
        default_factory=dict,
        description="How far each source was read: whatever a collector wants kept with its data.",
    )

    def segments(self, table: Table) -> tuple[Segment, ...]:
        """The files of one table, oldest first."""
        return self.watches if table == "watches" else self.ratings

    @property
    def names(self) -> set[str]:
        """All files that belong to the store."""
        return {segment.name for segment in (*self.watches, *self.ratings)}


def read_manifest(store: Path) -> Manifest | None:
    """The manifest of a store; None where there is no store yet.

    Raises:
        EventsError: there is one that is not whole, or of another format.
    """
    path = store / NAME
    try:
        return Manifest.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        detail = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise EventsError(f"{path} is not the manifest of a store: {detail}") from error


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Make the manifest the store's, in one step that survives a power failure."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1)
    write_file(store / NAME, text.encode())
