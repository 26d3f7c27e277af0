"""What the reports in the commits of published versions say of whom and what they serve."""

import json
from threading import Lock
from typing import Any

from app import logs
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.version_commits import REPORTS, find_versions
from app.auto_deployment.workspace import FAIRNESS_FILE, STATE_FILE, Workspace
from app.fairness.page import summarize

#: Versions whose figures are kept.
_KEPT_VERSIONS = 50
_log = logs.get(__name__)


def read_version_reports(tree: WorkingTree) -> list[dict[str, Any]]:
    """Return the figures of each version whose commit has a fairness report, the oldest first.

    Raises:
        ToolError: git fails.
    """
    rows = (_read_version(tree, version) for version in find_versions(tree))
    return [row for row in rows if row is not None]


def _read_version(tree: WorkingTree, version: int) -> dict[str, Any] | None:
    fairness = _read(tree, version, "fairness.json")
    if fairness is None:
        return None
    metrics = _read(tree, version, "metrics.json") or {}
    movies = fairness["movies_side"]
    return {
        "version": version,
        "users": fairness["users"],
        "ndcg": metrics.get("ndcg"),
        "coverage": 1 - movies["never_shown"],
        "gini": movies["gini"],
        "similarity": movies["similarity"]["value"],
        "most_popular": _find_share(movies, "top 1 %"),
        "summary": summarize(fairness) if "users_side" in fairness else "",
    }


def _read(tree: WorkingTree, version: int, name: str) -> dict[str, Any] | None:
    """Return a report as the version's tag has it; None without it."""
    path = f"version-{version}:{REPORTS / name}"
    if not tree.git_succeeds("cat-file", "-e", path):
        return None
    content: dict[str, Any] = json.loads(tree.git("show", path))
    return content


def _find_share(movies: dict[str, Any], name: str) -> float | None:
    rows = movies["by_class"]["popularity"]
    return next((row["shown"]["value"] for row in rows if row["class"] == name), None)


class FairnessHistory:
    """The figures of the published versions, kept in the workspace.

    The workspace's clone has the tags of the last versions only, so the figures of earlier ones
    are kept in a file. Git is asked once after each run.

    Args:
        workspace: of the retraining.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lock = Lock()
        self._read_after: object = object()

    def read(self) -> list[dict[str, Any]]:
        """Return the figures of `read_version_reports`, the oldest version first."""
        finished_at = self._workspace.read(STATE_FILE).get("finished_at")
        with self._lock:
            kept = self._read_kept()
            if finished_at is None or finished_at == self._read_after:
                return kept
            self._read_after = finished_at
            try:
                found = read_version_reports(WorkingTree(self._workspace.clone))
            except (DeploymentError, OSError, ValueError, KeyError, TypeError) as error:
                _log.warning("cannot read the reports of the versions", error=str(error))
                return kept
            rows = {row["version"]: row for row in [*kept, *found]}
            newest = [rows[version] for version in sorted(rows)][-_KEPT_VERSIONS:]
            if newest != kept:
                self._save(newest)
            return newest

    def _read_kept(self) -> list[dict[str, Any]]:
        rows = self._workspace.read(FAIRNESS_FILE).get("versions")
        return rows if isinstance(rows, list) else []

    def _save(self, rows: list[dict[str, Any]]) -> None:
        try:
            self._workspace.write(FAIRNESS_FILE, {"versions": rows})
        except OSError as error:
            _log.error("cannot save the figures of the versions", error=str(error))
