"""What a slot says of itself at its start, and who made a version of that version."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from app.atomic_files import write_file
from app.model.manifest import Manifest
from app.model.recommendation_lists import RecommendationLists
from app.provenance.spool_writer import ABOUT_SUFFIX
from app.settings import Settings


def build_id(settings: Settings, manifest: Manifest) -> str:
    """The build id given to the container; where none was, the model's hash tells builds apart."""
    if settings.build_id != "unknown":
        return settings.build_id
    return f"unknown-{manifest.model_hash[:12]}"


def head(settings: Settings, lists: RecommendationLists) -> dict[str, Any]:
    """What holds for every record of this process."""
    return {
        "slot": settings.slot,
        "version_number": lists.manifest.version,
        "build_id": build_id(settings, lists.manifest),
    }


def about(settings: Settings, lists: RecommendationLists) -> dict[str, Any]:
    """The rows of `tracking`, `build` and `catalogue`, ready for JSON."""
    manifest = lists.manifest
    names = zlib.compress("\n".join(lists.movie_ids).encode())
    return {
        "tracking": tracking_row(manifest),
        "build": {
            "build_id": build_id(settings, manifest),
            "version_number": manifest.version,
            "model_hash": manifest.model_hash,
            "git_commit": settings.commit,
            "image_digest": settings.image_digest,
        },
        "catalogue": {
            "model_hash": manifest.model_hash,
            "movies": manifest.movies,
            "names": base64.b64encode(names).decode(),
        },
    }


def tell_version(queue: Path, manifest: Manifest) -> None:
    """Put the row of `tracking` into the queue, the same that slots with this model will tell."""
    queue.mkdir(parents=True, exist_ok=True)
    row = {"tracking": tracking_row(manifest)}
    write_file(queue / f"version-{manifest.version}{ABOUT_SUFFIX}", json.dumps(row).encode())


def tracking_row(manifest: Manifest) -> dict[str, Any]:
    """What a version was made from."""
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
