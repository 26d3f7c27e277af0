import errno
import os
from pathlib import Path

import numpy as np
import pytest

from app.training import mapped_arrays
from app.training.mapped_arrays import MappedArrays


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(mapped_arrays, "_MIN_BYTES", 1000)
    return tmp_path / "made" / "by it"


def test_a_large_array_is_a_file_without_a_name(directory: Path) -> None:
    array = MappedArrays(directory)((500, 3), np.float32)
    array[:] = np.arange(1500).reshape(500, 3)
    assert array.sum() == 1500 * 1499 / 2
    mappings = Path("/proc/self/maps").read_text(encoding="utf-8")
    assert f"{directory}/" in mappings
    assert not list(directory.iterdir())
    del array
    assert f"{directory}/" not in Path("/proc/self/maps").read_text(encoding="utf-8")


def test_small_and_empty_arrays_are_in_memory(directory: Path) -> None:
    create_array = MappedArrays(directory)
    assert create_array(249, np.float32).shape == (249,)
    assert create_array((0, 4), np.float32).shape == (0, 4)
    assert not directory.exists()


def test_a_full_disk_is_an_error_and_does_not_end_the_process(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(OSError, match="No space left"):
        MappedArrays(directory)(5000, np.float32)
