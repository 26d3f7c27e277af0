"""The version that answers requests now: which it is, and its model, to compare with."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import requests

from app import logs
from app.auto_deployment import version_commits
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import Tree
from app.ingest.schemas import KEY
from app.model.artifact import open_artifact
from app.model.manifest import ArtifactError
from app.model.recommendation_lists import unpack_movie_ids
from app.model.verify import FACTORS, verify_model

_SECONDS = 5
_log = logs.get(__name__)


@dataclass(frozen=True)
class InService:
    """A version in service, and its model.

    Attributes:
        number: of the version.
        model: its model directory, whole.
        newest: newest event that it was made from.
    """

    number: int
    model: Path
    newest: datetime


def ask_number(urls: str) -> int:
    """The version number that the first of some instances says that it serves.

    Raises:
        DeploymentError: none is configured, or none answers.
    """
    why = "no address is configured"
    for url in urls.split(",") if urls else ():
        try:
            answer = requests.get(f"{url.rstrip('/')}/version", timeout=_SECONDS)
            answer.raise_for_status()
            return int(answer.json()["version"])
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            why = f"{url}: {error}"
    raise DeploymentError(f"no instance says what it serves ({why})")


def fetch(tree: Tree, number: int, out: Path) -> InService:
    """Bring a version's model to `out`.

    Raises:
        DeploymentError: the history does not know it, or its model cannot be had.
    """
    commit = version_commits.commit_of(tree, number)
    if commit is None:
        raise DeploymentError(f"no commit makes version {number}")
    # Told apart by its commit: after a kill it may be whole, and after a renumbering another's.
    model = out / commit
    if not model.exists():
        out.mkdir(parents=True, exist_ok=True)
        tree.dvc(
            "get", ".", str(version_commits.MODEL), "--rev", commit, "--out", str(model), "--force"
        )
    try:
        manifest = verify_model(model)["lists"]
    except ArtifactError as error:
        raise DeploymentError(str(error)) from error
    newest = manifest.data.get("newest")
    if newest is None:
        raise DeploymentError(f"version {number}'s data has no times")
    return InService(number, model, datetime.fromisoformat(newest))


def unseen_by(rival: InService, tables: Path, out: Path) -> int:
    """Write the rows of `tables` whose user and movie the rival did not learn from; how many.

    Who learned from an earlier rating of a pair knows more of it than one who did not.
    """
    factors = open_artifact(rival.model / FACTORS, "factors").arrays
    counts = np.diff(factors["seen_start"])
    names = pl.Series(unpack_movie_ids(factors["movies"]), dtype=pl.String)
    seen = pl.DataFrame(
        {
            "user_id": np.repeat(factors["users"], counts),
            "movie_id": names.gather(pl.Series(factors["seen_items"])),
        }
    )
    out.mkdir(parents=True, exist_ok=True)
    total = 0
    for name in ("ratings.parquet", "watches.parquet"):
        rows = pl.read_parquet(tables / name).join(seen, on=KEY, how="anti", maintain_order="left")
        rows.write_parquet(out / name)
        total += rows.height
    return total
