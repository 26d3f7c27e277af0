"""Every defect of a model directory that `docs/artifact.md` lists is refused."""

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.atomic_files import write_file
from app.model.artifact import ModelMetadata, open_artifact, write_manifest
from app.model.manifest import ArtifactError, Manifest
from app.model.recommendation_lists import RecommendationLists, pack_movie_ids
from app.model.verify import verify_model
from tests.conftest import MOVIES, ROOT
from tests.support.recent import add_recent_parts, write_recent_manifest

Tamper = Callable[[Path], object]


def manifest(change: Callable[[dict[str, Any]], object]) -> Tamper:
    def tamper(lists: Path) -> None:
        path = lists / "manifest.json"
        content = json.loads(path.read_bytes())
        change(content)
        path.write_text(json.dumps(content))

    return tamper


def array(name: str, change: Callable[[Any], Any]) -> Tamper:
    """Change an array and write a new manifest, as a defective training program would."""

    def tamper(lists: Path) -> None:
        path = lists / f"{name}.npy"
        np.save(path, change(np.load(path) if path.exists() else None))
        rewrite_manifest(lists)

    return tamper


def rewrite_manifest(lists: Path) -> None:
    metadata = ModelMetadata(version=3, parameters={}, metrics={}, data={"hash": "d"}, code={})
    write_manifest(lists, "lists", users=4, movies=60, metadata=metadata)


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def without_popular(lists: Path) -> None:
    (lists / "popular.npy").unlink()
    rewrite_manifest(lists)


def replace_by_link(lists: Path) -> None:
    (lists / "users.npy").rename(lists.parent.parent / "elsewhere.npy")
    (lists / "users.npy").symlink_to(lists.parent.parent / "elsewhere.npy")


def object_array(lists: Path) -> None:
    np.save(lists / "users.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    resize_entry(lists, "users.npy")


def plain_pickle(lists: Path) -> None:
    (lists / "users.npy").write_bytes(pickle.dumps([1, 2, 3]))
    resize_entry(lists, "users.npy")


def resize_entry(lists: Path, name: str) -> None:
    """Make size and checksum valid, so that only the content is wrong."""
    content = json.loads((lists / "manifest.json").read_bytes())
    content.pop("checksum")
    content["files"][name]["bytes"] = (lists / name).stat().st_size
    write_file(lists / "manifest.json", Manifest.model_validate(content).to_json())


def link_manifest(lists: Path) -> None:
    (lists / "manifest.json").rename(lists.parent.parent / "elsewhere.json")
    (lists / "manifest.json").symlink_to(lists.parent.parent / "elsewhere.json")


def make_fifo(lists: Path) -> None:
    (lists / "manifest.json").unlink()
    os.mkfifo(lists / "manifest.json")


def movie_ids(change: Callable[[list[str]], list[str]]) -> Tamper:
    return array("movies", lambda _: pack_movie_ids(change(list(MOVIES))))


def put(number: int) -> Callable[[Any], Any]:
    """Return a change that replaces the first movie of the first list."""

    def change(lists: Any) -> Any:
        lists.flat[0] = number
        return lists

    return change


def recent(name: str, change: Callable[[Any], Any]) -> Tamper:
    """Add the parts for recent events, and change one of them."""

    def tamper(lists: Path) -> None:
        add_recent_parts(lists.parent)
        np.save(lists / f"{name}.npy", change(np.load(lists / f"{name}.npy")))
        write_recent_manifest(lists)

    return tamper


def without_related(lists: Path) -> None:
    add_recent_parts(lists.parent)
    (lists / "related_movies.npy").unlink()
    write_recent_manifest(lists)


def without_recent_parameters(lists: Path) -> None:
    add_recent_parts(lists.parent)
    write_recent_manifest(lists, recent=None)


#: Defect -> (how to cause it, error message). Refused when opened.
WHEN_OPENED: dict[str, tuple[Tamper, str]] = {
    "no manifest": (lambda d: (d / "manifest.json").unlink(), "manifest.json: cannot be read"),
    "manifest is not JSON": (
        lambda d: (d / "manifest.json").write_text("{"),
        "manifest.json: line 1: not JSON",
    ),
    "manifest is not an object": (
        lambda d: (d / "manifest.json").write_text("[]"),
        "manifest.json: not a JSON object",
    ),
    "manifest too large": (
        lambda d: (d / "manifest.json").write_text(" " * 1_000_001),
        "larger than 1000000 bytes",
    ),
    "unknown format": (manifest(lambda m: m.update(format=3)), "format 3; this program reads"),
    "wrong kind": (manifest(lambda m: m.update(kind="factors")), "kind 'factors', expected"),
    "field missing": (manifest(lambda m: m.pop("version")), "version: Field required"),
    "unknown field": (manifest(lambda m: m.update(extra=1)), "extra: Extra inputs"),
    "file outside the directory": (
        manifest(lambda m: m["files"].update({"../x.npy": m["files"]["users.npy"]})),
        "not a name for an array file",
    ),
    "version edited": (manifest(lambda m: m.update(version=4)), "checksum mismatch"),
    "metrics edited": (manifest(lambda m: m.update(metrics={"rmse": 0})), "checksum mismatch"),
    "file missing": (lambda d: (d / "users.npy").unlink(), "users.npy: missing, or not"),
    "file is a symbolic link": (replace_by_link, "users.npy: missing, or not a regular file"),
    "unlisted file": (lambda d: (d / "model.pkl").touch(), "model.pkl: a file that the manifest"),
    "file truncated": (
        lambda d: (d / "lists.npy").write_bytes((d / "lists.npy").read_bytes()[:-2]),
        "bytes, expected",
    ),
    "pickled objects in an array": (object_array, "not a plain array (pickles are refused)"),
    "pickle named like an array": (plain_pickle, "not a plain array (pickles are refused)"),
    "array missing": (
        without_popular,
        "popular.npy: missing from the manifest",
    ),
    "unknown array": (
        array("more", lambda _: np.zeros(1)),
        "more.npy: not part of a lists artifact",
    ),
    "wrong type": (array("users", lambda a: a.astype(float)), "users.npy: wrong type"),
    "wrong dimensions": (array("lists", lambda a: a.ravel()), "lists.npy: wrong type or number"),
    "fewer users": (
        array("users", lambda a: a[:-1]),
        "users.npy, lists.npy: number of rows differs",
    ),
    "fewer movies": (array("popular", lambda a: a[:-1]), "popular.npy: number of rows differs"),
    "fewer movie ids": (array("movies", lambda a: a[:-30]), "movies.npy: number of movie ids"),
    "segment arrays of different length": (
        array("segment_of", lambda a: a[:-1]),
        "different lengths",
    ),
    "empty lists": (array("lists", lambda a: a[:, :0]), "lists of no movies"),
    "some parts for recent events missing": (
        without_related,
        "related_movies.npy: missing from the manifest",
    ),
    "part for recent events of the wrong shape": (
        recent("list_scores", lambda a: a[:, :-1]),
        "list_scores.npy: [4, 49], expected [4, 50]",
    ),
    "movie numbers of another type": (
        recent("seen_movies", lambda a: a.astype(np.uint32)),
        "seen_movies.npy: wrong type of movie numbers",
    ),
    "no parameters for recent events": (
        without_recent_parameters,
        "manifest: no parameters for recent events",
    ),
    "manifest is a symbolic link": (link_manifest, "manifest.json: not a regular file"),
    "manifest is a FIFO": (make_fifo, "manifest.json: not a regular file"),
    "creation time is not a time": (
        manifest(lambda m: m.update(created="yesterday")),
        "created: Value error, Invalid isoformat string: 'yesterday'",
    ),
    "empty movie id": (movie_ids(lambda ids: ["", *ids[1:]]), "not a movie id: ''"),
    "movie id with a comma": (movie_ids(lambda ids: ["a,b", *ids[1:]]), "not a movie id: 'a,b'"),
    "movie id with a control character": (
        movie_ids(lambda ids: ["a\x1b[2J", *ids[1:]]),
        r"not a movie id: 'a\x1b[2J'",
    ),
    "movie id twice": (movie_ids(lambda ids: [ids[1], *ids[1:]]), "a movie id occurs twice"),
    "movie ids are not UTF-8": (
        array("movies", lambda a: np.concatenate([[np.uint8(0xFF)], a])),
        "movies.npy: not UTF-8",
    ),
}

#: Refused only by `marquee verify`.
WHEN_VERIFIED: dict[str, tuple[Tamper, str]] = {
    "flipped bit": (
        lambda d: flip_last_byte(d / "lists.npy"),
        "lists.npy: SHA-256 does not match the manifest",
    ),
    "movie number out of range": (
        array("lists", lambda a: a + 60),
        "lists.npy: a movie number out of range",
    ),
    "movie after the end of a list": (
        array("lists", put(60)),
        "lists.npy: a movie after the end of a list",
    ),
    "movie twice in a list": (
        array("lists", put(2)),
        "lists.npy: a movie occurs twice in a list",
    ),
    "movie twice in the list of a segment": (
        array("segment_popular", put(12)),
        "segment_popular.npy: a movie occurs twice in a list",
    ),
    "movie twice among the popular ones": (
        array("popular", put(58)),
        "popular.npy: a movie occurs twice in a list",
    ),
    "user ids not ascending": (
        array("users", lambda a: a[::-1]),
        "users.npy: user ids not ascending",
    ),
    "segment number out of range": (
        array("segment_of", lambda a: a + 1),
        "a segment number out of range",
    ),
    "movie twice among the related ones": (
        recent("related_movies", put(2)),
        "related_movies.npy: a movie occurs twice in a list",
    ),
    "score or weight that is not a number": (
        recent("related_weights", lambda a: a * np.float32(np.nan)),
        "related_weights.npy: not a finite number",
    ),
    "seen movies beyond the end": (
        recent("seen_start", lambda a: a + (a > 0)),
        "seen_start.npy: not ascending from 0 to the number of pairs",
    ),
    "seen movies not ascending": (
        recent("seen_movies", lambda a: a[::-1]),
        "seen_movies.npy: movie numbers of a user not ascending",
    ),
    "seen movie out of range": (
        recent("seen_movies", lambda a: a + 1),
        "seen_movies.npy: a movie number out of range",
    ),
    "unknown directory": (
        lambda d: (d.parent / "backup").mkdir(),
        "backup: not part of a model directory",
    ),
    "factors of another model": (
        lambda d: (d.parent / "factors").mkdir(),
        "factors/manifest.json: cannot be read",
    ),
}


@pytest.mark.parametrize("name", WHEN_OPENED)
def test_open_refuses_a_defective_model(model: Path, name: str) -> None:
    tamper, message = WHEN_OPENED[name]
    tamper(model / "lists")
    with pytest.raises(ArtifactError, match=re.escape(message)):
        RecommendationLists.open(model)


@pytest.mark.parametrize("name", [*WHEN_OPENED, *WHEN_VERIFIED])
def test_verify_refuses_a_defective_model(model: Path, name: str) -> None:
    tamper, message = {**WHEN_OPENED, **WHEN_VERIFIED}[name]
    tamper(model / "lists")
    with pytest.raises(ArtifactError, match=re.escape(message)):
        verify_model(model)


def test_verify_refuses_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such model directory"):
        verify_model(tmp_path / "none")


def test_verify_accepts_an_unchanged_model(shared_model: Path) -> None:
    assert verify_model(shared_model)["lists"].version == 3


def test_open_does_not_read_whole_arrays(model: Path) -> None:
    flip_last_byte(model / "lists" / "lists.npy")
    assert open_artifact(model / "lists", "lists").manifest.users == 4


def test_the_documentation_lists_every_defect() -> None:
    page = (ROOT / "docs" / "artifact.md").read_text()
    for name in (*WHEN_OPENED, *WHEN_VERIFIED):
        assert f"| {name} |" in page


def test_the_model_hash_depends_on_the_parameters_and_the_data(model: Path) -> None:
    hashes = {
        write_manifest(
            model / "lists", "lists", 4, 60, ModelMetadata(version, parameters, {}, data, {})
        ).model_hash
        for version, parameters, data in (
            (1, {"rating_scale": [1, 5]}, {"data_hash": "a"}),
            (2, {"rating_scale": [1, 5]}, {"data_hash": "a"}),  # another number only
            (1, {"rating_scale": [1, 10]}, {"data_hash": "a"}),
            (1, {"rating_scale": [1, 5]}, {"data_hash": "b"}),
        )
    }
    assert len(hashes) == 3
