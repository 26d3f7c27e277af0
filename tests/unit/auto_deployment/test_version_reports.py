"""The figures of published versions, from their commits, kept when the clone has fewer tags."""

import json
import subprocess
from pathlib import Path
from typing import Any

from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.version_commits import delete_old_tags
from app.auto_deployment.version_reports import FairnessHistory
from app.auto_deployment.workspace import STATE_FILE, Workspace
from app.settings import Settings


def make_report(users: int) -> dict[str, Any]:
    shown = [{"class": "top 1 %", "shown": {"value": 0.4}}]
    return {
        "users": users,
        "users_side": [{"attribute": "age", "groups": []}],
        "movies_side": {
            "never_shown": 0.75, "gini": 0.9, "similarity": {"value": 0.3},
            "by_class": {"popularity": shown},
        },
    }  # fmt: skip


def publish(clone: Path, version: int, report: dict[str, Any] | str | None) -> None:
    """Commit a version with its tag, as a run does."""
    reports = clone / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    (clone / "version.txt").write_text(f"{version}\n")
    (reports / "fairness.json").unlink(missing_ok=True)
    if report is not None:
        text = report if isinstance(report, str) else json.dumps(report)
        (reports / "fairness.json").write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "version"],
                    ["tag", "--annotate", "-m", "version", f"version-{version}"]):  # fmt: skip
        subprocess.run([*git, *command], cwd=clone, check=True)


def test_figures_are_kept_when_the_clone_has_the_last_tags_only(tmp_path: Path) -> None:
    workspace = Workspace(Settings(workspace_dir=tmp_path))
    history = FairnessHistory(workspace)
    assert history.read() == []
    workspace.write(STATE_FILE, {"finished_at": 1.0})
    assert history.read() == []  # there is no clone
    publish(workspace.clone, 1, None)
    publish(workspace.clone, 2, make_report(20))
    publish(workspace.clone, 3, make_report(30))
    assert history.read() == []  # git is asked once after each run
    workspace.write(STATE_FILE, {"finished_at": 2.0})
    assert [row["version"] for row in history.read()] == [2, 3]
    publish(workspace.clone, 4, make_report(40))
    delete_old_tags(WorkingTree(workspace.clone), keep=1)
    for one in (FairnessHistory(workspace), FairnessHistory(workspace)):  # after a restart
        assert [(row["version"], row["users"]) for row in one.read()] == [(2, 20), (3, 30), (4, 40)]
    assert history.read()[-1] == {
        "version": 4, "users": 40, "ndcg": None, "coverage": 0.25, "gini": 0.9, "similarity": 0.3,
        "most_popular": 0.4, "summary": "0 groups of users, nDCG at equal activity lower in none "
        "of them",
    }  # fmt: skip


def test_a_report_of_another_form_leaves_what_was_known(tmp_path: Path) -> None:
    workspace = Workspace(Settings(workspace_dir=tmp_path))
    publish(workspace.clone, 1, make_report(10))
    workspace.write(STATE_FILE, {"finished_at": 1.0})
    history = FairnessHistory(workspace)
    assert len(history.read()) == 1
    reports: list[dict[str, Any] | str] = [{"users": 1}, "{", "[]"]
    for finished_at, report in enumerate(reports, start=2):
        publish(workspace.clone, finished_at, report)
        workspace.write(STATE_FILE, {"finished_at": float(finished_at)})
        assert [row["version"] for row in history.read()] == [1]
