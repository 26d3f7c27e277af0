"""The last few versions stay in the workspace's cache; the remote has them all."""

import json
from pathlib import Path

import yaml

from app import logs
from app.auto_deployment import version_commits
from app.auto_deployment.git_dvc import Tree

_log = logs.get(__name__)


def tidy(tree: Tree, keep: int) -> int:
    """Remove what belongs to none of the last `keep` versions; how many files went.

    Only for a clone whose versions are all pushed.
    """
    cache = tree.path / ".dvc" / "cache" / "files" / "md5"
    pattern = r"^Data and Model version update: \[[0-9]+\]$"
    commits = tree.git("log", f"-{keep}", "--format=%H", "-E", f"--grep={pattern}").split()
    kept: set[str] = set()
    for commit in commits:
        names = (str(version_commits.LOCK), f"{version_commits.COLLECTED}.dvc")
        for name in tree.git("ls-tree", "--name-only", commit, "--", *names).splitlines():
            for digest in _digests(yaml.safe_load(tree.git("show", f"{commit}:{name}"))):
                kept |= {digest, *_listed(cache / digest[:2] / digest[2:])}
    gone = 0
    for path in cache.glob("??/*"):
        if path.is_file() and path.parent.name + path.name not in kept:
            path.unlink()
            gone += 1
    if gone:
        _log.info("old versions left the workspace", files=gone, kept=len(commits))
    return gone


def _digests(content: object) -> set[str]:
    """Every `md5` in a file of DVC's."""
    if isinstance(content, dict):
        own = {str(content["md5"])} if "md5" in content else set()
        return own.union(*map(_digests, content.values())) if content else own
    if isinstance(content, list):
        return set().union(*map(_digests, content)) if content else set()
    return set()


def _listed(listing: Path) -> set[str]:
    """The files of a directory that the cache holds."""
    if listing.suffix != ".dir" or not listing.exists():
        return set()
    return {entry["md5"] for entry in json.loads(listing.read_bytes())}
