"""The commands of git, DVC and Marquee, as child processes."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.auto_deployment.errors import ToolError
from app.auto_deployment.git_dvc import CommandTimeouts, WorkingTree
from tests.unit.auto_deployment.conftest import VersionRepository


@pytest.fixture
def tree(repository: VersionRepository, tmp_path: Path) -> WorkingTree:
    """A clone in which commands run as in production."""
    clone = repository.clone("desk")
    return WorkingTree(clone.path, clone.environment, log_file=tmp_path / "run.log")


def test_the_dvc_remote_is_set_for_this_clone_only(tree: WorkingTree) -> None:
    tree.set_dvc_remote("/somewhere/else")
    assert "url = /somewhere/else" in (tree.path / ".dvc" / "config.local").read_text()
    assert tree.git("status", "--porcelain") == ""


def test_a_failed_command_is_an_error_with_its_output(tree: WorkingTree) -> None:
    with pytest.raises(ToolError, match=r"dvc repro[\s\S]*no-such-stage") as failure:
        tree.dvc("repro", "no-such-stage")
    assert tree.log_file is not None
    assert failure.value.output in tree.log_file.read_text()
    with pytest.raises(ToolError, match="git checkout"):
        tree.git("checkout", "no-such-branch")


def test_a_command_that_does_not_end_is_stopped_with_a_message(tree: WorkingTree) -> None:
    environment = {**tree.environment, "GIT_SSH_COMMAND": "sleep 100 #"}
    impatient = replace(tree, environment=environment, timeouts=CommandTimeouts(0.5, 0.25))
    message = r"git fetch: stopped after 0\.5 s \(MARQUEE_TRANSFER_TIMEOUT_MINUTES\)"
    with pytest.raises(ToolError, match=message):
        impatient.git("fetch", "ssh://localhost/none.git")
    message = r"dvc repro: stopped after 0\.25 s \(MARQUEE_STAGE_TIMEOUT_HOURS\)"
    with pytest.raises(ToolError, match=message):
        impatient.dvc("repro")


def test_a_shared_cache_is_not_used_in_a_workspace(tree: WorkingTree, tmp_path: Path) -> None:
    with (tree.path / ".dvc" / "config").open("a") as config:
        config.write(f"[cache]\n    dir = {tmp_path}/shared\n    type = symlink\n")
    tree.use_own_dvc_cache()
    assert tree.dvc("cache", "dir").strip() == str(tree.path / ".dvc" / "cache")
    assert "reflink,copy" in (tree.path / ".dvc" / "config.local").read_text()
    tree = replace(tree, timeouts=CommandTimeouts(0, 0))
    tree.use_own_dvc_cache()  # needs no command where it is set


def test_marquee_is_the_one_of_the_python_path(tree: WorkingTree) -> None:
    assert tree.marquee("--version").startswith("marquee")
    (tree.path / "app").mkdir()
    (tree.path / "app" / "__init__.py").touch()
    (tree.path / "app" / "__main__.py").write_text("print('the code of the clone')")
    environment = {**tree.environment, "PYTHONPATH": str(tree.path)}
    assert WorkingTree(tree.path, environment).marquee("--version") == "the code of the clone\n"
