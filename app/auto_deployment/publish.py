"""A version that is made becomes known: data and model first, then the commit, then people."""

from dataclasses import asdict, dataclass
from typing import Any

from app import logs
from app.auto_deployment import version_commits
from app.auto_deployment.cache_gc import tidy
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import ToolError, Tree
from app.auto_deployment.workspace import Workspace
from app.model.manifest import read_manifest
from app.notifications.notifier import Notifier
from app.provenance.instance_info import register_version
from app.settings import Settings

PENDING = "pending.json"
_ATTEMPTS = 5
_log = logs.get(__name__)


@dataclass(frozen=True)
class Pending:
    """A version that is about to be committed, or is, and that not everyone knows of."""

    number: int
    body: str

    @classmethod
    def read(cls, workspace: Workspace) -> "Pending | None":
        """The one that a run left; None: none."""
        found: dict[str, Any] = workspace.read(PENDING)
        return cls(int(found["number"]), str(found["body"])) if found else None

    def keep(self, workspace: Workspace) -> None:
        """Leave it to whoever comes next."""
        workspace.write(PENDING, asdict(self))

    def is_committed(self, tree: Tree) -> bool:
        """Whether the clone stands at its commit."""
        return version_commits.number_in(tree.git("log", "-1", "--format=%s")) == self.number


class Publisher:
    """Pushes a committed version and tells of it. Every step may be done again."""

    def __init__(self, settings: Settings, workspace: Workspace, notifier: Notifier) -> None:
        self._settings = settings
        self._workspace = workspace
        self._notifier = notifier

    def publish(self, tree: Tree, pending: Pending) -> bool:
        """Whether the version is known now; False: another took its number, and it is dropped.

        Raises:
            DeploymentError: a remote is away or refuses; the version waits for the next run.
        """
        number = pending.number
        try:
            self._workspace.step("push-data")
            tree.dvc("push", str(version_commits.MODEL), f"{version_commits.COLLECTED}.dvc")
            self._workspace.step("push-commit")
            published = self._push(tree, number)
        except DeploymentError as error:
            raise DeploymentError(
                f"version {number} is made and waits to be pushed: {error}"
            ) from error
        if not published:
            self._workspace.remove(PENDING)
            return False
        self._workspace.step("tracking")
        register_version(
            self._settings.spool_dir,
            read_manifest(tree.path / version_commits.MODEL / "lists", "lists"),
        )
        self._workspace.step("tell")
        self._notifier.send(
            f"Version {number} trained and pushed, release starting",
            pending.body,
            key=f"version-{number}",
        )
        self._workspace.remove(PENDING)
        self._workspace.step("tidy")
        try:
            tidy(tree, self._settings.keep_versions)
        except (DeploymentError, OSError, ValueError) as error:
            _log.error("old versions stay in the workspace", why=str(error))
        return True

    def _push(self, tree: Tree, number: int) -> bool:
        """Push the commit, after what others pushed meanwhile; False: their version came first."""
        branch = self._settings.git_branch
        for _ in range(_ATTEMPTS):
            try:
                tree.git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
            except ToolError as error:
                refused = error
            else:
                return True
            tree.git("fetch", "--quiet", "origin", branch)
            if tree.git_tells("merge-base", "--is-ancestor", "HEAD", f"origin/{branch}"):
                return True  # pushed by a run that was killed before it knew
            if tree.git_tells("merge-base", "--is-ancestor", f"origin/{branch}", "HEAD"):
                raise refused  # nobody pushed anything: the remote does not want it
            theirs = tree.git("show", f"origin/{branch}:{version_commits.VERSION}").strip()
            if not theirs.isdigit() or int(theirs) >= number:
                _log.warning("another version came first; starting over", theirs=theirs[:40])
                return False
            _log.warning("the push was rejected; putting the commit after what others pushed")
            try:
                tree.git("rebase", "--quiet", f"origin/{branch}")
            except ToolError:
                tree.git("rebase", "--abort")
                _log.warning("others changed the same files; starting over")
                return False
        raise DeploymentError(f"others pushed {_ATTEMPTS} times meanwhile")
