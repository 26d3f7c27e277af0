"""The model in production: its version number, its files, and the events it has not seen."""

import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import requests

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.version_commits import MODEL, find_commit
from app.ingest.schemas import KEY
from app.model.artifact import open_artifact
from app.model.manifest import ArtifactError, Manifest
from app.model.recommendation_lists import unpack_movie_ids
from app.model.verify import FACTORS, verify_model

_TIMEOUT_SECONDS = 5


@dataclass(frozen=True)
class ProductionModel:
    """The model that answers requests now.

    Attributes:
        version: its version number.
        path: a verified copy of its model directory.
        newest: time of the newest event it was trained on.
    """

    version: int
    path: Path
    newest: datetime


def get_production_version(urls: str) -> int:
    """Return the version number that the first reachable instance serves.

    Args:
        urls: base URLs of instances of the service, separated by commas.

    Raises:
        DeploymentError: no URL is configured, or no instance answers.
    """
    reason = "MARQUEE_SERVICE_URLS is empty"
    for url in urls.split(",") if urls else ():
        try:
            response = requests.get(f"{url.rstrip('/')}/version", timeout=_TIMEOUT_SECONDS)
            response.raise_for_status()
            return int(response.json()["version"])
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            reason = f"{url}: {error}"
    raise DeploymentError(f"the version in production is unknown ({reason})")


def fetch_model(tree: WorkingTree, version: int, directory: Path) -> ProductionModel:
    """Get a version's model from DVC into a subdirectory of `directory`, and verify it.

    Models of other versions in `directory` are removed, so that it holds one at most. A model that
    an earlier run left incomplete, because it was killed, is fetched again.

    Raises:
        DeploymentError: the version has no tag, or its model cannot be fetched or is damaged.
    """
    commit = find_commit(tree, version)
    if commit is None:
        raise DeploymentError(f"there is no tag version-{version}")
    # By commit, not by number: a version that was dropped may have had the same number.
    model = directory / commit
    try:
        manifest = verify_model(model)["lists"]
    except ArtifactError:
        manifest = _fetch_model(tree, commit, model)
    newest = manifest.data.get("newest")
    if newest is None:
        raise DeploymentError(f"the data of version {version} has no times")
    return ProductionModel(version, model, datetime.fromisoformat(newest))


def _fetch_model(tree: WorkingTree, commit: str, model: Path) -> Manifest:
    """Get the model of a commit from DVC as the only content of its parent directory."""
    shutil.rmtree(model.parent, ignore_errors=True)
    model.parent.mkdir(parents=True)
    tree.dvc("get", ".", str(MODEL), "--rev", commit, "--out", str(model))
    try:
        return verify_model(model)["lists"]
    except ArtifactError as error:
        raise DeploymentError(str(error)) from error


def write_unseen_events(production: ProductionModel, tables: Path, out: Path) -> int:
    """Write the rows of `tables` whose user-movie pair the production model was not trained on.

    A model that was trained on an earlier rating of a pair would have an advantage on a later one.

    Args:
        production: the model, with its factors.
        tables: directory with `ratings.parquet` and `watches.parquet`.
        out: directory to write both to.

    Returns:
        The number of rows written.
    """
    factors = open_artifact(production.path / FACTORS, "factors").arrays
    counts = np.diff(factors["seen_start"])
    movies = pl.Series(unpack_movie_ids(factors["movies"]), dtype=pl.String)
    seen = pl.DataFrame(
        {
            "user_id": np.repeat(factors["users"], counts),
            "movie_id": movies.gather(pl.Series(factors["seen_movies"])),
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in ("ratings.parquet", "watches.parquet"):
        rows = pl.read_parquet(tables / name).join(seen, on=KEY, how="anti", maintain_order="left")
        rows.write_parquet(out / name)
        total += rows.height
    return total
