import gzip
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


def test_ids_of_lengths_have_one_spelling(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("id,runtime\nm%C3%A9+2000,100\nb,80\n")
    assert dict(read_lengths(tmp_path / "movies.csv").rows()) == {"m%c3%a9+2000": 100, "b": 80}


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


@pytest.mark.parametrize(
    "text",
    [
        "rank;Runtime (minutes);Movie ID\n1;100;a\n2;80;b\n",
        "movieId\tid\tlength\na\t1\t100\nb\t2\t80\n",
        '# exported\nlength,"item_id:token",title\n100,a,"x, y"\n80,b,"a\nb"\n',
        "a::x::1999::100\nb::y::2000::80\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gzip"])
def test_columns_of_movies_are_recognised_by_name(tmp_path: Path, text: str, encoding: str) -> None:
    content = gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding)
    (tmp_path / "movies.dat").write_bytes(content)
    assert dict(read_lengths(tmp_path / "movies.dat").rows()) == LENGTHS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("movieId,title,genres,year\na,x,y,1999\nb,x,y,2000\n", "no column length"),
        ("name,title,genres,year\na,x,y,1999\nb,x,y,2000\n", "'year' is no length"),
        ("a,x,y,1999\nb,x,y,2000\n", "median length is 1999.5"),
        ("movie_id,length\na,6000\nb,4800\n", "median length is 5400"),
        ("movie_id,runtime\na,1h40\nb,1h20\n", "not numbers of minutes"),
        ("movie_id,runtime,length\na,100,1\n", "could both be the length"),
        ("<html>not found", "HTML"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_a_column_that_is_no_length_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "movies.csv").write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_lengths(tmp_path / "movies.csv")


def test_the_content_decides_how_movies_are_read(tmp_path: Path) -> None:
    for name, other in (("f.parquet", "f.csv"), ("map.json", "f.txt"), ("f.csv", "f.PARQUET")):
        write(tmp_path / name).rename(tmp_path / other)
        assert dict(read_lengths(tmp_path / other).rows()) == LENGTHS


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
