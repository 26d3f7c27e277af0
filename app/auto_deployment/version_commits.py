"""Versions of data and model: number, files, commit and tag.

`version.txt` holds the number. A version's commit has the subject "Data and Model version update:
[N]" and the annotated tag `version-N`; both are pushed together, and the tag is how a version's
commit is found.
"""

from pathlib import Path

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import WorkingTree
from app.text_files import TextError, decode_text

VERSION_FILE = Path("version.txt")
LOCK_FILE = Path("dvc.lock")
WINDOW_FILE = Path("data/window.json")
PARAMS_FILE = Path("params.yaml")
REPORTS = Path("reports")
#: Directories that DVC keeps: the snapshot of the store, and the model.
COLLECTED = Path("data/collected")
MODEL = Path("model")
#: Files in git that describe a version.
VERSION_FILES = (
    str(VERSION_FILE),
    str(PARAMS_FILE),
    "dvc.yaml",
    str(LOCK_FILE),
    f"{COLLECTED}.dvc",
    str(WINDOW_FILE),
    str(REPORTS),
)
_TAG_PREFIX = "version-"
MAX_VERSION_DIGITS = 9


def read_version(tree: WorkingTree, revision: str | None = None) -> int:
    """Read the version number of a working tree, or of one of its commits.

    Raises:
        DeploymentError: `version.txt` is missing or does not hold a number.
    """
    path = tree.path / VERSION_FILE
    try:
        text = (
            decode_text(path.read_bytes())
            if revision is None
            else tree.git("show", f"{revision}:{VERSION_FILE}")
        ).strip()
    except (OSError, TextError) as error:
        raise DeploymentError(f"{path}: cannot be read: {error}") from error
    if not _is_number(text):
        raise DeploymentError(f"{path}: not a version number: {text[:40]!r}")
    return int(text)


def find_commit(tree: WorkingTree, version: int) -> str | None:
    """Return the hash of the commit that the version's annotated tag names, None without one."""
    tag = f"refs/tags/{_TAG_PREFIX}{version}"
    return tree.git("for-each-ref", "--format=%(*objectname)", tag) or None


def find_newest_version(tree: WorkingTree) -> int | None:
    """Return the highest number of the versions' tags, None without any."""
    return max(find_versions(tree), default=None)


def find_versions(tree: WorkingTree) -> list[int]:
    """Return the numbers of the versions' tags, ascending."""
    tags = tree.git("tag", "--list", f"{_TAG_PREFIX}*").split()
    numbers = [tag.removeprefix(_TAG_PREFIX) for tag in tags]
    return sorted(int(text) for text in numbers if _is_number(text))


def commit_version(tree: WorkingTree, version: int, body: str) -> None:
    """Commit the files of a version."""
    present = [name for name in VERSION_FILES if (tree.path / name).exists()]
    tree.git("add", "--", *present)
    tree.git("commit", "--quiet", "--no-verify", "-m", f"{_subject(version)}\n\n{body}")


def push_version(tree: WorkingTree, version: int, branch: str) -> None:
    """Push HEAD to `branch` together with its tag: the remote accepts both or neither.

    Raises:
        ToolError: the remote rejected them or cannot be reached.
    """
    tag = f"{_TAG_PREFIX}{version}"
    if find_commit(tree, version) != tree.git("rev-parse", "HEAD"):
        tree.git("tag", "--force", "--annotate", "-m", _subject(version), tag)
    refs = (f"HEAD:refs/heads/{branch}", f"refs/tags/{tag}")
    tree.git("push", "--quiet", "--atomic", "origin", *refs)


def fetch(tree: WorkingTree, branch: str) -> None:
    """Fetch `branch` and the versions' tags; local tags become those of the remote.

    Raises:
        ToolError: the remote cannot be reached.
    """
    tags = f"refs/tags/{_TAG_PREFIX}*"
    branches = f"+refs/heads/{branch}:refs/remotes/origin/{branch}"
    tree.git("fetch", "--quiet", "--prune", "--no-tags", "origin", branches, f"+{tags}:{tags}")


def delete_old_tags(tree: WorkingTree, keep: int) -> None:
    """Delete the local tags of all but the last `keep` versions; `fetch` brings them back."""
    tags = tree.git("tag", "--list", f"{_TAG_PREFIX}*", "--sort=-version:refname").split()
    if old := tags[keep:]:
        tree.git("tag", "--delete", *old)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_VERSION_DIGITS


def _subject(version: int) -> str:
    return f"Data and Model version update: [{version}]"
