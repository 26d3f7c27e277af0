import socket
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from app.atomic_files import replaced_file
from app.cli import marquee
from app.cli_errors import MarqueeError
from app.spark import cluster
from app.spark.cluster import connect, join_sums, sum_group, sum_in_order
from app.spark.errors import SparkError
from app.spark.files import load_array, save_array, scratch_directory
from tests.support.spark import SequentialCluster


def double(item: int) -> list[np.ndarray]:
    return [np.full((3, 2), item), np.arange(item, item + 5) / 2]


def fail(_: int) -> list[np.ndarray]:
    raise MarqueeError("the table is damaged")


def test_arrays_are_summed_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_SLICE", 4)
    squares, halves = SequentialCluster().sum("sum", double, [[1, 2], [3], [4, 5]])
    np.testing.assert_array_equal(squares, np.full((3, 2), 15))
    np.testing.assert_array_equal(halves, sum(double(item)[1] for item in range(1, 6)))


def test_an_expected_error_of_a_task_is_returned() -> None:
    ((key, (number, part)),) = sum_group(fail, (7, [1]))
    assert (key, number, part.message) == ((-1, 0), 7, "the table is damaged")
    assert sum_in_order([(7, part), (6, [(3,)])]) is part


def test_sums_are_joined_by_the_numbers_of_the_arrays() -> None:
    sums = {(-1, 0): [(2,), (1,)], (1, 0): np.ones(1), (0, 1): np.ones(1), (0, 0): np.zeros(1)}
    first, second = join_sums(sums)
    assert (first.tolist(), second.tolist()) == ([0, 1], [1])


@pytest.mark.parametrize("command", ["prepare", "train"])
def test_without_pyspark_the_error_says_how_to_install_it(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark", None)
    monkeypatch.setitem(sys.modules, "pyspark.ml.recommendation", None)
    source = "--store" if command == "prepare" else "--ratings"
    arguments = [command, source, str(tmp_path), "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(marquee, [*arguments, "--engine", "spark", "--master", "local"])
    assert found.exit_code == 1
    assert "make spark" in found.stderr
    assert "requirements/spark.txt" in found.stderr


def test_without_java_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "load_session_types", lambda: (object, OSError))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SparkError, match="Java"), connect("local", "test"):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--master", "local"], "--master is for --engine spark"),
        (["--engine", "spark"], "needs --master URL"),
    ],
)
def test_options_that_do_not_fit(options: list[str], message: str) -> None:
    found = CliRunner().invoke(marquee, ["train", "--ratings", "r", "--out", "o", *options])
    assert found.exit_code == 2
    assert message in found.stderr


def test_workers_get_all_modules_of_the_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(cluster._pack_code(tmp_path)) as archive:
        names = archive.namelist()
    assert {"app/__init__.py", "app/training/spark/blocks.py", "app/ingest/prepare.py"} <= set(
        names
    )
    assert all(name.endswith(".py") for name in names)


def test_a_file_is_complete_or_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replaced_file(tmp_path / "a.parquet") as path:
        path.write_text("begun")
        assert path.name.startswith(".")
        raise RuntimeError
    assert not list(tmp_path.iterdir())
    save_array(tmp_path / "a.npy", np.arange(4)[::2])
    assert load_array(tmp_path / "a.npy").tolist() == [0, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_scratch_directories_of_killed_processes_are_removed(tmp_path: Path) -> None:
    host = socket.gethostname()
    left_over = tmp_path / f"spark-model-{host}-999999999-x"
    others = {f"spark-other-{host}-999999999-x", f"spark-model-another-{host}-999999999-x",
              f"spark-model-{host}-7-999999999-x"}  # fmt: skip
    for name in (left_over.name, *others):
        (tmp_path / name).mkdir()
    with scratch_directory(tmp_path / "model") as directory:
        assert directory.parent == tmp_path
        assert not left_over.exists()
    assert {path.name for path in tmp_path.iterdir()} == others
