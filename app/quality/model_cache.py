"""Models of versions, fetched from the repository of versions and kept in a directory.

`dvc get` reads a version's tag from git and its model from the DVC remote, without a clone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app import logs
from app.locks import LockHeldError, exclusive_lock
from app.quality.errors import QualityError
from app.settings import Settings

#: Models that are kept; beyond them those used longest ago are removed.
MAX_MODELS = 4
_LOCK = "lock"
_MODEL = "model"
_MAX_MESSAGE = 300
_log = logs.get(__name__)


class ModelCache:
    """A directory of at most `MAX_MODELS` models, one directory a version.

    Args:
        directory: created where it is missing.
        settings: repository, DVC remote, and how long a transfer may take.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings

    def fetch(self, versions: tuple[int, int]) -> dict[int, Path]:
        """Return the model directories of versions; fetch those that are not there.

        Raises:
            QualityError: no repository is set, a version or its model cannot be fetched, or another
                process uses the directory.
            OSError: the directory cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive_lock(self._directory / _LOCK):
                found = {version: self._get(version) for version in versions}
                self._evict(set(found.values()))
                return found
        except LockHeldError as error:
            raise QualityError(f"{self._directory} is used by {error.owner}") from error

    def _get(self, version: int) -> Path:
        path = self._directory / f"version-{version}"
        if not path.is_dir():
            self._download(version, path)
        os.utime(path)
        return path

    def _download(self, version: int, path: Path) -> None:
        settings = self._settings
        if not settings.git_remote:
            raise QualityError("MARQUEE_GIT_REMOTE is not set: give the models with --model")
        _log.info("fetching a model", version=version)
        with tempfile.TemporaryDirectory(dir=self._directory, prefix=".fetch-") as temporary:
            target = Path(temporary) / _MODEL
            command = [sys.executable, "-m", "dvc", "get", settings.git_remote, _MODEL]
            command += ["--rev", f"version-{version}", "--out", str(target)]
            if settings.dvc_remote:
                command += ["--remote-config", f"url={settings.dvc_remote}"]
            timeout = settings.transfer_timeout_minutes * 60
            try:
                done = subprocess.run(  # noqa: S603 - no shell, our own arguments
                    command, capture_output=True, text=True, timeout=timeout, check=False
                )
            except subprocess.TimeoutExpired as error:
                raise QualityError(f"version {version} was not fetched in {timeout:g} s") from error
            if done.returncode:
                reason = " ".join(done.stderr.split())[-_MAX_MESSAGE:]
                raise QualityError(f"the model of version {version} cannot be fetched: {reason}")
            target.rename(path)

    def _evict(self, used: set[Path]) -> None:
        """Remove the models that were used longest ago, beyond the number that is kept."""
        models = sorted(self._directory.glob("version-*"), key=lambda path: path.stat().st_mtime)
        for path in models[: max(len(models) - MAX_MODELS, 0)]:
            if path not in used:
                shutil.rmtree(path)
