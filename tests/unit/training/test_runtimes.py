import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.training.errors import TrainingError
from app.training.interactions import encode_interactions
from app.training.ranking.confidence import compute_confidence
from app.training.runtimes import read_lengths
from tests.support.params import make_params
from tests.unit.training.tables import ratings, watches

LENGTHS = {"a": 100.0, "b": 80.0}


def write(path: Path) -> Path:
    """Write two lengths, and movies of unknown length, in one of the accepted formats."""
    table = pl.DataFrame({"movie_id": ["a", "b", "c", "d"], "length": [100, 80, None, 0]})
    match path.name:
        case "f.parquet":
            table.write_parquet(path)
        case "f.csv":
            table.rename({"length": "runtime"}).write_csv(path)
        case "bare.csv":
            path.write_bytes(b'a,FALSE,"Crime, Drama",100,7,"Fran\xe7ais"\nb,FALSE,,80,,\nc,,,,,\n')
        case "map.json":
            movies = {"a": {"movie_length": 100}, "b": {"movie_length": "80"}, "c": {}}
            path.write_text(json.dumps(movies))
        case _:
            path.write_text(json.dumps([{"id": "a", "runtime": 100}, {"id": "b", "runtime": 80}]))
    return path


@pytest.mark.parametrize("name", ["f.parquet", "f.csv", "bare.csv", "map.json", "list.json"])
def test_lengths_are_read_from_each_format(tmp_path: Path, name: str) -> None:
    assert dict(read_lengths(write(tmp_path / name)).rows()) == LENGTHS


@pytest.mark.parametrize("file", ["movielog/movies.json", "cinematch/movies.csv"])
def test_lengths_of_real_movies_are_read(shared_data: Path, file: str) -> None:
    found = read_lengths(shared_data / file)
    assert len(found) > 6000
    assert found["length"].median() == pytest.approx(100, abs=10)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.parquet", None),
        ("f.parquet", b"no"),
        ("f.csv", b"movie_id,year\na,1999\n"),
        ("f.csv", b"a,b\n"),
        ("f.csv", b""),
        ("f.json", b"{"),
        ("f.json", b"3"),
        ("f.json", b'{"a": 3}'),
        ("f.json", b"[]"),
    ],
)
def test_any_other_content_is_an_error(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TrainingError, match=name):
        read_lengths(tmp_path / name)


def test_minutes_count_by_their_share_of_the_movie() -> None:
    lengths = pl.DataFrame({"movie_id": ["a", "b", "x"], "length": [120.0, 60.0, 5.0]})
    watched = watches((1, "a", 30, 0), (1, "b", 90, 0), (1, "c", 45, 0))
    data = encode_interactions(ratings((2, "a", 5, 0)), watched, lengths)
    # The first watched a quarter, more than all, and half of a movie of the median length.
    np.testing.assert_allclose(
        compute_confidence(data, make_params().confidence, (1, 5)), [0.25, 1, 0.5, 1]
    )
    assert data.describe()["lengths"] == 2


def test_other_lengths_change_the_data_hash() -> None:
    def digest(length: float) -> str:
        lengths = pl.DataFrame({"movie_id": ["a"], "length": [length]})
        found: str = encode_interactions(ratings((2, "a", 5, 0)), None, lengths).describe()[
            "data_hash"
        ]
        return found

    assert digest(100) == digest(100) != digest(90)


def test_without_any_known_length_minutes_count_as_without_lengths() -> None:
    watched = watches((1, "a", 30, 0))
    nothing = pl.DataFrame(schema={"movie_id": pl.String, "length": pl.Float32})
    with_none, without = (
        encode_interactions(None, watched, nothing),
        encode_interactions(None, watched),
    )
    found, expected = (
        compute_confidence(data, make_params().confidence, (1, 5)) for data in (with_none, without)
    )
    assert found.tolist() == expected.tolist()
