"""Preparation and training on a Spark cluster of two workers, beside one machine.

Quality on the splits of the quality bench: `python -m bench.training.spark --quality`.
"""

import json
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.model.artifact import open_artifact
from app.model.recommendation_lists import RecommendationLists
from app.model.verify import verify_model
from bench.training import events
from tests.conftest import ROOT
from tests.support.commands import summary_of
from tests.support.retraining import RetrainingEnvironment, create_log, create_origin
from tests.support.service import serving
from tests.support.spark import StandaloneCluster
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
CHARACTERS = " abcxyz+19/=,.%\N{GREEK SMALL LETTER ALPHA}"


def run_json(spark: StandaloneCluster, *arguments: object) -> dict[str, Any]:
    done = spark.run_marquee(*arguments)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def read_files(directory: Path) -> dict[str, bytes]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def damage_log(seed: int, directory: Path) -> list[Path]:
    """Write a log in two files: one line in twenty is damaged, and some lines occur twice."""
    random = Random(seed)
    lines = []
    for line in create_log(seed, 12, noise=True):
        at = random.randrange(len(line))
        damaged = line[:at] + random.choice(CHARACTERS) + line[at:]
        lines.append(damaged if random.random() < 0.05 else line)
    lines += random.sample(lines, len(lines) // 10)
    random.shuffle(lines)
    paths = [directory / "first.log", directory / "second.log"]
    for path, part in zip(paths, (lines[::2], lines[1::2]), strict=True):
        path.write_text("\n".join(part) + "\n")
    return paths


@pytest.fixture(scope="module", params=["shared", "generated-1", "generated-2"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An event store of real input data, or of generated logs with damage."""
    directory = tmp_path_factory.mktemp("store")
    store = directory / "store"
    if request.param == "shared":
        data: Path = request.getfixturevalue("shared_data")
        summary_of("collect", "--file", data / "movielog/stream.log", "--store", store)
        for name in ("cinematch", "ml-latest-small"):
            summary_of("import-ratings", data / name / "ratings.csv", "--store", store)
    else:
        for path in damage_log(int(request.param[-1]), directory):
            summary = summary_of("collect", "--file", path, "--store", store)
            assert summary["rejected"], summary
    return store


def test_prepared_tables_are_those_of_one_machine(
    spark: StandaloneCluster, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "window.json").write_text(
        '{"test_share": 0.1, "excluded": [{"after": "2022-11-03T00:00", '
        '"until": "2022-11-04T12:00"}]}'
    )
    arguments = ("prepare", "--store", store, "--window", tmp_path / "window.json", "--out")
    expected = summary_of(*arguments, tmp_path / "one")
    assert expected["train"]["watches"] > 1000
    assert expected["repaired"] + expected["dropped"] > 0
    assert run_json(spark, *arguments, tmp_path / "spark") == expected
    for path in sorted((tmp_path / "one").rglob("*.parquet")):
        other = tmp_path / "spark" / path.relative_to(tmp_path / "one")
        assert pl.read_parquet(other).equals(pl.read_parquet(path)), path  # row by row
    assert read_files(tmp_path / "spark") == read_files(tmp_path / "one")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of 300,000 events, enough for several blocks."""
    directory = tmp_path_factory.mktemp("tables")
    events.write(directory, 300_000, 20_000, 2_000)
    return directory


@pytest.fixture(scope="module")
def trained(
    spark: StandaloneCluster, tables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A model that was trained on the cluster."""
    model = tmp_path_factory.mktemp("trained") / "model"
    run_json(spark, "train", "--tables", tables, "--out", model)
    return model


def test_a_model_is_verified_and_served(trained: Path, tables: Path, tmp_path: Path) -> None:
    manifests = verify_model(trained)
    code = manifests["lists"].code
    assert (code["engine"], code["pyspark"][:2]) == ("spark", "4.")
    expected = tmp_path / "one"
    summary = summary_of("train", "--tables", tables, "--out", expected)
    assert manifests["lists"].data == summary["data"]
    assert manifests["lists"].metrics["svd"] == pytest.approx(summary["metrics"]["svd"])
    names = {name: set(artifact.arrays) for name, artifact in open_both(trained).items()}
    assert names == {name: set(artifact.arrays) for name, artifact in open_both(expected).items()}
    user_id = int(RecommendationLists.open(trained).user_ids[0])
    with serving(trained, tmp_path) as service:
        answer = service.get(f"/recommend/{user_id}")
        assert (answer.status_code, answer.text.count(",")) == (200, 19)
        assert answer.headers["X-Recommendation-Source"] == "personal"


def open_both(model: Path) -> dict[str, Any]:
    return {name: open_artifact(model / name, name) for name in ("lists", "factors")}


def test_a_worker_killed_in_mid_training_changes_nothing(
    spark: StandaloneCluster, trained: Path, tables: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    log = tmp_path / "training.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            spark.command("train", "--tables", tables, "--out", model),
            cwd=ROOT, env=spark.environment, stdout=subprocess.DEVNULL, stderr=output,
        )  # fmt: skip
        # MLlib has begun and is far from its end.
        begun = "spark-model-*/checkpoints/*/*"
        eventually(
            lambda: process.poll() is not None or list(tmp_path.glob(begun)), 1200, log.read_text
        )
        assert process.poll() is None, log.read_text()
        spark.kill_worker()
        assert process.wait(1500) == 0, log.read_text()
    spark.start_worker()
    assert "ExecutorLost" in log.read_text() or "Lost executor" in log.read_text()
    found, expected = open_both(model), open_both(trained)
    for name in ("als_users", "als_movies"):
        np.testing.assert_allclose(
            found["factors"].arrays[name], expected["factors"].arrays[name], atol=1e-3
        )
    same = found["lists"].arrays["lists"] == expected["lists"].arrays["lists"]
    assert same.mean() > 0.999
    assert found["lists"].manifest.data == expected["lists"].manifest.data


def test_a_damaged_table_is_an_error_in_one_line(spark: StandaloneCluster, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating\n1,a+1999,4\n")
    done = spark.run_marquee(
        "train", "--ratings", tmp_path / "ratings.csv", "--out", tmp_path / "model"
    )
    assert done.returncode == 1
    assert "Error: the engine Spark reads Parquet only" in done.stderr.splitlines()[-1]


def test_a_retraining_on_the_cluster_publishes_a_version(
    spark: StandaloneCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in spark.environment.items():
        monkeypatch.setenv(name, value)
    environment = RetrainingEnvironment(tmp_path)
    environment.settings |= {"ENGINE": "spark", "SPARK_MASTER": spark.url}
    create_origin(tmp_path)
    environment.collect(20)
    done = environment.run_marquee("retrain", "--json", timeout_seconds=2400)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["status"], result["version"]) == ("published", 2), result
    assert environment.tagged_versions() == [2]
    manifest = environment.workspace.glob("**/model/lists/manifest.json")
    assert [json.loads(path.read_bytes())["code"]["engine"] for path in manifest] == ["spark"]
