"""Publishing: what is pushed, in which order, and what others may have pushed meanwhile."""

import json

import pytest

from app.auto_deployment.errors import DeploymentError, VersionTakenError
from app.auto_deployment.publish import PendingRelease, Publisher
from app.auto_deployment.version_commits import find_commit
from tests.unit.auto_deployment.conftest import (
    VersionRepository,
    cached_files,
    commit_new_version,
    publish,
)

PENDING = PendingRelease(5, "Metrics of version 5")


def publish_pending(repository: VersionRepository) -> None:
    publisher = Publisher(repository.settings, repository.workspace, repository.notifier)
    PENDING.save(repository.workspace)
    publisher.publish(repository.tree, PENDING)


def push_file(repository: VersionRepository, name: str) -> None:
    """Push a file to the branch, as another developer."""
    desk = repository.clone("desk")
    (desk.path / name).write_text("by another developer\n")
    desk.git("add", name)
    desk.git("commit", "--quiet", "-m", f"Change {name}")
    desk.git("push", "--quiet")


def test_data_commit_and_tag_are_pushed_and_a_notification_is_sent(
    repository: VersionRepository,
) -> None:
    tree = repository.tree
    commit_new_version(tree, 5)
    publish_pending(repository)
    head = tree.git("rev-parse", "HEAD")
    assert repository.origin.git("rev-parse", "main", "version-5^{commit}").split() == [head, head]
    assert repository.origin.git("cat-file", "-t", "version-5") == "tag", "an annotated one"
    assert tree.git_succeeds("diff", "--quiet", "main", "origin/main")
    tree.dvc("status", "--cloud", "--quiet")  # fails where the remote lacks anything
    assert repository.messages == ["Version 5 trained and pushed, release starting"]
    assert PendingRelease.read(repository.workspace) is None
    (row,) = (repository.directory / "spool").glob("version-5*")
    content = row.read_bytes().partition(b"\n")[2]  # after the format
    assert json.loads(content)["tracking"]["version_number"] == 5


def test_publishing_again_after_a_kill_changes_nothing(repository: VersionRepository) -> None:
    commit_new_version(repository.tree, 5)
    publish_pending(repository)
    before = repository.origin.git("show-ref")
    publish_pending(repository)
    assert repository.origin.git("show-ref") == before


def test_a_version_is_rebased_onto_what_others_pushed(repository: VersionRepository) -> None:
    tree = repository.tree
    commit_new_version(tree, 5)
    push_file(repository, "NEWS")
    publish_pending(repository)
    subjects = repository.origin.git("log", "-3", "--format=%s", "main").splitlines()
    assert subjects == [
        "Data and Model version update: [5]", "Change NEWS", "Data and Model version update: [4]",
    ]  # fmt: skip
    assert find_commit(tree, 5) == repository.origin.git("rev-parse", "main")


def test_a_version_is_dropped_when_others_published_its_number(
    repository: VersionRepository,
) -> None:
    commit_new_version(repository.tree, 5)
    desk = repository.clone("desk")
    desk.dvc("pull", "--quiet")
    commit_new_version(desk, 5)
    publish(desk, 5)
    theirs = repository.origin.git("show-ref")
    with pytest.raises(VersionTakenError, match="version 5 was published by others"):
        publish_pending(repository)
    assert repository.origin.git("show-ref") == theirs
    assert PendingRelease.read(repository.workspace) is None
    assert repository.messages == []


def test_a_version_is_dropped_when_others_changed_the_same_files(
    repository: VersionRepository,
) -> None:
    commit_new_version(repository.tree, 5)
    push_file(repository, "dvc.lock")
    with pytest.raises(VersionTakenError, match="changed the same files"):
        publish_pending(repository)
    assert not (repository.tree.path / ".git" / "rebase-merge").exists()


def test_without_the_dvc_remote_nothing_is_pushed_and_the_version_waits(
    repository: VersionRepository,
) -> None:
    commit_new_version(repository.tree, 5)
    (repository.directory / "versions").rename(repository.directory / "away")
    (repository.directory / "versions").write_text("no directory")
    before = repository.origin.git("show-ref")
    with pytest.raises(DeploymentError, match="version 5 is committed and waits to be pushed"):
        publish_pending(repository)
    assert repository.origin.git("show-ref") == before
    assert PendingRelease.read(repository.workspace) == PENDING


def test_a_remote_that_rejects_the_tag_gets_no_commit(repository: VersionRepository) -> None:
    commit_new_version(repository.tree, 5)
    hook = repository.origin.path / "hooks" / "update"
    hook.write_text(
        '#!/bin/sh\ncase $1 in refs/tags/*) echo "tags are protected"; exit 1 ;; esac\n'
    )
    hook.chmod(0o755)
    before = repository.origin.git("show-ref")
    with pytest.raises(DeploymentError, match="waits to be pushed"):
        publish_pending(repository)
    assert repository.origin.git("show-ref") == before


def test_the_cache_keeps_exactly_the_last_versions_and_the_remote_all(
    repository: VersionRepository,
) -> None:
    commit_new_version(repository.tree, 5)
    publish_pending(repository)
    files = {version: pull_version(repository, version) for version in (2, 3, 4, 5)}
    assert files[2] - files[3] - files[4] - files[5], "each version has files of its own"
    assert cached_files(repository.tree) == files[4] | files[5]


def pull_version(repository: VersionRepository, version: int) -> set[str]:
    """Return the hashes of a version's files, which a fresh clone gets from the DVC remote."""
    clone = repository.clone(f"version-{version}")
    clone.git("checkout", "--quiet", f"version-{version}")
    clone.dvc("pull", "--quiet")
    return cached_files(clone)
