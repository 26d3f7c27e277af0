"""A store as it is now, copied: what a version is made from."""

import shutil
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import polars as pl

from app.atomic_files import staged_directory
from app.ingest.errors import EventsError
from app.ingest.manifest import NAME, read_manifest, write_manifest
from app.ingest.metadata_files import FOLDER, copy_attributes
from app.ingest.transfer import open_files


def copy_store(store: Path, out: Path) -> None:
    """Copy a store to `out`, which it replaces; how far its sources were read is left out.

    So two copies differ only when their events do, or the way these lie in files.

    Raises:
        EventsError: there is no store, or it cannot be read.
    """
    with ExitStack() as stack:
        files = open_files(store, stack)
        if not files:
            raise EventsError(f"no store at {store}: nothing was collected yet")
        with staged_directory(out) as staged:
            for file in files:
                with (staged / Path(file.name).name).open("wb") as target:
                    shutil.copyfileobj(file, target)
            manifest = read_manifest(staged)
            assert manifest is not None  # noqa: S101 - it was copied
            (staged / NAME).unlink()
            write_manifest(staged, manifest.model_copy(update={"positions": {}}))
            (staged / FOLDER).mkdir()
            copy_attributes(store, staged / FOLDER, [])


def count_newer(store: Path, moment: datetime) -> int:
    """How many rows of a store are about a later moment, about: a pair may be counted twice."""
    manifest = read_manifest(store)
    total = 0
    for name in () if manifest is None else manifest.names:
        time = "time" if name.startswith("ratings") else "first_time"
        rows = pl.scan_parquet(store / name).filter(pl.col(time) > moment)
        total += int(rows.select(pl.len()).collect().item())
    return total
