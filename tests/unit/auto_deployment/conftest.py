"""A small repository with git and DVC remotes, and versions whose models were not trained."""

import gc
import io
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dvc.cli import main as run_dvc  # type: ignore[import-untyped]

from app.auto_deployment.errors import ToolError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.version_commits import COLLECTED, MODEL, commit_version, push_version
from app.auto_deployment.workspace import Workspace
from app.cli import marquee
from app.model.artifact import ModelMetadata, write_array, write_manifest
from app.model.manifest import read_manifest
from app.model.recommendation_lists import pack_movie_ids
from app.notifications.channels import Channel
from app.notifications.notifier import Notifier
from app.settings import Settings
from tests.conftest import MOVIES, USERS, write_lists

BRANCH = "main"
#: Time of the newest event of every version's data.
NEWEST = "2026-05-01T12:00:00"
DVC_CONFIG = """\
[core]
    remote = storage
['remote "storage"']
    url = ../../../versions
    verify = true
"""
DVC_STAGES = """\
stages:
  train:
    cmd: "true"
    deps: [version.txt]
    outs: [model]
"""


class Tree(WorkingTree):
    """A working tree that runs DVC and `marquee` in this process: their commands start slowly."""

    def dvc(self, *arguments: str) -> str:
        with self._environment(), redirect_stdout(io.StringIO()) as output:
            status = run_dvc(list(arguments))
        if status:
            raise ToolError(f"dvc {arguments[0]}", f"exit status {status}")
        return output.getvalue()

    def marquee(self, *arguments: str) -> str:
        with self._environment():
            done = CliRunner().invoke(marquee, arguments)
        if done.exit_code:
            raise ToolError(arguments[0], done.stderr)
        return done.stdout

    @contextmanager
    def _environment(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the libraries that DVC uses
            for name, value in self._full_environment().items():
                patch.setenv(name, value)
            patch.chdir(self.path)
            yield
            # DVC leaves SQLite connections open; from Python 3.13 on that is a warning.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@dataclass
class VersionRepository:
    """A workspace with a clone, its bare git repository and its DVC remote.

    Attributes:
        directory: holds `origin.git`, `versions` (the DVC remote) and `workspace/clone`.
        settings: those that `VersionBuilder` and `Publisher` need.
        messages: subjects that were sent as notifications.
    """

    directory: Path
    settings: Settings
    messages: list[str] = field(default_factory=list)

    @property
    def origin(self) -> WorkingTree:
        return WorkingTree(self.directory / "origin.git")

    @property
    def tree(self) -> Tree:
        return open_tree(self.directory / "workspace" / "clone")

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.settings)

    def clone(self, name: str) -> Tree:
        """Clone the repository, as another developer would."""
        tree = open_tree(self.directory / "clones" / name)
        tree.path.mkdir(parents=True)
        tree.git("clone", "--quiet", "../../origin.git", ".")
        configure_git(tree, "Another developer")
        return tree

    def send(self, _recipient: str, subject: str, body: str) -> None:
        """Accept a notification."""
        self.messages.append(subject)

    @property
    def notifier(self) -> Notifier:
        return Notifier(self.settings.outbox_dir, {"test": Channel(("team",), self.send)})


def open_tree(path: Path) -> Tree:
    return Tree(path, {"DVC_SITE_CACHE_DIR": str(path.parent / f"{path.name}-dvc-cache")})


def configure_git(tree: WorkingTree, name: str = "Developer") -> None:
    tree.git("config", "user.name", name)
    tree.git("config", "user.email", "developer@localhost")


def cached_files(tree: WorkingTree) -> set[str]:
    """Return the hashes of the files in a clone's DVC cache."""
    return {
        path.parent.name + path.name for path in (tree.path / ".dvc/cache/files/md5").glob("*/*")
    }


def write_model(directory: Path, version: int, first_movie: int = 0) -> None:
    """Write lists and factors of a version, whose users have all seen the first movie."""
    shutil.rmtree(directory, ignore_errors=True)
    write_lists(directory, first_movie)
    counts = {"pairs": 4, "users": 4, "movies": 60, "ratings": 4}
    data = {**counts, "newest": NEWEST, "data_hash": f"{version:064}"}
    manifest = read_manifest(directory / "lists", "lists")
    manifest = manifest.model_copy(update={"version": version, "data": data})
    manifest = manifest.model_copy(update={"model_hash": manifest.compute_hash()})
    (directory / "lists" / "manifest.json").write_bytes(manifest.to_json())
    factors = directory / "factors"
    factors.mkdir()
    write_array(factors, "movies", pack_movie_ids(MOVIES))
    write_array(factors, "users", np.array(USERS, np.int64))
    write_array(factors, "movie_users", np.ones(len(MOVIES), np.int64))
    write_array(factors, "seen_start", np.arange(len(USERS) + 1))
    write_array(factors, "seen_movies", np.full(len(USERS), 0, np.int32))
    metadata = ModelMetadata(version=version, parameters={}, metrics={}, data=data, code={})
    write_manifest(factors, "factors", users=len(USERS), movies=len(MOVIES), metadata=metadata)


def commit_new_version(tree: WorkingTree, version: int) -> None:
    """Commit a version with data and a model of its own, without building it."""
    (tree.path / "version.txt").write_text(f"{version}\n")
    (tree.path / COLLECTED).mkdir(parents=True, exist_ok=True)
    (tree.path / COLLECTED / f"events-{version}.txt").write_text(f"events of version {version}\n")
    write_model(tree.path / MODEL, version)
    tree.dvc("add", "--quiet", str(COLLECTED))
    tree.dvc("commit", "--quiet", "--force", "train")
    commit_version(tree, version, f"Metrics of version {version}")


def publish(tree: WorkingTree, version: int) -> None:
    tree.dvc("push", "--quiet")
    push_version(tree, version, BRANCH)


@pytest.fixture(scope="session")
def repository_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the published versions 2, 3 and 4."""
    directory = tmp_path_factory.mktemp("versions")
    tree = open_tree(directory / "workspace" / "clone")
    tree.path.mkdir(parents=True)
    WorkingTree(directory).git(
        "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", "origin.git"
    )
    tree.git("init", "--quiet", f"--initial-branch={BRANCH}")
    configure_git(tree)
    tree.git("remote", "add", "origin", "../../origin.git")
    (tree.path / ".dvc").mkdir()
    (tree.path / ".dvc" / "config").write_text(DVC_CONFIG)
    (tree.path / ".dvc" / ".gitignore").write_text("/cache\n/config.local\n/tmp\n")
    (tree.path / "dvc.yaml").write_text(DVC_STAGES)
    (tree.path / "version.txt").write_text("1\n")
    (tree.path / ".gitignore").write_text("/build\n/model\n")
    (tree.path / "data").mkdir()
    (tree.path / "data" / ".gitignore").write_text("/collected\n/prepared\n")
    tree.git("add", "--all")
    tree.git("commit", "--quiet", "-m", "Begin")
    for version in (2, 3, 4):
        commit_new_version(tree, version)
        publish(tree, version)
    tree.git("fetch", "--quiet")
    return directory


@pytest.fixture
def repository(repository_template: Path, tmp_path: Path) -> VersionRepository:
    """A copy of the template, which a test may change."""
    directory = tmp_path / "repository"
    shutil.copytree(repository_template, directory, symlinks=True)
    settings = Settings(
        git_remote=os.path.relpath(directory / "origin.git", directory / "workspace" / "clone"),
        workspace_dir=directory / "workspace",
        store_dir=directory / "store",
        spool_dir=directory / "spool",
        outbox_dir=directory / "outbox",
        service_urls="",
        keep_versions=2,
    )
    return VersionRepository(directory, settings)
