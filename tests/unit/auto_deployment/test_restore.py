"""Restoring a version: the right files, or an error and nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.restore import restore_version
from app.model.manifest import read_manifest
from app.model.verify import verify_model
from app.provenance.lineage import restore_command
from tests.unit.auto_deployment.conftest import VersionRepository


@pytest.fixture
def clone(repository: VersionRepository) -> WorkingTree:
    return repository.clone("operator")


def test_data_and_model_of_the_clones_version_are_restored(clone: WorkingTree) -> None:
    restored = restore_version(clone)
    manifest = read_manifest(clone.path / "model" / "lists", "lists")
    assert restored == {
        "version": 4,
        "model_hash": manifest.model_hash,
        "data_hash": f"{4:064}",
        "restored": ["data/collected", "model"],
    }
    assert (clone.path / "data" / "collected" / "events-4.txt").exists()
    assert clone.git("status", "--porcelain") == ""


def test_another_version_changes_the_working_tree_and_not_the_index(clone: WorkingTree) -> None:
    assert restore_version(clone, 3)["version"] == 3
    assert (clone.path / "version.txt").read_text() == "3\n"
    assert not (clone.path / "data" / "collected" / "events-4.txt").exists()
    assert clone.git("diff", "--cached", "--name-only") == ""
    clone.git("restore", ".")
    assert restore_version(clone)["version"] == 4


def test_a_version_without_a_tag_is_an_error(clone: WorkingTree) -> None:
    with pytest.raises(DeploymentError, match="there is no tag version-9"):
        restore_version(clone, 9)


def test_local_changes_are_not_overwritten(clone: WorkingTree) -> None:
    (clone.path / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(DeploymentError, match=r"dvc\.yaml has changes that are not in git"):
        restore_version(clone, 3)
    assert (clone.path / "version.txt").read_text() == "4\n"


def damage_files(directory: Path) -> None:
    """Change every file of a DVC cache or remote, except the listings of directories."""
    for path in directory.glob("files/md5/??/*[!r]"):
        path.chmod(0o644)
        path.write_bytes(b"other content")


def test_a_damaged_cache_is_fetched_again(clone: WorkingTree) -> None:
    model_hash = restore_version(clone)["model_hash"]
    damage_files(clone.path / ".dvc" / "cache")
    clone.git("clean", "--quiet", "--force", "-d", "-x", "model", "data")
    assert restore_version(clone)["model_hash"] == model_hash


def test_a_damaged_remote_is_an_error(repository: VersionRepository, clone: WorkingTree) -> None:
    damage_files(repository.directory / "versions")
    with pytest.raises(DeploymentError, match="holds damaged ones"):
        restore_version(clone, 4)


def write_cache_settings(clone: WorkingTree, text: str) -> None:
    (clone.path / ".dvc" / "config.local").write_text(f"[cache]\n{text}\n")


def test_a_version_is_restored_from_a_shared_cache_with_symbolic_links(
    repository: VersionRepository, clone: WorkingTree
) -> None:
    shared = repository.directory / "shared"
    write_cache_settings(clone, f"dir = {shared}\ntype = symlink\nshared = group")
    assert restore_version(clone, 3)["version"] == 3
    assert not (clone.path / ".dvc" / "cache").exists()
    damage_files(shared)
    model_hash = restore_version(clone, 3)["model_hash"]
    assert verify_model(clone.path / "model")["lists"].model_hash == model_hash


def test_a_version_is_restored_with_reflinks_or_the_setting_is_named(clone: WorkingTree) -> None:
    write_cache_settings(clone, "type = reflink")
    try:
        assert restore_version(clone)["version"] == 4
    except DeploymentError as error:  # the file system has none
        assert "DVC's cache.type is reflink" in str(error)


def test_a_cache_directory_that_cannot_be_written_is_named(clone: WorkingTree) -> None:
    write_cache_settings(clone, "dir = /proc/cache")
    with pytest.raises(DeploymentError, match=r"DVC's cache\.dir is /proc/cache"):
        restore_version(clone)


@pytest.mark.parametrize("commit", ["unknown", "version-3"])
def test_the_restore_command_of_a_trace_restores_the_version_it_names(
    clone: WorkingTree, commit: str
) -> None:
    if commit != "unknown":
        commit = clone.git("rev-parse", f"{commit}^{{commit}}")
    version = {"version_number": 3, "trained_by_commit": clone.git("rev-parse", "version-3~1")}
    command = restore_command({"version_number": 3, "git_commit": commit}, version)
    assert command is not None
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", "-ec", command],
        cwd=clone.path,
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
    )
    assert (clone.path / "version.txt").read_text() == "3\n"
    assert read_manifest(clone.path / "model" / "lists", "lists").version == 3
    assert (clone.path / "data" / "collected" / "events-3.txt").exists()
    assert not (clone.path / "data" / "collected" / "events-4.txt").exists()
