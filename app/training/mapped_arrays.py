"""Arrays in files without a name, so that the system can move them from memory to the disk."""

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: Smaller arrays are in memory.
_MIN_BYTES = 16_000_000


class CreateArray(Protocol):
    """Creates an array to be written to, as `np.empty` does."""

    def __call__(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any content."""
        ...


class MappedArrays:
    """Creates arrays, the large ones as mapped files.

    When memory is short, the system writes their pages to the disk and reads them when they are
    used. The files have no name: their space is free when the array is, or its process is killed.

    Args:
        directory: where the files are, created if missing; not on a file system in memory.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of any content.

        Raises:
            OSError: the file cannot be created, or the disk is full.
        """
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if size < _MIN_BYTES:
            return np.empty(shape, dtype)
        self._directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self._directory) as file:
            # Without reserved space, a full disk would end the process when it writes to a page.
            os.posix_fallocate(file.fileno(), 0, size)
            return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)
