"""Restoring a version: the right files, or an error and nothing lost."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.restore import read_dvc_hashes, restore_version
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


def edit(path: Path, pattern: str, replacement: str) -> None:
    """Change a file by hand."""
    text = path.read_text()
    path.write_text(re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE))
    assert path.read_text() != text


@pytest.mark.parametrize(
    ("file", "pattern", "replacement"),
    [
        ("version.txt", "4", "3"),
        ("dvc.lock", r"[0-9a-f]{32}\.dir", f"{0:032}.dir"),
        ("data/collected.dvc", r"[0-9a-f]{32}\.dir", f"{0:032}.dir"),
    ],
)
def test_files_of_a_version_that_were_changed_by_hand_are_named(
    clone: WorkingTree, file: str, pattern: str, replacement: str
) -> None:
    """The message has the command that undoes the change."""
    edit(clone.path / file, pattern, replacement)
    with pytest.raises(DeploymentError, match=r"not those of version [34]: they or ") as caught:
        restore_version(clone)
    *_, command = str(caught.value).partition(": git ")
    assert not (clone.path / "model").exists(), "nothing is fetched"
    clone.git(*command.split())
    restored = restore_version(clone)
    assert (clone.path / "version.txt").read_text() == f"{restored['version']}\n"


LOCK = """\
schema: '2.0'
stages:
  train:
    outs:
    - path: model
      md5: MD5
"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no outputs 'model' in it"),
        ("<<<<<<< HEAD\nschema: '2.0'\n", "not YAML"),
        ("stages: {train: x}", "no outputs 'model' in it"),
        ("stages: {train: {outs: null}}", "no outputs 'model' in it"),
        (LOCK.replace("md5: MD5", "size: 1"), "no outputs 'model' in it"),
        (LOCK.replace("model", "[1]"), "no outputs 'model' in it"),
        (LOCK.replace("MD5", "null"), "'None' is no hash"),
        (LOCK.replace("MD5", "0123456789abcdef0123456789abcdef"), "is no hash of the directory"),
        (LOCK.replace("MD5", "../../../../etc.dir"), "is no hash of the directory"),
    ],
)
def test_a_lock_file_that_was_changed_by_hand_is_an_error_in_a_sentence(
    tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "dvc.lock").write_text(content)
    with pytest.raises(DeploymentError) as caught:
        read_dvc_hashes(WorkingTree(tmp_path))
    assert re.search(
        rf"dvc\.lock does not describe a version \(.*{reason}.*\); to undo a change of it: ",
        str(caught.value),
    )


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
