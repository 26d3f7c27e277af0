"""Publish a version: push data and model to DVC, push commit and tag, then notify."""

from dataclasses import asdict, dataclass

from tenacity import retry, retry_if_exception_type, stop_after_attempt

from app import logs
from app.auto_deployment.errors import DeploymentError, ToolError, VersionTakenError
from app.auto_deployment.git_dvc import WorkingTree
from app.auto_deployment.version_commits import (
    COLLECTED,
    MODEL,
    delete_old_tags,
    fetch,
    push_version,
    read_version,
)
from app.auto_deployment.workspace import PENDING_FILE, Workspace
from app.model.manifest import read_manifest
from app.notifications.notifier import Notifier
from app.provenance.instance_info import register_version
from app.settings import Settings

_PUSH_ATTEMPTS = 5
_log = logs.get(__name__)


class _BranchMovedError(DeploymentError):
    """Others pushed to the branch; the commit was rebased and can be pushed again."""


@dataclass(frozen=True)
class PendingRelease:
    """A version that is committed, or about to be, and not completely published.

    Attributes:
        version: its number.
        body: the text of its commit and of the notification.
    """

    version: int
    body: str

    @classmethod
    def read(cls, workspace: Workspace) -> "PendingRelease | None":
        """Read the one that an earlier run left."""
        content = workspace.read(PENDING_FILE)
        return cls(int(content["version"]), str(content["body"])) if content else None

    def save(self, workspace: Workspace) -> None:
        """Leave it for the next run, should this one be killed."""
        workspace.write(PENDING_FILE, asdict(self))

    def is_committed(self, tree: WorkingTree) -> bool:
        """Whether HEAD is the version's commit."""
        return read_version(tree, "HEAD") == self.version


class Publisher:
    """Publishes a committed version; every step may be repeated."""

    def __init__(self, settings: Settings, workspace: Workspace, notifier: Notifier) -> None:
        self._settings = settings
        self._workspace = workspace
        self._notifier = notifier

    def publish(self, tree: WorkingTree, pending: PendingRelease) -> None:
        """Publish the version at HEAD.

        Raises:
            VersionTakenError: another version came first; this one is dropped.
            DeploymentError: a remote failed; the version stays pending for the next run.
        """
        version = pending.version
        try:
            self._workspace.start_step("push-data")
            tree.dvc("push", str(MODEL), f"{COLLECTED}.dvc")
            self._workspace.start_step("push-commit")
            self._push(tree, version)
        except VersionTakenError:
            self._workspace.remove(PENDING_FILE)
            raise
        except DeploymentError as error:
            raise DeploymentError(
                f"version {version} is committed and waits to be pushed: {error}"
            ) from error
        self._workspace.start_step("tracking")
        register_version(
            self._settings.spool_dir, read_manifest(tree.path / MODEL / "lists", "lists")
        )
        self._workspace.start_step("notify")
        self._notifier.send(
            f"Version {version} trained and pushed, release starting",
            pending.body,
            key=f"version-{version}",
        )
        self._workspace.remove(PENDING_FILE)
        self._workspace.start_step("prune")
        self.prune_cache(tree)

    @retry(
        retry=retry_if_exception_type(_BranchMovedError),
        stop=stop_after_attempt(_PUSH_ATTEMPTS),
        reraise=True,
    )
    def _push(self, tree: WorkingTree, version: int) -> None:
        """Push commit and tag, after what others pushed meanwhile."""
        branch = self._settings.git_branch
        try:
            push_version(tree, version, branch)
        except ToolError as error:
            fetch(tree, branch)
            if tree.git_succeeds("merge-base", "--is-ancestor", "HEAD", f"origin/{branch}"):
                return  # a run that was killed had pushed it
            if tree.git_succeeds("merge-base", "--is-ancestor", f"origin/{branch}", "HEAD"):
                raise  # the branch has not moved: the remote rejects the push
            self._rebase(tree, version)
            raise _BranchMovedError("others pushed to the branch meanwhile") from error

    def _rebase(self, tree: WorkingTree, version: int) -> None:
        """Put the version's commit on top of what others pushed.

        Raises:
            VersionTakenError: they published this number, or changed the same files.
        """
        upstream = f"origin/{self._settings.git_branch}"
        taken = read_version(tree, upstream)
        if taken >= version:
            raise VersionTakenError(f"version {taken} was published by others")
        _log.warning("the push was rejected; rebasing onto the remote's branch", version=version)
        try:
            tree.git("rebase", "--quiet", upstream)
        except ToolError as error:
            tree.git("rebase", "--abort")
            raise VersionTakenError("others changed the same files") from error

    def prune_cache(self, tree: WorkingTree) -> None:
        """Remove all but the last versions from the local DVC cache; the remote has all.

        Snapshots and models of runs that made no version are removed, too.
        """
        try:
            delete_old_tags(tree, self._settings.keep_versions)
            tree.dvc("gc", "--quiet", "--force", "--workspace", "--all-tags")
        except (DeploymentError, OSError) as error:
            _log.error("old versions stay in the workspace's cache", error=str(error))
