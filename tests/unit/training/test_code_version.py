from pathlib import Path

import pytest

from app.training.code_version import describe_code, read_version
from app.training.errors import TrainingError


def test_the_version_is_the_number_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "version.txt").write_text("12\n")
    assert read_version(tmp_path / "version.txt") == 12


def test_without_a_file_it_is_version_0(tmp_path: Path) -> None:
    assert read_version(tmp_path / "version.txt") == 0


@pytest.mark.parametrize("content", [b"", b"1.2", b"-1", b"v1", "٣".encode(), b"\xff"])
def test_anything_but_a_number_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "version.txt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"version\.txt"):
        read_version(tmp_path / "version.txt")


def test_the_description_names_the_libraries() -> None:
    assert {"commit", "dirty", "python", "numpy", "scikit-surprise"} <= set(describe_code())


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = describe_code()
    assert (found["commit"], found["dirty"]) == (None, None)
