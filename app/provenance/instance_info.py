"""What the database must know of an instance before its records: version, build, movies, hidden."""

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

from app.atomic_files import write_file
from app.model.manifest import Manifest
from app.model.recommendation_lists import RecommendationLists
from app.provenance.record_format import SegmentHeader, add_format, encode_info
from app.provenance.spool_writer import INSTANCE_INFO_SUFFIX
from app.settings import Settings


def segment_header(settings: Settings, manifest: Manifest) -> SegmentHeader:
    """The fields that are equal in all records of this process."""
    return SegmentHeader(
        settings.slot,
        manifest.version,
        _build_id(settings, manifest),
        _configuration_row(settings, manifest)["configuration_id"],
    )


def describe_instance(settings: Settings, lists: RecommendationLists) -> dict[str, Any]:
    """The instance's rows of each table that describes it, by table, ready for JSON."""
    manifest = lists.manifest
    return {
        "tracking": _tracking_row(manifest),
        "build": {
            "build_id": _build_id(settings, manifest),
            "version_number": manifest.version,
            "model_hash": manifest.model_hash,
            "git_commit": settings.commit,
            "image_digest": settings.image_digest,
        },
        "configuration": _configuration_row(settings, manifest),
        "catalogue": {
            "model_hash": manifest.model_hash,
            "movie_count": manifest.movies,
            "movie_ids": base64.b64encode(compress_movie_ids(lists.movie_ids)).decode(),
        },
    }


def _configuration_row(settings: Settings, manifest: Manifest) -> dict[str, Any]:
    """What a list depends on besides the model, the user and recent events; equal ones once."""
    row = {
        "model_hash": manifest.model_hash,
        "list_length": settings.list_length,
        "hidden_movies": json.dumps(sorted(settings.hidden_movie_ids)),
        "data_newest": manifest.data.get("newest"),
    }
    digest = hashlib.sha256(json.dumps(row, sort_keys=True).encode()).digest()
    return {"configuration_id": int.from_bytes(digest[:8], "big") >> 1, **row}


def register_version(spool: Path, manifest: Manifest) -> None:
    """Write a version's row of `tracking` to the spool, as instances with this model will."""
    spool.mkdir(parents=True, exist_ok=True)
    info = encode_info({"tracking": _tracking_row(manifest)})
    write_file(spool / add_format(f"version-{manifest.version}", INSTANCE_INFO_SUFFIX), info)


def compress_movie_ids(movie_ids: list[str]) -> bytes:
    """Movie ids in the order of their movie numbers, compressed for the table `catalogue`."""
    return zlib.compress("\n".join(movie_ids).encode())


def decompress_movie_ids(packed: bytes) -> list[str]:
    """The inverse of `compress_movie_ids`."""
    return zlib.decompress(packed).decode().split("\n")


def _build_id(settings: Settings, manifest: Manifest) -> str:
    """The configured build id; without one, the model's hash distinguishes builds."""
    if settings.build_id != "unknown":
        return settings.build_id
    return f"unknown-{manifest.model_hash[:12]}"


def _tracking_row(manifest: Manifest) -> dict[str, Any]:
    svd = manifest.metrics.get("svd") or {}
    rmse = manifest.metrics.get("rmse", svd.get("rmse", svd.get("training_rmse")))
    code = dict(manifest.code)
    commit = code.pop("commit", None)
    return {
        "version_number": manifest.version,
        "data_creation": manifest.data.get("newest"),
        "trained_on": manifest.created,
        "model_rmse": rmse,
        "ranking_metrics": json.dumps(manifest.metrics),
        "data_hash": manifest.data.get("data_hash"),
        "model_hash": manifest.model_hash,
        "trained_by_commit": commit,
        "libraries": json.dumps(code),
        "parameters": json.dumps(manifest.parameters),
    }
