"""Arrays as files that several tasks may write at the same time, and their directory."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.atomic_files import make_directory, replaced_file


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as `.npy`, by rename."""
    with replaced_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)


def load_array(path: Path) -> NDArray[Any]:
    """Map an array that `save_array` wrote into memory, to be read."""
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


@contextmanager
def scratch_directory(target: Path, parent: Path | None = None) -> Iterator[Path]:
    """Yield a new directory for the work on `target`, which is removed at the end of the block.

    The directory of a killed process is removed by the next one on the same machine with the same
    target; whether a process of another machine still runs cannot be seen.

    Args:
        target: what is made with the help of the directory.
        parent: where the directory is made; None: next to `target`.
    """
    parent = (parent or target.parent).resolve()
    parent.mkdir(parents=True, exist_ok=True)
    directory = make_directory(parent, f"spark-{target.name}-{socket.gethostname()}-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
